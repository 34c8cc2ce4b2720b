"""Search with every thing a photo shows: its subjects are found, searched one by one, and the
answers merged.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from ..config import recipe
from ..errors import ArtefactError, UsageError
from ..io.atomic import check_writable
from ..io.json_files import write_json
from ..io.paths import PathLike
from ..regions.attention import attention
from ..regions.merge import merge_answers
from ..regions.subjects import subjects
from ..search.exact import Exact
from ..structures import Embeddings, Item, Ranking
from . import embedding
from .embed_images import images_of, load_model
from .feature_maps import embed_part, maps_of


@dataclasses.dataclass(frozen=True)
class Parts:
    """Subjects of some photos.

    Args:
        embeddings: one a subject, ids "photo#1", "photo#2", …; None when no photo shows several.
        owner: their ids -> the photo's.
        boxes: photo -> its subjects' boxes, top, left, bottom, right as shares of height and width
            of the tensor.
    """

    embeddings: Embeddings | None
    owner: Mapping[str, str]
    boxes: Mapping[str, list[list[float]]]


def search_subjects(
    config_file: PathLike,
    weights: PathLike,
    ranking: PathLike,
    queries: PathLike,
    gallery: PathLike,
    out: PathLike,
    on: str = "",
    every: bool = False,
    only: Sequence[str] = (),
    opts: Sequence[str] = (),
) -> str:
    """Better a ranking by the subjects of its queries; writes the ranking, and the boxes as JSON
    beside it.

    Args:
        config_file, weights: the recipe and model that made the embeddings.
        ranking: of the whole photos, by cosine.
        queries: the photos, a folder or a table, with the ids of the ranking.
        gallery: their embeddings folder.
        out: the new ranking.
        on: the map the attention is read from; the deepest when not given.
        every: search a photo's only subject too (a small thing before much background); else those
            with several.
        only: ids of queries to look at, such as those whose models disagree; all when not given.
        opts: KEY VALUE changes to the recipe.

    Returns:
        one line that tells what was done.

    Raises:
        ArtefactError: ranking, gallery and model do not belong together.
        UsageError: `out` cannot be written or is an input, a map the backbone does not give, or
            another architecture.
    """
    check_writable(out, [config_file, weights, ranking, queries, gallery])
    cfg = recipe.load(config_file, opts)
    whole, known = Ranking.load(ranking), Embeddings.load(gallery)
    if not np.array_equal(whole.gallery_ids, known.ids):
        raise ArtefactError(f"{ranking} is not over the images of {gallery}: search there again")
    items, root = images_of(queries)
    wanted = set(only or whole.query_ids.tolist())
    missing = sorted((wanted & set(whole.query_ids.tolist())) - {item.id for item in items})
    if missing:
        raise ArtefactError(
            f"{queries} has no photo {missing[0]!r}, nor {len(missing) - 1} others of the ranking"
        )
    found = parts_of(
        cfg,
        load_model(cfg, weights),
        [item for item in items if item.id in wanted],
        root,
        on,
        every,
    )
    write_json(pathlib.Path(out).with_suffix(".boxes.json"), dict(found.boxes))
    made = whole if found.embeddings is None else search_parts(whole, found, known)
    made.save(out)
    return (
        f"{len(found.boxes)} of {len(wanted)} photos show"
        f" {'a subject' if every else 'several subjects'}, {len(found.owner)} parts searched:"
        f" {os.fspath(out)}"
    )


def search_parts(whole: Ranking, parts: Parts, gallery: Embeddings) -> Ranking:
    """Search the parts as deep as the photos were, and merge."""
    found = Exact(k=max(1, whole.indices.shape[1]))(parts.embeddings, gallery)
    return merge_answers(whole, found, parts.owner)


def parts_of(
    cfg: Any,
    model: nn.Module,
    items: Collection[Item],
    root: str = "",
    on: str = "",
    every: bool = False,
) -> Parts:
    """Find and embed the subjects of photos.

    Args:
        cfg, model: the recipe and its model.
        items: the photos.
        root: the folder their ids are relative to.
        on: the map the attention is read from; the deepest when not given.
        every: photos with one subject too.

    Raises:
        UsageError: the backbone gives no such map.
    """
    vectors, owner, boxes = [], {}, {}
    for ids, maps in maps_of(cfg, model, list(items), "looking for subjects"):
        name = on or max(maps)
        if name not in maps:
            raise UsageError(f"the backbone gives no map {name!r}, only {', '.join(sorted(maps))}")
        h, w = maps[name].shape[2:]
        for row, photo in enumerate(ids):
            found = subjects(attention(maps[name][row].float().cpu().numpy()))
            if len(found) < (1 if every else 2):
                continue
            boxes[photo] = [(np.array(one.box) / [h, w, h, w]).tolist() for one in found]
            for number, one in enumerate(found, 1):
                vectors.append(embed_part(model, maps, row, one.box, name).cpu().numpy())
                owner[f"{photo}#{number}"] = photo
    provenance = embedding.describe_model(cfg, model, root) | {
        "regions": f"subjects on {on or 'the deepest map'}"
    }
    made = Embeddings(list(owner), np.stack(vectors), provenance) if vectors else None
    return Parts(made, owner, boxes)
