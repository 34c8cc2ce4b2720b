"""A ranking of the training images in themselves, and their labels, to the list of those that are
kept.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..audit.clean_by_matches import clean_by_matches
from ..audit.verification import Verification
from ..data.images import BadImage, decode
from ..errors import ArtefactError, DataError, UsageError
from ..formats.gldv2_lists import Labelled, image_path, write_train_clean
from ..io import csv_rows
from ..io.atomic import check_writable
from ..io.csv_rows import parse_integer
from ..io.paths import PathLike
from ..recognition.labels import read_landmarks
from ..structures import Ranking
from ..structures.identity import roots_differ

SIDE = 640  # images are verified at this longest side


class _Least(NamedTuple):
    """What a match, an image and a class must have, see `clean_by_matches`."""

    least_inliers: int = 30
    least_matches: int = 3
    least_images: int = 2


def clean_file(
    ranking: PathLike,
    labels: PathLike,
    out: PathLike,
    images: PathLike | None = None,
    inliers: PathLike | None = None,
    neighbours: int = 100,
    **least: int,
) -> str:
    """Write train_clean.csv (landmark_id,images) of the images that verify with others of their
    class.

    Args:
        ranking: an .npz ranking of the training images in themselves; an image in its own list is
            passed over.
        labels: a CSV file with the columns id and landmark_id (train.csv).
        out: the list.
        images: the folder of the images, verified by SIFT and RANSAC; they lie below it as their
            ids say, or as a/b/c/abc….jpg.
        inliers: instead a CSV file first,second,inliers of another verification; a pair that is not
            in it has none.
        neighbours: of an image that are looked at.
        least: least_inliers, least_matches, least_images of `clean_by_matches`.

    Returns:
        one line that tells what was kept.

    Raises:
        UsageError: none or both of images and inliers are given, or `out` cannot be written or is
            an input.
        DataError: a file cannot be read, or nothing is left. ArtefactError: the ranking is not of
            one set in itself.
    """
    check_writable(out, [ranking, labels, inliers])
    wanted = _Least(**least)
    if (images is None) == (inliers is None):
        raise UsageError("give either the folder of the images or a file of inliers")
    found = Ranking.load(ranking)
    near, ids = _others(found, neighbours, ranking), found.gallery_ids.tolist()
    landmarks = _landmarks(ids, read_landmarks(labels), labels)
    lost: set[int] = set()
    agree: Callable[[int, int], int]
    if inliers is not None:
        agree = _read_inliers(inliers, ids)
    else:
        agree = Verification(_reader(ids, images or "", lost))
    kept = clean_by_matches(landmarks, near, agree, *wanted)
    if not kept.keep.any():
        raise DataError(
            f"no image has {wanted.least_matches} matches of {wanted.least_inliers} inliers in its"
            f" class among its {neighbours} nearest ({kept.verified} pairs were verified): nothing"
            " is written"
        )
    names = np.asarray([_bare(name) for name in ids])
    write_train_clean(out, Labelled(names[kept.keep], landmarks[kept.keep]))
    return (
        f"{int(kept.keep.sum())} of {len(ids)} images, {len(np.unique(landmarks[kept.keep]))} of "
        f"{len(np.unique(landmarks[landmarks >= 0]))} classes kept, {kept.verified} pairs verified"
        f"{f', {len(lost)} images could not be read' if lost else ''}: {out}"
    )


def _others(ranking: Ranking, depth: int, path: PathLike) -> np.ndarray:
    """The nearest rows [N, depth] of every image but itself, in the order of the gallery."""
    place = {name: row for row, name in enumerate(ranking.query_ids.tolist())}
    missing = [name for name in ranking.gallery_ids.tolist() if name not in place]
    if roots_differ(ranking.provenance):
        raise ArtefactError(
            f"{path} is not a ranking of one set in itself: queries and gallery were read from two"
            " folders"
        )
    if missing or len(place) != len(ranking.gallery_ids):
        raise ArtefactError(
            f"{path} is not a ranking of one set in itself: {len(missing)} gallery images are no "
            "queries"
        )
    listed = ranking.indices[[place[name] for name in ranking.gallery_ids.tolist()]]
    if listed.shape[1] < min(depth + 1, len(listed)):
        raise ArtefactError(
            f"{path} lists {listed.shape[1]} images each: search with k={depth + 1}, the image"
            " itself is one of them"
        )
    own = listed == np.arange(len(listed))[:, None]
    order = np.argsort(own, axis=1, kind="stable")
    return np.take_along_axis(np.where(own, -1, listed), order, axis=1)[:, :depth]


def _landmarks(ids: list[str], known: dict[str, int], path: PathLike) -> np.ndarray:
    labels = [known.get(name, known.get(_bare(name))) for name in ids]
    missing = [name for name, label in zip(ids, labels, strict=True) if label is None]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(ids)} ranked images have no label, the first is "
            f"{missing[0]!r}"
        )
    return np.asarray(labels, np.int64)


def _read_inliers(path: PathLike, ids: list[str]) -> Callable[[int, int], int]:
    """Inliers from a CSV file."""
    rows = {name: row for row, name in enumerate(ids)} | {
        _bare(name): row for row, name in enumerate(ids)
    }
    counts: dict[tuple[int, int], int] = {}
    columns = ("first", "second", "inliers")
    for line, (first, second, count) in csv_rows.read(path, columns, allow_mark=True):
        for name in (first, second):
            if name not in rows:
                raise DataError(f"{path}:{line}: the ranking holds no image {name!r}")
        low, high = sorted((rows[first], rows[second]))
        number = parse_integer(count, path, line, "inliers")
        counts[low, high] = max(number, counts.get((low, high), 0))
    return lambda first, second: counts.get((first, second), 0)


def _reader(ids: list[str], images: PathLike, lost: set[int]) -> Callable[[int], np.ndarray | None]:
    """The gray image of a row, small; None, and noted in `lost`, when it cannot be read."""

    def read(row: int) -> np.ndarray | None:
        path = pathlib.Path(images) / ids[row]
        if not path.exists() and _bare(ids[row]).isalnum() and len(_bare(ids[row])) > 2:
            path = pathlib.Path(images) / image_path(_bare(ids[row]))
        try:
            image = decode(os.fspath(path)).convert("L")
        except BadImage:
            lost.add(row)
            return None
        image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
        return np.asarray(image)

    return read


def _bare(name: str) -> str:
    return pathlib.PurePosixPath(name).stem if "/" in name or "." in name else name
