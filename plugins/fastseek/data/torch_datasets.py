"""Batches of photos, read inside a loader worker: what a worker holds is arrays only, so its copy
is small.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import default_collate

from .. import compat  # noqa: F401  (a spawned worker imports this before fast-reid)
from ..errors import DataError, FastSeekError, RunError
from ..structures.item_table import Paths
from .image_cache import ArrayCache
from .images import BadImage, decode
from .rejects import Reject, reject

Transform = Callable[[Image.Image], torch.Tensor]
Batch = dict[str, Any]


class Photos:
    """The files of a data set and what is done to each.

    Args:
        paths: the files.
        transform: PIL RGB image -> float32 tensor [3, H, W].
        max_pixels: larger photos are refused.
        phase: "train" or "extract", told with every reject.
        cache: gives the photos instead of the files, by row.
        boxes: float32 [N, 4], shares left, top, right, bottom, NaN for the whole photo: every photo
            is given a second time, cut there.
    """

    def __init__(
        self,
        paths: Sequence[str],
        transform: Transform,
        max_pixels: int,
        phase: str,
        cache: ArrayCache | None = None,
        boxes: np.ndarray | None = None,
    ) -> None:
        listed = isinstance(paths, Paths)
        self.paths = (
            paths if listed else np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)
        )
        self.transform, self.max_pixels, self.phase, self.cache = (
            transform,
            max_pixels,
            phase,
            cache,
        )
        self.boxes = boxes

    def __getitem__(self, draw: Any) -> Batch:
        """The batch of a draw, or its "error", so that a worker's errors reach the user as they
        were raised.
        """
        try:
            with private_randomness():
                return self.batch(draw)
        except FastSeekError as error:
            return {"error": error}

    def batch(self, draw: Any) -> Batch:
        """The batch of a draw: "images", with boxes "crops", "rows" and "rejects"."""
        raise NotImplementedError

    def path(self, row: int) -> str:
        """The file of a row."""
        return os.fsdecode(self.paths[row])

    def decoded(self, row: int, rejects: list[Reject]) -> Image.Image | None:
        """The photo, or None and one more entry in `rejects`."""
        try:
            return self.read(row)
        except BadImage as error:
            rejects.append(reject(self.path(row), row, self.phase, error))
            return None

    def read(self, row: int) -> Image.Image:
        """The photo, with its file's name in `info["path"]` and its row in `info["row"]` for
        transforms that want them.

        Raises:
            BadImage: it cannot be used.
        """
        path = self.path(row)
        image = self.cache[row] if self.cache is not None else decode(path, self.max_pixels)
        image.info["path"], image.info["row"] = path, row
        return image

    def transformed(self, row: int, image: Image.Image) -> torch.Tensor:
        """The photo as a tensor.

        Raises:
            RunError: the transforms failed or did not end in a tensor [3, H, W]; names the photo.
        """
        try:
            tensor = self.transform(image)
        except Exception as error:
            size = f"{image.width} x {image.height}"
            raise RunError(f"{self.path(row)} ({size}): a transform failed: {error!r}") from error
        if not isinstance(tensor, torch.Tensor) or tensor.ndim != 3 or len(tensor) != 3:
            raise RunError(
                f"{self.path(row)}: the transforms gave no tensor [3, H, W] but {_shape(tensor)}"
            )
        return tensor

    def seen(self, row: int, image: Image.Image, seed: int) -> list[torch.Tensor]:
        """The photo as a tensor and, with boxes, what its box holds; both with the draws of one
        seed.

        Raises:
            RunError: see `transformed`.
        """
        reseed(seed)
        made = [self.transformed(row, image)]
        if self.boxes is not None and np.isnan(self.boxes[row, 0]):
            made.append(made[0])
        elif self.boxes is not None:
            reseed(seed)
            made.append(self.transformed(row, cut_box(image, self.boxes[row])))
        return made

    def pictures(self, rows: Sequence[int], seen: Sequence[Sequence[torch.Tensor]]) -> Batch:
        """ "images" and, with boxes, "crops", each one tensor [B, 3, H, W]."""
        names = ("images",) if self.boxes is None else ("images", "crops")
        return {
            name: self.stacked(rows, [one[number] for one in seen])
            for number, name in enumerate(names)
        }

    def stacked(self, rows: Sequence[int], tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """One tensor [B, 3, H, W].

        Raises:
            DataError: sizes differ; names two photos.
        """
        if not tensors:
            return torch.zeros(0, 3, 0, 0)
        for row, tensor in zip(rows, tensors, strict=True):
            if tensor.shape != tensors[0].shape:
                raise DataError(
                    f"{self.path(rows[0])} became {tuple(tensors[0].shape)}, but {self.path(row)}"
                    f" {tuple(tensor.shape)}: add a transform that gives one size, such as"
                    " resize(224)"
                )
        return default_collate(list(tensors))  # in a worker it stacks straight into shared memory


class TrainPhotos(Photos):
    """Training batches; a bad photo is replaced by another of its class.

    Args:
        paths, transform, max_pixels: see `Photos`.
        labels: class of every photo, whole numbers [N].
        seed: of the augmentation.
        budget: more bad photos than this end the run, so no more are tried for one place.
        cache, boxes: see `Photos`.
    """

    def __init__(
        self,
        paths: Sequence[str],
        transform: Transform,
        max_pixels: int,
        labels: np.ndarray,
        seed: int,
        budget: int,
        cache: ArrayCache | None = None,
        boxes: np.ndarray | None = None,
    ) -> None:
        super().__init__(paths, transform, max_pixels, "train", cache, boxes)
        self.labels, self.seed, self.budget = np.asarray(labels, np.int32), seed, budget
        self._by_class = np.argsort(self.labels, kind="stable").astype(
            np.int32
        )  # a spawned worker gets a copy
        self._starts = np.cumsum(np.bincount(self.labels + 1))
        if hasattr(transform, "lend"):
            transform.lend(self._lent, len(self.paths))

    def _lent(self, row: int) -> Image.Image | None:
        image = self.decoded(row, [])
        return image if image is None else self.transform.prepared(image)

    def batch(self, draw: tuple[int, int, np.ndarray]) -> Batch:
        """The batch of (step, place of its first photo in the global batch, rows): a function of
        these alone.
        """
        step, first, rows = draw
        seeds = np.random.SeedSequence([self.seed, step]).generate_state(
            first + len(rows), np.uint64
        )[first:]
        rejects: list[Reject] = []
        kept, seen = [], []
        for row, seed in zip(rows.tolist(), seeds.tolist(), strict=True):
            found = self._readable(row, seed, rejects)
            if found is None:
                return {"rejects": rejects, "lost": row}
            kept.append(found[0])
            seen.append(self.seen(*found, seed))
        return {**self.pictures(kept, seen), "rows": torch.tensor(kept), "rejects": rejects}

    def _readable(
        self, row: int, seed: int, rejects: list[Reject]
    ) -> tuple[int, Image.Image] | None:
        bad = 0
        for candidate in self._candidates(row, seed):
            image = self.decoded(candidate, rejects)
            if image is not None:
                return candidate, image
            bad += 1
            if bad > self.budget:
                break
        return None

    def _candidates(self, row: int, seed: int) -> Iterator[int]:
        yield row
        start, end = self._starts[self.labels[row] : self.labels[row] + 2]
        others = self._by_class[start:end]
        yield from np.random.default_rng(seed).permutation(others[others != row]).tolist()


class TestPhotos(Photos):
    """Batches in the order of the items; bad photos are left out and named."""

    __test__ = False  # not a test, whatever pytest makes of the name

    def batch(self, rows: np.ndarray) -> Batch:
        """The batch of these rows."""
        rejects: list[Reject] = []
        kept, seen = [], []
        for row in rows.tolist():
            image = self.decoded(row, rejects)
            if image is not None:
                kept.append(row)
                seen.append(self.seen(row, image, row))
        return {
            **self.pictures(kept, seen),
            "rows": torch.tensor(kept, dtype=torch.int64),
            "rejects": rejects,
        }


def cut_box(image: Image.Image, box: np.ndarray) -> Image.Image:
    """The part of a photo inside a box of shares, rounded outwards to whole pixels."""
    left, top = int(box[0] * image.width), int(box[1] * image.height)
    right, bottom = math.ceil(box[2] * image.width), math.ceil(box[3] * image.height)
    return image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))


@contextlib.contextmanager
def private_randomness() -> Iterator[None]:
    """Give torch's (CPU), NumPy's and Python's global generators back as they were: the model draws
    from them too.
    """
    states = torch.default_generator.get_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.default_generator.set_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


def reseed(seed: int) -> None:
    """Seed torch's CPU generator, NumPy's and Python's; not CUDA's, which the model draws from."""
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _shape(value: object) -> str:
    return (
        f"{type(value).__name__} {tuple(value.shape)}"
        if hasattr(value, "shape")
        else type(value).__name__
    )
