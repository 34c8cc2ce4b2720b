"""CUHK03: cuhk-03.mat (HDF5), which holds the images, and the lists of the new protocol."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..errors import DataError, UsageError
from ..io.json_files import read_json, write_json
from ..io.paths import PathLike
from .listed import Listed
from .matlab import as_numbers, as_texts, is_hdf5, read_mat

KINDS = ("labeled", "detected")
TEST_SETS = "testsets.json"
# Images of the new protocol, split by split.
COUNTS = {
    "labeled": {"train": 7368, "query": 1400, "gallery": 5328},
    "detected": {"train": 7365, "query": 1400, "gallery": 5332},
}
_FIRST_VIEW = 5  # images 1 to 5 of a person are of one camera, 6 to 10 of the other
_NAME = re.compile(r"(\d+)_(\d+)_([12])_\d+\.png")


def extract(path: PathLike, kind: str, folder: PathLike) -> None:
    """Write the images of cuhk-03.mat as PNG, and its twenty test sets as testsets.json.

    An image is called pair of cameras, person, view and number, from 1 ("1_001_1_01.png"), as in
    the lists of the new protocol.

    Args:
        path: cuhk-03.mat.
        kind: "labeled" or "detected".
        folder: is there and empty.

    Raises:
        UsageError: h5py is not installed. DataError: the file is another.
    """
    try:
        import h5py
    except ImportError as error:
        raise UsageError(
            f"{path} is HDF5, which needs the package h5py: pip install 'fastseek[hdf5]'"
        ) from error
    if not is_hdf5(path):
        raise DataError(f"{path}: not the cuhk-03.mat of CUHK03, which is HDF5")
    try:
        with h5py.File(path, "r") as mat:
            for pair, people in enumerate(np.asarray(mat[kind])[0], 1):
                _extract_pair(mat, mat[people], pair, pathlib.Path(folder))
            sets = [
                np.asarray(mat[one]).T.astype(int).tolist()
                for one in np.asarray(mat["testsets"])[0]
            ]
    except (KeyError, OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}): expected the variables labeled, detected and"
            " testsets"
        ) from error
    write_json(pathlib.Path(folder) / TEST_SETS, sets)


def _extract_pair(mat: Any, people: Any, pair: int, folder: pathlib.Path) -> None:
    """The images of one pair of cameras, [10, persons] references as HDF5 has them."""
    for person, images in enumerate(np.asarray(people).T, 1):
        for number, reference in enumerate(images, 1):
            pixels = np.asarray(mat[reference]).T
            if pixels.ndim == 3:  # an empty cell stands for an image that is not there
                view = 1 if number <= _FIRST_VIEW else 2
                name = f"{pair}_{person:03d}_{view}_{number:02d}.png"
                Image.fromarray(np.ascontiguousarray(pixels, np.uint8)).save(folder / name)


def read_new_protocol(path: PathLike) -> list[Listed]:
    """The images of cuhk03_new_protocol_config_labeled.mat or …_detected.mat: 767 persons train,
    700 are the test.

    Raises:
        DataError: the file is another.
    """
    lists = ("train_idx", "query_idx", "gallery_idx")
    page = read_mat(path, *lists, "labels", "filelist")
    names, labels = as_texts(page["filelist"]), as_numbers(page["labels"])
    if len(names) != len(labels):
        raise DataError(f"{path}: {len(names)} files and {len(labels)} labels: must be as many")
    found = []
    for variable in lists:
        split = variable.removesuffix("_idx")
        for number in as_numbers(page[variable]).tolist():
            if not 1 <= number <= len(names):
                raise DataError(f"{path}: {variable} holds {number}, must be 1 to {len(names)}")
            name = names[number - 1]
            found.append(Listed(name, str(labels[number - 1]), split, _read_name(name, path)[2]))
    return found


def read_test_set(path: PathLike, number: int) -> set[tuple[int, int]]:
    """The persons of one of the twenty test sets: pair of cameras, person.

    Args:
        path: testsets.json of `extract`.
        number: from 0.
    """
    return {(pair, person) for pair, person in read_json(path)[number]}


def split_persons(names: Sequence[str], tested: Collection[tuple[int, int]]) -> list[Listed]:
    """Images whose person is not tested train; of the others those of the first camera ask for those
    of the second.

    Args:
        names: of the images.
        tested: of `read_test_set`.
    """
    found = []
    for name in names:
        pair, person, view = _read_name(name, "images of CUHK03")
        label = f"{pair}_{int(person):03d}"
        side = "query" if view == "1" else "gallery"
        split = side if (int(pair), int(person)) in tested else "train"
        found.append(Listed(name, label, split, view))
    return found


def _read_name(name: str, where: PathLike) -> tuple[str, str, str]:
    found = _NAME.fullmatch(name)
    if found is None:
        raise DataError(f"{where}: expected a name such as 1_001_1_01.png, found {name!r}")
    return found[1], found[2], found[3]
