"""CUHK03 as it is downloaded: one file of MATLAB that holds the images."""

from __future__ import annotations

import hashlib
import logging
import os
import pathlib
import tempfile

from ...errors import DataError
from ...formats import cuhk03 as lists
from ...formats.listed import Listed
from ...io.locks import take_turn
from ...io.paths import data_roots
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home, find_part

logger = logging.getLogger(__name__)
NAME = "CUHK03"
HOMES = ("cuhk03", "CUHK03", "cuhk03_release")
MAT = ("cuhk03_release/cuhk-03.mat", "cuhk-03.mat")
CONFIG = "cuhk03_new_protocol_config_{}.mat"
TEST_SETS = 20


@DATASETS.register()
class Cuhk03:
    """CUHK03 from cuhk-03.mat, whose images are written once as PNG; a query asks for its person in
    images of the other camera.

    Args:
        root: the folder with cuhk03_release/cuhk-03.mat (or cuhk-03.mat) and, for the new protocol,
            cuhk03_new_protocol_config_labeled.mat and …_detected.mat; or the one above it. "" looks
            for cuhk03 below the data roots. Reading the first needs the package h5py.
        kind: "labeled" (boxes drawn by people) or "detected".
        test_set: None for the new protocol (767 persons train, 700 are the test), or which of the
            twenty test sets of 100 persons, from 0: images of one camera ask for one image a person
            of the other.
        cache: the folder the images are written to; ~/.cache/fastseek/cuhk03 when not given.

    Raises:
        ValueError: another kind or test set. UsageError: h5py is not installed.
        DataError: a file is not there or damaged; names what was expected.

    Source: Li et al., DeepReID: Deep Filter Pairing Neural Network for Person Re-identification,
        CVPR 2014; Zhong et al., CVPR 2017 (arXiv 1701.08398)
    Example: cuhk03(root='cuhk03', kind='detected')
    """

    def __init__(
        self,
        root: str = "",
        kind: str = "labeled",
        test_set: int | None = None,
        cache: str | None = None,
    ) -> None:
        if kind not in lists.KINDS:
            raise ValueError(f"kind must be one of {', '.join(lists.KINDS)}, got {kind!r}")
        if test_set is not None and not 0 <= test_set < TEST_SETS:
            raise ValueError(f"test_set must be 0 to {TEST_SETS - 1} or None, got {test_set}")
        home = find_home(root, NAME, HOMES, *MAT)
        mat = find_part(home, NAME, *MAT)
        images = _extract_once(mat, kind, pathlib.Path(cache or data_roots()[-1] / "cuhk03"))
        self.root = str(images)
        self.items = build_items(images, "", _read_lists(home, images, kind, test_set))
        self.protocol = "query_gallery(camera=True)" if test_set is None else "single_shot()"
        if test_set is None:
            compare_counts(f"{NAME} {kind}", self.items, lists.COUNTS[kind])


def _read_lists(
    home: pathlib.Path, images: pathlib.Path, kind: str, test_set: int | None
) -> list[Listed]:
    if test_set is None:
        return lists.read_new_protocol(find_part(home, NAME, CONFIG.format(kind)))
    tested = lists.read_test_set(images / lists.TEST_SETS, test_set)
    return lists.split_persons(sorted(path.name for path in images.glob("*.png")), tested)


def _extract_once(mat: pathlib.Path, kind: str, cache: pathlib.Path) -> pathlib.Path:
    """The folder of the images of a .mat file, written there first if need be; of many processes one
    writes it.

    Raises:
        DataError: the file holds no image.
    """
    state = mat.stat()
    told = f"{os.path.abspath(mat)} {state.st_size} {state.st_mtime_ns}"
    key = hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    target = cache / f"{kind}-{key}"
    with take_turn(cache):
        if not target.is_dir():
            logger.info("writing the %s images of %s to %s", kind, mat, target)
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                whole = pathlib.Path(folder) / "whole"
                whole.mkdir()
                lists.extract(mat, kind, whole)
                if not any(whole.glob("*.png")):
                    raise DataError(f"{mat}: holds no image under {kind!r}")
                whole.rename(target)
    return target
