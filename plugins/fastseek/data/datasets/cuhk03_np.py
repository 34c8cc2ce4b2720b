"""CUHK03 in the folders of its new protocol (CUHK03-NP)."""

from __future__ import annotations

from ...formats.cuhk03 import COUNTS, KINDS
from ...formats.reid_names import CUHK03_NP
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home, find_part
from ._reid_folders import FOLDERS, list_folders

NAME = "CUHK03-NP"
HOMES = ("cuhk03-np", "CUHK03-NP", "cuhk03_np", "CUHK03_NP")


@DATASETS.register()
class Cuhk03Np:
    """CUHK03-NP: 767 persons train, 700 are the test; a query asks for its person in images of the
    other camera.

    Args:
        root: the folder with labeled/ and detected/, each with bounding_box_train/, query/ and
            bounding_box_test/, or the one above it; "" looks for cuhk03-np below the data roots.
        kind: "labeled" (boxes drawn by people) or "detected".

    Raises:
        ValueError: another kind. DataError: a folder is not there; names what was expected.

    Source: Zhong et al., Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017
        (arXiv 1701.08398)
    Example: cuhk03_np(root='cuhk03-np', kind='detected')
    """

    def __init__(self, root: str = "", kind: str = "labeled") -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        home = find_home(root, NAME, HOMES, *KINDS)
        folders = {split: f"{kind}/{folder}" for split, folder in FOLDERS.items()}
        for folder in folders.values():
            find_part(home, NAME, folder)
        self.root = str(home)
        self.items = build_items(home, "", list_folders(home, folders, CUHK03_NP))
        self.protocol = "query_gallery(camera=True)"
        compare_counts(f"{NAME} {kind}", self.items, COUNTS[kind])
