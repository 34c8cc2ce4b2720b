"""Google Landmarks v2 (Weyand et al., CVPR 2020) from its official lists: full, clean and v2x."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...errors import ArtefactError, DataError, UsageError
from ...formats import gldv2_lists as lists
from ...formats.gldv2_lists import Labelled
from ...formats.gldv2_names import join_labels, layout
from ...io.json_files import read_json
from ...io.locks import take_turn
from ...io.paths import data_roots, locate
from ...registry import DATASETS
from ...structures import ItemTable, Kind

logger = logging.getLogger(__name__)

KINDS = ("full", "clean", "v2x")
FILES = (
    "train",
    "clean",
    "exclude",
    "solution",
    "index_labels",
    "train_categories",
    "index_categories",
)
OF = (
    ("train", "train"),
    ("query", "train"),
    ("query", "test"),
    ("gallery", "train"),
    ("gallery", "index"),
)


@DATASETS.register()
class Gldv2:
    """Google Landmarks v2: training images by landmark, and queries of the 2019 test or held out to
    validate with.

    A class is a landmark id; classes are numbered by rising id (0..81312 in the clean set), and the
    model keeps the list. Images are `root/<train|test|index>/a/b/c/abc….jpg`. A training image with
    a negative landmark shows none and is left out. `counts` tells images and classes, and what was
    left out; the log does too. What was read is kept below `cache` as memory-mapped columns, 21
    bytes an image, which all processes share.

    Args:
        root: folder of the lists and images, as it stands or below one of the data roots.
        kind: "clean" (the images of `clean`), "full" (all of `train`), "v2x" (all of `train` whose
            class is in `clean`).
        train: the list of training images, id,…,landmark_id.
        clean: the list of clean ones, landmark_id,images; or id,landmark_id as Kaggle's train.csv of
            2020 and 2021.
        exclude: a list of landmark ids to leave out, such as those that overlap revisited Oxford
            and Paris (RGLDv2-clean); "" for none.
        validation: "" for none; "stratified": every class gives its share of queries; "test": the
            queries of `solution` that are scored, those without a landmark too, which have no
            label.
        share: of the training images that are held out as queries, 0 to 0.5; a class keeps one at
            least.
        seed: draws them.
        gallery: "train": training images of the classes that are asked for; "index": the images of
            `index_labels`, whose labels are joined through the categories, never by the number.
        solution, index_labels, train_categories, index_categories: the official files.
        cache: "" keeps nothing on disk; ~/.cache/fastseek/gldv2 when not given.

    Raises:
        ValueError: an option is none of those named.
        DataError: a file is missing or damaged; names file and line.

    Source: Weyand et al., Google Landmarks Dataset v2, CVPR 2020 (arXiv 2004.01804)
    Example: gldv2(kind='clean', validation='stratified')
    """

    def __init__(
        self,
        root: str = "google-landmarks",
        kind: str = "clean",
        train: str = "train.csv",
        clean: str = "train_clean.csv",
        exclude: str = "",
        validation: str = "",
        share: float = 0.02,
        seed: int = 0,
        gallery: str = "train",
        solution: str = "recognition_solution_v2.1.csv",
        index_labels: str = "index_image_to_landmark.csv",
        train_categories: str = "train_label_to_category.csv",
        index_categories: str = "index_label_to_category.csv",
        cache: str | None = None,
    ) -> None:
        if (
            kind not in KINDS
            or validation not in ("", "stratified", "test")
            or gallery not in ("train", "index")
        ):
            raise ValueError(
                f"kind must be {', '.join(KINDS)}, validation '', stratified or test, gallery train"
                f" or index; got {kind!r}, {validation!r} and {gallery!r}"
            )
        if not 0 < share <= 0.5:
            raise ValueError(f"share must be above 0 and 0.5 at most, got {share}")
        self.root = str(locate(root, "Google Landmarks"))
        self.kind, self.validation, self.gallery = kind, validation, gallery
        self.share, self.seed = share, seed
        named = (train, clean, exclude, solution, index_labels, train_categories, index_categories)
        self.files = {
            name: os.path.join(self.root, file)
            for name, file in zip(FILES, named, strict=True)
            if file
        }
        self.items, self.counts = self._load(cache)
        told = ", ".join(f"{value:,} {what}" for what, value in self.counts.items())
        logger.info("gldv2 %s: %s", kind, told)

    def _load(self, cache: str | None) -> tuple[ItemTable, dict[str, int]]:
        """Items and counts, from the cache if there is one."""
        if cache == "":
            return self._read()
        folder = pathlib.Path(cache or data_roots()[-1] / "gldv2") / self._key()
        try:
            with take_turn(folder):  # of many processes one reads the lists, and all map its files
                return self._map(folder)
        except (UsageError, OSError) as error:
            logger.warning("the lists cannot be kept (%s): every process holds its own copy", error)
            return self._read()

    def _map(self, folder: pathlib.Path) -> tuple[ItemTable, dict[str, int]]:
        """Items and counts in a folder, written there first if need be."""
        if (folder / "items.json").exists():
            try:
                return ItemTable.load(folder, layout), read_json(folder / "items.json")["counts"]
            except ArtefactError as error:
                logger.warning("%s; the lists are read again", error)
        items, counts = self._read()
        items.save(folder, counts=counts)
        return ItemTable.load(folder, layout), counts

    def _key(self) -> str:
        """Another value for other lists or options."""
        # Absolute: the working folder makes no other set of it.
        states = [(name, os.path.abspath(path), *_state(path)) for name, path in self.files.items()]
        told = [self.root, self.kind, self.validation, self.share, self.seed, self.gallery, states]
        return hashlib.sha256(json.dumps(told).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def _read(self) -> tuple[ItemTable, dict[str, int]]:
        train, left_out = self._select_training()
        landmarks, codes = np.unique(train.landmarks, return_inverse=True)
        labels = _Labels(landmarks.tolist())
        counts = {"training images": len(codes), "classes": len(landmarks), **left_out}
        if not self.validation:
            return self._table([_Part(train.ids, codes, 0)], labels), counts
        if self.validation == "stratified":
            held = self._draw_queries(codes)
            trained = _Part(train.ids[~held], codes[~held], 0)
            queries = _Part(train.ids[held], codes[held], 1)
        else:
            trained, queries = _Part(train.ids, codes, 0), self._read_queries(labels)
        if self.gallery == "index":
            gallery = self._read_index(labels)
        else:
            rows = np.isin(trained.codes, queries.codes)
            gallery = _Part(trained.ids[rows], trained.codes[rows], 3)
        counts |= {
            "training images": len(trained.ids),
            "queries": len(queries.ids),
            "queries without a landmark": int((queries.codes < 0).sum()),
            "gallery images": len(gallery.ids),
        }
        return self._table([trained, queries, gallery], labels), counts

    def _table(self, parts: Sequence[_Part], labels: _Labels) -> ItemTable:
        # A byte an image tells its split and folder: there are four million.
        kinds = [np.full(len(part.ids), part.kind, np.uint8) for part in parts]
        return ItemTable(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.codes for part in parts]).astype(np.int32),
            np.concatenate(kinds),
            labels.names,
            [Kind(split, os.path.join(self.root, below), layout) for split, below in OF],
        )

    def _select_training(self) -> tuple[Labelled, dict[str, int]]:
        """The training images of this kind, and how many were left out why."""
        found = lists.read_labelled(self.files["clean" if self.kind == "clean" else "train"])
        counts = {"without a landmark": int((found.landmarks < 0).sum())}
        keep = found.landmarks >= 0
        if self.kind == "v2x":
            clean = np.unique(lists.read_labelled(self.files["clean"]).landmarks)
            counts["of other classes"] = int((keep & ~np.isin(found.landmarks, clean)).sum())
            keep &= np.isin(found.landmarks, clean)
        if "exclude" in self.files:
            out = np.isin(found.landmarks, lists.read_landmarks(self.files["exclude"])) & keep
            counts |= {
                "excluded images": int(out.sum()),
                "excluded classes": len(np.unique(found.landmarks[out])),
            }
            keep &= ~out
        if not keep.any():
            raise DataError(
                f"{self.root}: no training image of kind {self.kind} is left ({counts})"
            )
        return Labelled(found.ids[keep], found.landmarks[keep]), counts

    def _draw_queries(self, codes: np.ndarray) -> np.ndarray:
        """True for every (1 / share)th image, the images sorted by class and by chance within; none
        of a class of 1.
        """
        # A step through the classes one after the other: each gives its share, to one image.
        order = np.lexsort((np.random.default_rng(self.seed).random(len(codes)), codes))
        order = order[np.bincount(codes)[codes[order]] > 1]
        held = np.zeros(len(codes), bool)
        held[order[np.diff(np.floor(np.arange(len(order) + 1) * self.share)) > 0]] = True
        return held

    def _read_queries(self, labels: _Labels) -> _Part:
        """The queries of the solution."""
        ids, found = lists.read_solution(self.files["solution"])
        return _Part(ids, labels.codes([labels.choose(landmarks) for landmarks in found]), 2)

    def _read_index(self, labels: _Labels) -> _Part:
        """The images of the index, whose landmarks are numbered otherwise than the training's."""
        index = lists.read_labelled(self.files["index_labels"])
        joined = join_labels(
            lists.read_categories(self.files["index_categories"]),
            lists.read_categories(self.files["train_categories"]),
        )
        names = {
            one: str(joined[one]) if one in joined else f"index/{one}"
            for one in np.unique(index.landmarks).tolist()
        }
        return _Part(index.ids, labels.codes([names[one] for one in index.landmarks.tolist()]), 4)


class _Part(NamedTuple):
    """Images of one kind: ids, codes of their labels, and which of `OF` they are."""

    ids: np.ndarray
    codes: np.ndarray
    kind: int


class _Labels:
    """Labels and their codes: the trained landmarks, and behind them others as they come."""

    def __init__(self, landmarks: list[int]) -> None:
        self.trained, self.names = set(landmarks), [str(landmark) for landmark in landmarks]
        self.place = {name: code for code, name in enumerate(self.names)}

    def codes(self, names: list[str]) -> np.ndarray:
        """Codes [n] int32; -1 for ""."""
        for name in sorted(set(names) - {""} - set(self.place)):
            self.place[name] = len(self.names)
            self.names.append(name)
        return np.fromiter(
            (self.place[name] if name else -1 for name in names), np.int32, len(names)
        )

    def choose(self, landmarks: tuple[int, ...]) -> str:
        """The label of a query: its first landmark that is trained on, else its first; "" when it
        shows none.
        """
        known = (one for one in landmarks if one in self.trained)
        return str(next(known, landmarks[0])) if landmarks else ""


def _state(path: str) -> tuple[int, int]:
    """Length and time of change; (-1, 0) for a file that is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return -1, 0
    return found.st_size, found.st_mtime_ns
