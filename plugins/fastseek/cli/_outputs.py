"""Files that commands write: what stands there already, and rankings as tables."""

from __future__ import annotations

import os
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..errors import UsageError
from ..io.file_kinds import PAGE, check_replaceable
from ..io.paths import PathLike
from ..io.text_table import count_noun
from ..structures import Ranking
from ..structures.answers import TABLES, find_form
from ..structures.embedding_job import find_foreign
from ..structures.embeddings import BARE
from ..structures.identity import root_of
from ..structures.label_file import read_labels
from ..structures.listed_ids import ListedIds
from ._shown_images import is_listed, read_sources

# What a run writes at the top of its folder.
RUN_FILES = {"report.html": "page", "ranking.npz": "ranking", "results.json": "results"}


def check_run_folder(
    out: PathLike, files: Mapping[str, str] = RUN_FILES, force: bool | None = None
) -> None:
    """Check that what a run would write anew into its folder is not there yet, or is a run's.

    Args:
        out: the folder.
        files: names in it, each with the kind that `check_replaceable` takes.
        force: whether anything is replaced; None where the verb has no such option.

    Raises:
        UsageError: a file of something else is there.
    """
    for name, kind in files.items():
        try:
            check_replaceable(pathlib.Path(out) / name, kind, bool(force))
        except UsageError as error:
            raise UsageError(
                f"{out} is there and holds {name!r}, which no run of FastSeek has written: name"
                f" another folder{_or_force(force)}"
            ) from error


def check_folder(out: PathLike | None, force: bool | None = None) -> None:
    """Check that a folder is new or empty, or holds embeddings or class probabilities.

    Args:
        out: the folder; None for none.
        force: whether they are put beside anything; None where the verb has no such option.

    Raises:
        UsageError: it holds something else.
    """
    foreign = "" if out is None or force else find_foreign(out, r"predictions\.\w+")
    if foreign:
        raise UsageError(
            f"{out} is there and holds {foreign!r}, which is no file of embeddings: name another"
            f" folder{_or_force(force)}"
        )


def _or_force(force: bool | None) -> str:
    return "" if force is None else ", or say --force"


class Beside(NamedTuple):
    """What is told beside the answers of a ranking.

    Args:
        labels: a CSV file with the columns id and label of the gallery, for a table or a page.
        images: folders the ids are relative to, or what lists images, for a page.
    """

    labels: PathLike | None = None
    images: Sequence[PathLike] = ()


NOTHING = Beside()


def check_ranking_suffix(out: PathLike, beside: Beside = NOTHING) -> None:
    """Check that a ranking can be written under a name.

    Raises:
        UsageError: its suffix says another kind of file, or one that has no room for the labels or
            images.
    """
    form = find_form(out)
    if beside.labels is not None and form == ".npz":
        raise UsageError(f"{out}: labels are written into {', '.join((*TABLES, PAGE))} only")
    if beside.images and form != PAGE:
        raise UsageError(f"{out}: images are shown in a page only: name a {PAGE} file")


def save_ranking(ranking: Ranking, out: PathLike, beside: Beside = NOTHING) -> str:
    """Write a ranking in the form that the suffix of its name says, whole or not at all.

    The tables have a row an answer: query, rank from 1, id, path ("" where no such file is known),
    score, and the label where labels are given ("" where an image has none).

    Args:
        ranking: what is written.
        out: .npz or no suffix (with the provenance), .csv, .csv.gz, .json (a list of objects),
            .jsonl, or .html, a page that `fastseek report` makes without a truth. What stands there
            is replaced: `check_replaceable` has looked at it.
        beside: labels for a table or a page, folders of images for a page.

    Returns:
        what is to be told of the labels or images; mostly nothing.

    Raises:
        UsageError: as for `check_ranking_suffix`. DataError: the labels cannot be read.
    """
    check_ranking_suffix(out, beside)
    form = find_form(out)
    known = None
    if beside.labels is not None:
        known = read_labels(beside.labels, "gallery", allow_empty=True)
    if form == PAGE:
        from ..report import NeighborsLayout, neighbors_page  # other answers need no Pillow

        sources = read_sources(ranking, beside.images)
        neighbors_page(ranking, sources, out, NeighborsLayout(labels=known))
    elif form == ".npz":
        ranking.save(out, force=True)
    elif form.startswith(".csv"):
        ranking.to_csv(out, known, force=True)
    else:
        ranking.to_json(out, known, force=True)
    told = _count_unlabeled(ranking, known, beside)
    return told + say_images(ranking, beside.images) if form == PAGE else told


def _count_unlabeled(ranking: Ranking, known: Mapping[str, str] | None, beside: Beside) -> str:
    """Which of the images that a ranking tells have no label; "" where none is without."""
    if known is None:
        return ""
    ids = ranking.gallery_ids
    names = ids.names if isinstance(ids, ListedIds) else ids
    missing = sum(one not in known for one in names.tolist())
    return f"; {missing} of {len(names)} images have no label in {beside.labels}" if missing else ""


def describe_ranking(ranking: Ranking, out: PathLike) -> str:
    """A line telling how many queries have how many answers, and where they are."""
    count, depth = ranking.indices.shape
    asked = count_noun(count, "query", "queries")
    return f"{asked}, {depth} of {len(ranking.gallery_ids)} images each: {out}"


def say_images(ranking: Ranking, images: Sequence[PathLike]) -> str:
    """What is to be told of the folders of images of a page: those that are not there, or, where none
    is given, what to add. Folders that a ranking names are not looked into unasked, for it may come
    from a stranger.
    """
    if images:
        missing = [str(one) for one in images if not (os.path.isdir(one) or is_listed(one))]
        return f" (no such folder of images: {', '.join(missing)})" if missing else ""
    sides = ("queries", "gallery")
    roots = [root_of(ranking.provenance, side) for side in sides]
    # Vectors of a file are known by their rows: no folder holds images of such names.
    named = dict.fromkeys(
        root for root in roots if os.path.isabs(root) and pathlib.Path(root).suffix not in BARE
    )
    options = " ".join(f"--images {shlex.quote(root)}" for root in named)
    return f" (without images; to show them add {options})" if options else ""
