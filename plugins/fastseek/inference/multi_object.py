"""Search with every thing an image shows: its subjects are found, searched one by one, and the
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
from ..data.own_images import images_of
from ..data.rejects import Reject, append
from ..errors import ArtefactError, UsageError
from ..io.atomic import check_writable
from ..io.json_files import write_json
from ..io.paths import PathLike
from ..regions.attention import attention, fit_strength
from ..regions.merge import merge_answers
from ..regions.subjects import subjects
from ..search.exact import Exact
from ..structures import Embeddings, Item, Ranking
from ..structures.listed_ids import same_ids
from . import embedding
from .embed_images import load_model
from .feature_maps import embed_part, maps_of


@dataclasses.dataclass(frozen=True)
class Parts:
    """Subjects of some images.

    Args:
        embeddings: one a subject, ids "image#1", "image#2", …; None when no image shows several.
        owner: their ids -> the image's.
        boxes: image -> its subjects' boxes, top, left, bottom, right as shares of height and width
            of the tensor.
        rejects: what is known of the images that could not be read.
    """

    embeddings: Embeddings | None
    owner: Mapping[str, str]
    boxes: Mapping[str, list[list[float]]]
    rejects: Sequence[Reject] = ()


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A model by its files.

    Args:
        config_file: the recipe it was trained with.
        weights: a checkpoint.
        opts: KEY VALUE changes to the recipe.
    """

    config_file: PathLike
    weights: PathLike
    opts: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class SubjectChoice:
    """Which subjects of which queries are searched.

    Args:
        on: the map the attention is read from; the deepest when not given.
        every: an image's only subject too (a small thing before much background); else those of
            images with several.
        only: ids of queries to look at, such as those whose models disagree; all when not given.
    """

    on: str = ""
    every: bool = False
    only: Sequence[str] = ()


def search_subjects(
    trained: TrainedModel,
    ranking: PathLike,
    queries: PathLike,
    gallery: PathLike,
    out: PathLike,
    choice: SubjectChoice = SubjectChoice(),
) -> str:
    """Better a ranking by the subjects of its queries; writes the ranking, and the boxes as JSON
    beside it.

    Args:
        trained: the recipe and model that made the embeddings.
        ranking: of the whole images, by cosine.
        queries: the images, a folder or a table, with the ids of the ranking.
        gallery: their embeddings folder; its bytes are compared with its hashes.
        out: the new ranking. Images that cannot be read are named in OUT's ".rejects.csv".
        choice: which subjects of which queries.

    Returns:
        one line that tells what was done, and how many queries could not be read.

    Raises:
        ArtefactError: ranking, gallery, model and `choice.only` do not belong together, or the
            gallery is damaged.
        UsageError: `out` cannot be written or is an input, a map the backbone does not give, or
            another architecture.
    """
    check_writable(out, [trained.config_file, trained.weights, ranking, queries, gallery])
    cfg = recipe.load(trained.config_file, trained.opts)
    whole, known = Ranking.load(ranking), Embeddings.load(gallery, verify=True)
    if not same_ids(whole.gallery_ids, known.ids):
        raise ArtefactError(f"{ranking} is not over the images of {gallery}: search there again")
    images, root = images_of(queries)
    items = _chosen_items(images, whole, choice.only, f"{ranking}", f"{queries}")
    found = parts_of(cfg, load_model(cfg, trained.weights), items, root, choice.on, choice.every)
    write_json(pathlib.Path(out).with_suffix(".boxes.json"), dict(found.boxes))
    lost = _write_rejects(pathlib.Path(out).with_suffix(".rejects.csv"), found.rejects)
    search_parts(whole, found, known).save(out, force=True)
    return (
        f"{len(found.boxes)} of {len(items)} images show"
        f" {'a subject' if choice.every else 'several subjects'}, {len(found.owner)} parts"
        f" searched: {os.fspath(out)}{lost}"
    )


def _chosen_items(
    items: Sequence[Item], whole: Ranking, only: Sequence[str], ranking: str, queries: str
) -> list[Item]:
    """The queries that are looked at.

    Raises:
        ArtefactError: `only` names one the ranking does not have, or a query of the ranking is not
            among the items.
    """
    ranked = set(whole.query_ids.tolist())
    strangers = sorted(set(only) - ranked)
    if strangers:
        raise ArtefactError(
            f"{ranking} has no query {strangers[0]!r}, nor {len(strangers) - 1} others that are"
            " asked for: give the list made from this ranking's queries"
        )
    wanted = set(only) or ranked
    missing = sorted(wanted - {item.id for item in items})
    if missing:
        raise ArtefactError(
            f"{queries} has no image {missing[0]!r}, nor {len(missing) - 1} others of the ranking"
        )
    return [item for item in items if item.id in wanted]


def _write_rejects(file: pathlib.Path, rejects: Sequence[Reject]) -> str:
    """Name the images that could not be read in a file; what is told of them, "" without any."""
    file.unlink(missing_ok=True)  # of an earlier run
    if not rejects:
        return ""
    append(file, rejects)
    first = rejects[0]
    return (
        f"; {len(rejects)} could not be read and keep their answers, such as {first['path']}"
        f" ({first['code']}): see {file}"
    )


def search_parts(whole: Ranking, parts: Parts, gallery: Embeddings) -> Ranking:
    """Search the parts as deep as the images were, and merge; `whole` itself without parts."""
    if parts.embeddings is None:
        return whole
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
    """Find and embed the subjects of images.

    Args:
        cfg, model: the recipe and its model.
        items: the images.
        root: the folder their ids are relative to.
        on: the map the attention is read from; the deepest when not given.
        every: images with one subject too.

    Raises:
        UsageError: the backbone gives no such map.
    """
    vectors: list[np.ndarray] = []
    owner: dict[str, str] = {}
    boxes: dict[str, list[list[float]]] = {}
    rejects: list[Reject] = []
    for ids, maps in maps_of(cfg, model, list(items), "looking for subjects", rejects):
        name = on or max(maps)
        if name not in maps:
            raise UsageError(f"the backbone gives no map {name!r}, only {', '.join(sorted(maps))}")
        h, w = maps[name].shape[2:]
        for row, image in enumerate(ids):
            seen = maps[name][row].float().cpu().numpy()
            found = subjects(attention(seen, fit_strength(seen)))
            if len(found) < (1 if every else 2):
                continue
            # Shares, so that a box fits the image at any size.
            boxes[image] = [(np.array(one.box) / [h, w, h, w]).tolist() for one in found]
            for number, one in enumerate(found, 1):
                vectors.append(embed_part(model, maps, row, one.box, name).cpu().numpy())
                owner[f"{image}#{number}"] = image
    provenance = embedding.describe_model(cfg, model, root) | {
        "regions": f"subjects on {on or 'the deepest map'}"
    }
    made = Embeddings(np.array(list(owner)), np.stack(vectors), provenance) if vectors else None
    return Parts(made, owner, boxes, rejects)
