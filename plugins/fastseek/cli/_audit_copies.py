"""Embeddings to a table of images that stand more than once, and to a page that shows them."""

from __future__ import annotations

import argparse
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..audit import pixel_agreement
from ..audit.copies import (
    Copies,
    check_copies,
    cluster_copies,
    compare_copies,
    find_copies,
    find_leaks,
    find_partners,
    select_across,
)
from ..audit.pixel_agreement import PixelAgreement
from ..audit.verification import Verification
from ..data.images import BadImage, decode
from ..errors import DataError, UsageError
from ..io import csv_rows
from ..io.atomic import check_apart, check_writable
from ..io.file_kinds import PAGE, check_replaceable
from ..io.paths import PathLike
from ..io.text_table import count_noun
from ..knn.graph import build_knn_graph
from ..knn.vectors import pair_scores, unit_rows
from ..report import NeighborsLayout, neighbors_page
from ..report.thumbnails import find
from ..structures import Embeddings, Ranking
from ..structures.job_part import JobPart
from ..structures.provenance import check_same_model

SIDE, FEATURES = 320, 500  # images are verified at this longest side, by so many features
SHOWN = 12  # images of a cluster on the page, besides the first
SMALL = 2 * pixel_agreement.SIDE  # at which pixels are read, to be shrunk once more
LEAST, LEAST_VERIFIED = 0.85, 0.8  # cosines of copies
CLUSTERS = ("id", "cluster", "nearest", "score", "inliers", "agreement")
LEAKS = ("id", "nearest", "score", "inliers", "agreement")
Agree = Callable[[int, int], int]
Read = Callable[[int], np.ndarray | None]


class Side(NamedTuple):
    """Images of one set: their ids, the folders they lie in, and the root they were read from."""

    ids: list[str]
    folders: Sequence[PathLike]
    root: str | None

    @classmethod
    def describe(cls, embeddings: Embeddings, folders: Sequence[PathLike]) -> Side:
        root = embeddings.provenance.get("root")
        return cls(embeddings.ids.tolist(), folders, root if isinstance(root, str) else None)


def duplicates_file(args: argparse.Namespace) -> str:
    """Write id,cluster,nearest,score,inliers of the images of a set that stand more than once.

    Args:
        args: what `fastseek audit duplicates` reads.

    Returns:
        one line that tells what was found.

    Raises:
        UsageError, DataError, ArtefactError: an option is wrong, a file cannot be used or is there
            and is another's, or the graph is of other embeddings.
    """
    table = _check_outputs(args, CLUSTERS, [args.embeddings])
    embeddings = Embeddings.load(args.embeddings)
    graph = build_knn_graph(embeddings, args.k, args.graph, part=_parse_part(args.part, args.graph))
    if graph is None:
        return f"{args.graph}: part {args.part} is made; the table is written when the others are"
    least = _choose_least(args)
    sides = [Side.describe(embeddings, args.images)]
    copies, lost = _verify(find_copies(graph, least), sides, args)
    clusters = cluster_copies(copies, len(embeddings))
    partner, pair = find_partners(copies, len(embeddings))
    rows = (
        [
            csv_rows.guard_cell(str(embeddings.ids[image])),
            number,
            csv_rows.guard_cell(str(embeddings.ids[partner[image]])),
            *_figures(copies, int(pair[image])),
        ]
        for number, cluster in enumerate(clusters, 1)
        for image in cluster.tolist()
    )
    csv_rows.write(table, CLUSTERS, rows)
    images = sum(map(len, clusters))
    told = (
        f"{count_noun(images, 'image')} of {len(embeddings)} stand in"
        f" {count_noun(len(clusters), 'cluster')} of copies (cosine {least:g} and more"
        f"{_tell_verified(args)}; the graph found"
        f" {100 * graph.facts['recall']['value']:.1f} % of the nearest {graph.k})"
    )
    if args.out.endswith(PAGE):
        _show_clusters(embeddings, clusters, args, told)
    return f"{told}: {args.out}{_tell_lost(lost)}"


def leaks_file(args: argparse.Namespace) -> str:
    """Write id,nearest,score,inliers of the images of one set that stand in another too.

    Args:
        args: what `fastseek audit leaks` reads.

    Returns:
        one line that tells what was found.

    Raises:
        as `duplicates_file`.
    """
    if (args.others is None) == (args.splits is None):
        raise UsageError("give a second folder of embeddings, or --splits of the one")
    table = _check_outputs(args, LEAKS, [args.embeddings, args.others, args.splits])
    mine, least = Embeddings.load(args.embeddings), _choose_least(args)
    if args.others is None:
        theirs, sides = mine, [Side.describe(mine, args.images)]
        graph = build_knn_graph(mine, args.k)
        assert graph is not None  # it has one part only
        copies = select_across(find_copies(graph, least), _read_splits(args.splits, mine))
    else:
        theirs = Embeddings.load(args.others)
        check_same_model(mine, theirs, "the first images", "the others")
        copies = find_leaks(mine, theirs, args.k, least)
        folders = args.images if len(args.images) != 2 else args.images[:1]
        sides = [Side.describe(mine, folders), Side.describe(theirs, args.images[-1:] or ())]
    copies, lost = _verify(copies, sides, args)
    rows = [
        [
            csv_rows.guard_cell(str(mine.ids[copies.first[pair]])),
            csv_rows.guard_cell(str(theirs.ids[copies.second[pair]])),
            *_figures(copies, pair),
        ]
        for pair in range(len(copies))
    ]
    csv_rows.write(table, LEAKS, rows)
    leaking = len(np.unique(copies.first))
    what = "another split" if args.others is None else str(args.others)
    told = f"{count_noun(leaking, 'image')} of {len(mine)} stand in {what} too"
    if args.out.endswith(PAGE):
        _show_leaks(mine, theirs, copies, args, told)
    return f"{told}, in {count_noun(len(copies), 'pair')}: {args.out}{_tell_lost(lost)}"


def _check_outputs(
    args: argparse.Namespace, columns: Sequence[str], inputs: Sequence[PathLike | None]
) -> pathlib.Path:
    """The table's file, after all that will be written was checked."""
    out = pathlib.Path(args.out)
    if out.suffix not in (".csv", PAGE):
        raise UsageError(
            f"{out}: name a .csv file, or a {PAGE} page, beside which a .csv is written"
        )
    if (args.verify or args.inliers is not None) and not args.images:
        asked = "--verify" if args.verify else "--inliers"
        raise UsageError(f"{asked} needs --images, the folder of the images")
    if args.verify is False and args.inliers is not None:
        raise UsageError("--inliers verifies: leave it or --no-verify out")
    table = out.with_suffix(".csv")
    check_writable(out, inputs)
    check_apart(table, inputs)
    check_replaceable(table, f"table {','.join(columns)}", args.force, inputs)
    if out != table:
        check_replaceable(out, "page", args.force, inputs)
    return table


def _parse_part(text: str, graph: PathLike | None) -> JobPart:
    part = JobPart.parse(text)
    if part.count > 1 and graph is None:
        raise UsageError("--part needs --graph, the folder that the parts share")
    return part


def _figures(copies: Copies, pair: int) -> list[str]:
    inliers, agreement = int(copies.inliers[pair]), float(copies.agreement[pair])
    looked = [
        "" if inliers < 0 else str(inliers),
        "" if agreement != agreement else f"{agreement:.3f}",
    ]
    return [f"{copies.scores[pair]:.6f}", *looked]


def _read_splits(path: PathLike, embeddings: Embeddings) -> np.ndarray:
    """The split of every image, "" where the table names none."""
    known = {
        csv_rows.unguard_cell(name): split.strip()
        for _, (name, split) in csv_rows.read(path, ("id", "split"), allow_mark=True)
    }
    splits = np.array([known.get(name, "") for name in embeddings.ids.tolist()], str)
    if not (splits != "").any():
        raise DataError(f"{path}: names none of the embedded images: ids must be spelled alike")
    return splits


def _is_verified(args: argparse.Namespace) -> bool:
    return bool(args.images) if args.verify is None else bool(args.verify)


def _choose_least(args: argparse.Namespace) -> float:
    """The least cosine: a look at the images sorts out what the embeddings find alike."""
    if args.least is not None:
        return float(args.least)
    return LEAST_VERIFIED if _is_verified(args) else LEAST


def _verify(
    copies: Copies, sides: Sequence[Side], args: argparse.Namespace
) -> tuple[Copies, set[str]]:
    """The pairs that agree when they are looked at, and the images that could not be read."""
    if not _is_verified(args):
        return copies, set()
    if args.inliers is not None:
        agree, lost = make_check(sides)
        return check_copies(copies, agree, args.inliers), lost
    compare, lost = make_comparison(sides)
    return compare_copies(copies, compare, args.agreement), lost


def _tell_verified(args: argparse.Namespace) -> str:
    if not _is_verified(args):
        return ""
    if args.inliers is not None:
        return f", {args.inliers} features and more"
    return f", pixels that agree by {args.agreement:g} and more"


def make_check(sides: Sequence[Side]) -> tuple[Agree, set[str]]:
    """What counts the features in which two images agree, as they are or mirrored, and the images
    it could not read.

    Args:
        sides: one set, or two whose pairs are looked at.
    """
    read, count, lost = _make_reader(sides, SIDE)

    def read_both(number: int) -> np.ndarray | None:
        gray = read(number % count)
        if gray is None or number < count:
            return gray
        # Features know no mirror: the mirrored image is one of its own.
        return np.ascontiguousarray(gray[:, ::-1])

    compare = Verification(read_both, FEATURES)
    offset = _second_side(sides)

    def agree(first: int, second: int) -> int:
        other = second + offset
        return max(compare(first, other), compare(first, other + count))

    return agree, lost


def make_comparison(sides: Sequence[Side]) -> tuple[Callable[[int, int], float], set[str]]:
    """What tells how well one image fits into another, and the images it could not read.

    Args:
        sides: one set, or two whose pairs are looked at.
    """
    read, _, lost = _make_reader(sides, SMALL)
    compare, offset = PixelAgreement(read), _second_side(sides)
    return lambda first, second: compare(first, second + offset), lost


def _second_side(sides: Sequence[Side]) -> int:
    """The number of the first image of the second set."""
    return len(sides[0].ids) if len(sides) > 1 else 0


def _make_reader(sides: Sequence[Side], longest: int) -> tuple[Read, int, set[str]]:
    """What reads the gray image of a number, shrunk; how many images there are; and those that
    could not be read.
    """
    lost: set[str] = set()
    names = [(side, name) for side in sides for name in side.ids]

    def read(number: int) -> np.ndarray | None:
        side, name = names[number]
        path = find(name, list(side.folders), side.root)
        try:
            image = decode(os.fspath(path or name)).convert("L") if path else None
        except BadImage:
            image = None
        if image is None:
            lost.add(name)
            return None
        image.thumbnail((longest, longest), Image.Resampling.BILINEAR)
        return np.asarray(image)

    return read, len(names), lost


def _tell_lost(lost: set[str]) -> str:
    if not lost:
        return ""
    return f"\n{count_noun(len(lost), 'image')} could not be read and agree with none, such as {min(lost)!r}"


def _show_clusters(
    embeddings: Embeddings, clusters: Sequence[np.ndarray], args: argparse.Namespace, told: str
) -> None:
    """The page: the first image of every cluster with the others."""
    depth = min(SHOWN, max((len(one) - 1 for one in clusters), default=0))
    indices = np.full((len(clusters), depth), -1)
    scores = np.full((len(clusters), depth), -np.inf, np.float32)
    for row, cluster in enumerate(clusters):
        vectors = unit_rows(np.asarray(embeddings.vectors[cluster]))
        others = np.arange(1, len(cluster))
        near = pair_scores(vectors, vectors, np.zeros_like(others), others, "cosine")
        order = np.argsort(-near, kind="stable")[:depth]
        indices[row, : len(order)], scores[row, : len(order)] = cluster[1:][order], near[order]
    firsts = embeddings.ids[np.array([cluster[0] for cluster in clusters], np.int64)]
    _write_page(Ranking(firsts, embeddings.ids, indices, scores), args, told)


def _show_leaks(
    mine: Embeddings, theirs: Embeddings, copies: Copies, args: argparse.Namespace, told: str
) -> None:
    """The page: every image that leaks with those it stands for."""
    images, row = np.unique(copies.first, return_inverse=True)
    order = np.lexsort((-copies.scores, row))
    rank = np.arange(len(order)) - np.searchsorted(row[order], row[order])
    depth = int(rank.max(initial=-1)) + 1
    indices = np.full((len(images), depth), -1)
    scores = np.full((len(images), depth), -np.inf, np.float32)
    indices[row[order], rank] = copies.second[order]
    scores[row[order], rank] = copies.scores[order]
    _write_page(Ranking(mine.ids[images], theirs.ids, indices, scores), args, told)


def _write_page(ranking: Ranking, args: argparse.Namespace, told: str) -> None:
    layout = NeighborsLayout("Images that stand more than once", SHOWN, notes=[told])
    neighbors_page(ranking, list(args.images), args.out, layout)
