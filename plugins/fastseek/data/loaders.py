"""Batches from loader workers, in order: without end for training, once through for embedding."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader

from ..errors import DataError, RunError
from ..registry import Sampler
from ..structures import Item, geolocations_of
from .label_index import TrainSet, columns
from .rejects import RejectLog
from .torch_datasets import Batch, ImageBatches, TestImages, TrainImages

Draw = tuple[int, int, np.ndarray]


@dataclasses.dataclass(frozen=True)
class LoaderOptions:
    """How batches are read.

    Args:
        num_workers: processes that read; 0 reads in this one.
        pin_memory: whether batches lie in page-locked memory, from where a GPU copies faster.
        context: how workers start ("fork", "spawn"); the platform's way when not given.
    """

    num_workers: int = 0
    pin_memory: bool = False
    context: str | None = None


class TrainLoader:
    """Training batches without end; batch n depends on the seed and n alone, whatever workers and
    processes do.

    Nothing is read until the first `next`, so that `seek` may follow `iter`.

    Args:
        dataset: the training images as a table.
        sampler: member of SAMPLERS.
        images: reads batches in the workers.
        log: takes the bad images.
        rank, world_size: this process gets run `rank` of `world_size` of every batch.
        options: how batches are read.
    """

    def __init__(
        self,
        dataset: TrainSet,
        sampler: Sampler,
        images: TrainImages,
        log: RejectLog,
        rank: int,
        world_size: int,
        options: LoaderOptions,
    ) -> None:
        self.dataset, self.images, self.log = dataset, images, log
        self.plan = BatchOrder(sampler, rank, world_size)
        self.step = 0
        self._options = options
        self._rows = _RowFacts(dataset.items, dataset.labels, dataset.groups)

    def __len__(self) -> int:
        """Batches an epoch."""
        return self.plan.batches

    def seek(self, step: int) -> None:
        """Set the global step of the first batch of every iterator that has not given one yet."""
        self.step = int(step)

    def __iter__(self) -> Iterator[Batch]:
        for batch in _read_batches(self.images, self.plan.draws(self.step), self._options):
            yield self._complete(batch)

    def _complete(self, batch: Batch) -> Batch:
        """The batch with all that the main process knows of its rows.

        Raises:
            DataError: too many bad images, or all of a class.
        """
        self.log.add(batch.pop("rejects"))
        if "lost" in batch:
            label = self.dataset.items[batch["lost"]].label
            raise DataError(
                f"no image of class {label!r} can be read: see {self.log.file}; "
                "mend them or remove the class"
            )
        rows = batch.pop("rows").numpy()
        return {**batch, **self._rows.of(rows)}


class BatchOrder:
    """Which rows stand in which batch of this process."""

    def __init__(self, sampler: Sampler, rank: int, world_size: int) -> None:
        self.sampler, self.rank, self.world_size = sampler, rank, world_size
        self._epoch, self._table = 0, sampler.epoch(0)
        self.batches = len(self._table)

    def draws(self, step: int) -> Iterator[Draw]:
        """(step, place of the first row in the global batch, rows) from a step on, without end."""
        while True:
            epoch, number = divmod(step, self.batches)
            if epoch != self._epoch:
                self._epoch, self._table = epoch, self.sampler.epoch(epoch)
            share = self._table.shape[1] // self.world_size
            first = self.rank * share
            yield step, first, self._table[number, first : first + share]
            step += 1


class TestLoader:
    """Batches of items in their order, for embedding.

    Args:
        items: all of them.
        images: reads batches in the workers.
        rows: those that are read.
        batch_size: the last batch may be smaller.
        fail: whether an image that cannot be read is an error; else it is left out and named.
        options: how batches are read.
    """

    __test__ = False  # not a test, whatever pytest makes of the name

    def __init__(
        self,
        items: Sequence[Item],
        images: TestImages,
        rows: range,
        batch_size: int,
        fail: bool,
        options: LoaderOptions,
    ) -> None:
        self.items, self.images, self.fail = items, images, fail
        self.chunks = [
            np.arange(start, min(start + batch_size, rows.stop), dtype=np.int64)
            for start in range(rows.start, rows.stop, batch_size)
        ]
        (_, labels), (cameras, groups) = columns(items)
        self._options, self._cameras_known = options, cameras != [""]
        self._rows = _RowFacts(items, labels, groups)

    def separate_sides(self, queries: int) -> None:
        """Where no camera is known, give the first `queries` images one and the others another:
        fast-reid's evaluators drop answers of the query's own camera, so all of them in one.
        """
        if not self._cameras_known:
            self._rows.groups = (np.arange(len(self.items)) >= queries).astype(np.int64)

    @property
    def dataset(self) -> Sequence[Item]:
        """The items, as fast-reid calls them."""
        return self.items

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[Batch]:
        for batch in _read_batches(self.images, self.chunks, self._options):
            if batch["rejects"] and self.fail:
                row = batch["rejects"][0]
                raise DataError(
                    f"{row['path']}: {row['code']}: {row['detail']}; mend or remove it, or set "
                    "SEEK.ON_BAD skip"
                )
            yield {**batch, **self._rows.of(batch["rows"].numpy())}


class _RowFacts:
    """What the main process knows of the rows, so that workers need not."""

    def __init__(self, items: Sequence[Item], labels: np.ndarray, groups: np.ndarray) -> None:
        self.items, self.labels, self.groups = items, labels, groups
        self.places = geolocations_of(items)

    def of(self, rows: np.ndarray) -> Batch:
        """Targets, cameras, files and ids of the rows and, where known, their places."""
        places = {} if self.places is None else {"places": torch.from_numpy(self.places[rows])}
        return {
            **places,
            "targets": torch.from_numpy(self.labels[rows]),
            "camids": torch.from_numpy(self.groups[rows]),
            "img_paths": [self.items[row].path for row in rows],
            "ids": [self.items[row].id for row in rows],
        }


def _read_batches(
    images: ImageBatches, draws: Iterable[object], options: LoaderOptions
) -> Iterator[Batch]:
    """One whole batch a draw, read by torch's loader.

    Raises:
        FastSeekError: what a worker raised, as it was raised there.
        RunError: a worker died.
    """
    source: DataLoader[Batch] = DataLoader(
        images,
        batch_size=None,
        sampler=draws,
        num_workers=options.num_workers,
        collate_fn=_pass_through,
        pin_memory=options.pin_memory,
        worker_init_fn=_ignore_interrupt,
        multiprocessing_context=options.context if options.num_workers else None,
        # Its own: torch's loader would draw from the global one, and a resumed run draw once more.
        generator=torch.Generator(),
    )
    try:
        for batch in source:
            if "error" in batch:
                raise batch["error"]
            yield batch
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise RunError(
            f"a loader worker died ({error}): is memory short? Try fewer DATALOADER.NUM_WORKERS"
        ) from error


def _pass_through(batch: list[object]) -> object:
    return batch


def _ignore_interrupt(_: int) -> None:
    """Leave Ctrl-C to the main process, which then ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
