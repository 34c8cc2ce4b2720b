"""MARS as it is downloaded, a few images of every tracklet."""

from __future__ import annotations

import pathlib
from collections.abc import Collection

from ...formats import mars as lists
from ...formats.listed import Listed
from ...formats.mars import Tracklets
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home, find_part

NAME = "MARS"
HOMES = ("MARS", "mars", "Mars")
INFO = ("info", "MARS-evaluation/info", "MARS-evaluation-master/info", "")
JUNK, NOBODY = -1, 0  # persons: a bad detection, a distractor
TRAINED, ASKED, SEARCHED = 8298, 1980, 11310  # tracklets


@DATASETS.register()
class Mars:
    """MARS, tracklets of persons: a query asks for its person in images of other cameras.

    A tracklet is seen in some of its images, which stand for it one by one; the published figures
    are of whole tracklets, whose vectors are averaged. Junk is left out; queries are searched too,
    as in the authors' evaluation.

    Args:
        root: the folder with bbox_train/, bbox_test/ and info/ (train_name.txt, test_name.txt,
            tracks_train_info.mat, tracks_test_info.mat, query_IDX.mat, of the authors'
            MARS-evaluation), or the one above it; "" looks for MARS below the data roots.
        frames: images of a tracklet, spread evenly over it; 0 for all (1.2 million).

    Raises:
        ValueError: `frames` is negative. DataError: a list or its images are not there, or a list is
            damaged; names what was expected.

    Source: Zheng et al., MARS: A Video Benchmark for Large-Scale Person Re-Identification, ECCV 2016
    Example: mars(root='MARS', frames=1)
    """

    def __init__(self, root: str = "", frames: int = 1) -> None:
        if frames < 0:
            raise ValueError(f"frames must be 0 or more, got {frames}")
        home = find_home(root, NAME, HOMES, "bbox_train", "bbox_test")
        listed = [*_read_train(home, frames), *_read_test(home, frames)]
        self.root = str(home)
        self.items = build_items(home, "", listed)
        self.protocol = "query_gallery(camera=True)"
        if frames == 1:
            counts = {"train": TRAINED, "query": ASKED, "gallery": SEARCHED}
            compare_counts(NAME, self.items, counts)


def _find_list(home: pathlib.Path, name: str) -> pathlib.Path:
    return find_part(home, NAME, *(f"{folder}/{name}" if folder else name for folder in INFO))


def _read_train(home: pathlib.Path, frames: int) -> list[Listed]:
    find_part(home, NAME, "bbox_train")
    names = lists.read_names(_find_list(home, "train_name.txt"))
    table = _find_list(home, "tracks_train_info.mat")
    tracklets = lists.read_tracklets(table, "track_train_info", len(names))
    return _list_images(names, tracklets, range(len(tracklets.starts)), "train", frames)


def _read_test(home: pathlib.Path, frames: int) -> list[Listed]:
    find_part(home, NAME, "bbox_test")
    names = lists.read_names(_find_list(home, "test_name.txt"))
    table = _find_list(home, "tracks_test_info.mat")
    tracklets = lists.read_tracklets(table, "track_test_info", len(names))
    asked = lists.read_queries(_find_list(home, "query_IDX.mat"), len(tracklets.starts))
    everything = range(len(tracklets.starts))
    return [
        *_list_images(names, tracklets, asked, "query", frames),
        *_list_images(names, tracklets, everything, "gallery", frames),
    ]


def _list_images(
    names: list[str], tracklets: Tracklets, rows: Collection[int], split: str, frames: int
) -> list[Listed]:
    """The images of some tracklets that are no junk."""
    folder = "bbox_train" if split == "train" else "bbox_test"
    found = []
    for row in rows:
        person, camera = int(tracklets.persons[row]), str(int(tracklets.cameras[row]))
        if person == JUNK:
            continue
        label = "" if person == NOBODY else str(person)
        for image in tracklets.frames(row, frames):
            found.append(Listed(f"{folder}/{names[image]}", label, split, camera))
    return found
