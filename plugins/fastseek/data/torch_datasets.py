"""Batches of images, read inside a loader worker: what a worker holds is arrays only, so its copy
is small.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, default_collate

from .. import compat  # noqa: F401  (a spawned worker imports this before fast-reid)
from ..errors import DataError, FastSeekError, RunError
from ..io.crop_locations import parse_crop
from ..io.locations import is_remote
from ..structures.item_table import Paths
from .image_cache import ArrayCache
from .images import MAX_PIXELS, BadImage, cut_out, decode, read_image_bytes
from .rejects import Reject, reject
from .transforms._image_ops import to_pil
from .transforms._pipeline import Pipeline

REQUESTS = 16  # that are on their way at once
ToTensor = Callable[[Image.Image], torch.Tensor]
Batch = dict[str, Any]


class ImageFiles:
    """The files of a data set, decoded one by one.

    Args:
        paths: the files.
        max_pixels: larger images are refused.
        cache: gives the images instead of the files, by row.
        boxes: float32 [N, 4], shares left, top, right, bottom, NaN for the whole image: every image
            is given a second time, cut there.
    """

    def __init__(
        self,
        paths: Sequence[str],
        max_pixels: int = MAX_PIXELS,
        cache: ArrayCache | None = None,
        boxes: np.ndarray | None = None,
    ) -> None:
        # one array of bytes: a list of strings would be copied to every worker, object by object
        self.paths = paths if isinstance(paths, Paths) else _encode_paths(paths)
        self.max_pixels, self.cache, self.boxes = max_pixels, cache, boxes
        self.remote = cache is None and len(self.paths) > 0 and is_remote(self.path(0))
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: dict[int, Future[bytes]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None, "_waiting": {}}

    def __len__(self) -> int:
        return len(self.paths)

    def path(self, row: int) -> str:
        """The file of a row."""
        return os.fsdecode(self.paths[row])

    def expect(self, rows: np.ndarray) -> None:
        """Begin to read the images that are wanted next, all at once, where each of them is a
        request.
        """
        if not self.remote:
            return
        self._pool = self._pool or ThreadPoolExecutor(REQUESTS, thread_name_prefix="read")
        self._waiting = {
            row: self._pool.submit(read_image_bytes, self.path(row), self.max_pixels)
            for row in rows.tolist()
        }

    def read(self, row: int) -> Image.Image:
        """The image, with its file's name in `info["path"]` and its row in `info["row"]` for
        transforms that want them.

        Raises:
            BadImage: it cannot be used.
        """
        path, waiting = self.path(row), self._waiting.pop(row, None)
        if self.cache is not None:
            image = self.cache[row]
        else:
            source = path if waiting is None else waiting.result()
            image = decode(source, self.max_pixels)
            crop = None if waiting is None else parse_crop(path)
            image = image if crop is None else cut_out(image, crop)
        image.info["path"], image.info["row"] = path, row
        return image

    def box(self, row: int) -> np.ndarray | None:
        """Where the image of a row is cut, [4]; None where the whole image is taken."""
        if self.boxes is None or np.isnan(self.boxes[row, 0]):
            return None
        return np.asarray(self.boxes[row])


class ImageBatches(Dataset[Batch]):
    """Images of a data set and what is done to each; a batch is read at once.

    Args:
        files: the images.
        transform: PIL RGB image -> float32 tensor [3, H, W].
        phase: "train" or "extract", told with every reject.
    """

    def __init__(self, files: ImageFiles, transform: ToTensor, phase: str) -> None:
        self.files, self.transform, self.phase = files, transform, phase

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

    def read_or_reject(self, row: int, rejects: list[Reject]) -> Image.Image | None:
        """The image, or None and one more entry in `rejects`."""
        try:
            return self.files.read(row)
        except BadImage as error:
            rejects.append(reject(self.files.path(row), row, self.phase, error))
            return None

    def augment(self, row: int, image: Image.Image, seed: int) -> list[torch.Tensor]:
        """The image as a tensor and, with boxes, what its box holds; both with the draws of one
        seed.

        Raises:
            RunError: a transform failed or gave no tensor [3, H, W]; names the image.
        """
        reseed(seed)
        views = [self._transform(row, image)]
        if self.files.boxes is None:
            return views
        box = self.files.box(row)
        if box is None:
            return [*views, views[0]]
        reseed(seed)
        # The same draws again: a crop is mirrored as its image is.
        return [*views, self._transform(row, cut_box(image, box))]

    def _transform(self, row: int, image: Image.Image) -> torch.Tensor:
        where = self.files.path(row)
        try:
            tensor = self.transform(image)
        except Exception as error:
            size = f"{image.width} x {image.height}"
            raise RunError(f"{where} ({size}): a transform failed: {error!r}") from error
        if not isinstance(tensor, torch.Tensor) or tensor.ndim != 3 or len(tensor) != 3:
            raise RunError(f"{where}: the transforms gave no tensor [3, H, W] but {_shape(tensor)}")
        return tensor

    def collate(self, rows: Sequence[int], views: Sequence[Sequence[torch.Tensor]]) -> Batch:
        """ "images" and, with boxes, "crops", each one tensor [B, 3, H, W].

        Raises:
            DataError: sizes differ; names two images.
        """
        names = ("images",) if self.files.boxes is None else ("images", "crops")
        return {
            name: self._stack(rows, [view[number] for view in views])
            for number, name in enumerate(names)
        }

    def _stack(self, rows: Sequence[int], tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        if not tensors:
            return torch.zeros(0, 3, 0, 0)
        first = tuple(tensors[0].shape)
        for row, tensor in zip(rows, tensors, strict=True):
            if tensor.shape != first:
                raise DataError(
                    f"{self.files.path(rows[0])} became {first}, but {self.files.path(row)}"
                    f" {tuple(tensor.shape)}: add a transform that gives one size, such as"
                    " resize(224)"
                )
        # in a worker it stacks straight into shared memory
        stacked: torch.Tensor = default_collate(list(tensors))
        return stacked


class TrainImages(ImageBatches):
    """Training batches; a bad image is replaced by another of its class.

    Args:
        files, transform: see `ImageBatches`.
        labels: class of every image, whole numbers [N].
        seed: of the augmentation.
        budget: more bad images than this end the run, so no more are tried for one place.
    """

    def __init__(
        self,
        files: ImageFiles,
        transform: ToTensor,
        labels: np.ndarray,
        seed: int,
        budget: int,
    ) -> None:
        super().__init__(files, transform, "train")
        self.labels, self.seed, self.budget = np.asarray(labels, np.int32), seed, budget
        # 32 bits, as a spawned worker gets a copy
        self._by_class = np.argsort(self.labels, kind="stable").astype(np.int32)
        self._starts = np.cumsum(np.bincount(self.labels + 1))
        if isinstance(transform, Pipeline):
            transform.lend(self._read_to_lend, len(files))

    def _read_to_lend(self, row: int) -> Image.Image | None:
        # A bad one is named when its own turn comes, not here.
        image = self.read_or_reject(row, [])
        if image is None or not isinstance(self.transform, Pipeline):
            return image
        return to_pil(self.transform.apply_fixed(image))

    def batch(self, draw: tuple[int, int, np.ndarray]) -> Batch:
        """The batch of (step, place of its first image in the global batch, rows): a function of
        these alone.
        """
        step, first, rows = draw
        self.files.expect(rows)
        # A seed for every place of the global batch, whoever reads it.
        sequence = np.random.SeedSequence([self.seed, step])
        seeds = sequence.generate_state(first + len(rows), np.uint64)[first:]
        rejects: list[Reject] = []
        kept, views = [], []
        for row, seed in zip(rows.tolist(), seeds.tolist(), strict=True):
            found = self._read_one_of_class(row, seed, rejects)
            if found is None:
                return {"rejects": rejects, "lost": row}
            kept.append(found[0])
            views.append(self.augment(*found, seed))
        return {**self.collate(kept, views), "rows": torch.tensor(kept), "rejects": rejects}

    def _read_one_of_class(
        self, row: int, seed: int, rejects: list[Reject]
    ) -> tuple[int, Image.Image] | None:
        """The image of a row or, where it is bad, of another of its class, with that one's row."""
        bad = 0
        for candidate in self._candidates(row, seed):
            image = self.read_or_reject(candidate, rejects)
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


class TestImages(ImageBatches):
    """Batches in the order of the items; bad images are left out and named."""

    __test__ = False  # not a test, whatever pytest makes of the name

    def __init__(self, files: ImageFiles, transform: ToTensor) -> None:
        super().__init__(files, transform, "extract")

    def batch(self, rows: np.ndarray) -> Batch:
        """The batch of these rows."""
        self.files.expect(rows)
        rejects: list[Reject] = []
        kept, views = [], []
        for row in rows.tolist():
            image = self.read_or_reject(row, rejects)
            if image is not None:
                kept.append(row)
                views.append(self.augment(row, image, row))
        numbers = torch.tensor(kept, dtype=torch.int64)
        return {**self.collate(kept, views), "rows": numbers, "rejects": rejects}


def cut_box(image: Image.Image, box: np.ndarray) -> Image.Image:
    """The part of an image inside a box of shares, rounded outwards to whole pixels."""
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


def _encode_paths(paths: Sequence[str]) -> np.ndarray:
    return np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)


def _shape(value: object) -> str:
    kind = type(value).__name__
    return f"{kind} {tuple(value.shape)}" if isinstance(value, torch.Tensor) else kind
