"""Batches from loader workers, in order: without end for training, once through for embedding."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import wait
from types import FrameType

import numpy as np
import torch
from torch.utils.data import DataLoader

from ..errors import DataError, RunError
from ..progress import progress
from ..registry import Sampler
from ..structures import Item, geolocations_of
from .label_index import TrainSet, columns
from .rejects import RejectLog
from .torch_datasets import Batch, ImageBatches, TestImages, TrainImages

Draw = tuple[int, int, np.ndarray]
ECHO = 4.0  # seconds in which SIGTERM, sent to a group and passed on to it, is one SIGTERM
GRACE = 60  # seconds a worker outlives SIGTERM; the main process takes a step to save and end it


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
        runs: numbers of those that are read; a batch never holds items of two runs.
        batch_size: the last batch of a run may be smaller.
        fail: whether an image that cannot be read is an error; else it is left out and named.
        options: how batches are read.
    """

    __test__ = False  # not a test, whatever pytest makes of the name

    def __init__(
        self,
        items: Sequence[Item],
        images: TestImages,
        runs: Sequence[range],
        batch_size: int,
        fail: bool,
        options: LoaderOptions,
    ) -> None:
        self.items, self.images, self.fail = items, images, fail
        self.chunks = [
            np.arange(start, min(start + batch_size, run.stop), dtype=np.int64)
            for run in runs
            for start in range(run.start, run.stop, batch_size)
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

    @property
    def total(self) -> int:
        """How many images are read."""
        return sum(map(len, self.chunks))

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


def tell_images(loader: Iterable[Batch], what: str) -> Iterator[Batch]:
    """The batches of a test loader, ours or another, while telling how many images are done."""
    total = getattr(loader, "total", None)
    return progress(loader, what, total, unit="images", count=_count_images)


def _count_images(batch: Batch) -> int:
    return len(batch["images"]) + len(batch.get("rejects", ()))


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
        worker_init_fn=_outlive_signals,
        multiprocessing_context=options.context if options.num_workers else None,
        # Its own: torch's loader would draw from the global one, and a resumed run draw once more.
        generator=torch.Generator(),
    )
    read, batches = 0, _start_workers(source)
    try:
        for batch in batches:
            if "error" in batch:
                raise batch["error"]
            read += 1
            yield batch
    except (RuntimeError, OSError, EOFError) as error:
        # Without its worker a batch can be lost on its way here, too, which is an OSError.
        dead = _describe_dead_workers(batches)
        if not dead and "DataLoader worker" not in str(error):
            raise
        why = dead or " ".join(str(error).split()).replace("DataLoader", "a loader").rstrip(". ")
        raise RunError(
            f"{why}; batch {read + 1} since the loader was started is lost. Is memory short? Try"
            " fewer DATALOADER.NUM_WORKERS"
        ) from error


def _describe_dead_workers(batches: Iterator[Batch]) -> str:
    """The workers that have died, with what they died of; "" when none has."""
    told, workers = [], list(getattr(batches, "_workers", ()))
    # What a worker held breaks a moment before the system tells of its end.
    ended = wait([worker.sentinel for worker in workers], timeout=2.0)
    for worker in workers:
        if worker.sentinel in ended:
            worker.join(timeout=2.0)
        if worker.exitcode:
            how = f"exit code {worker.exitcode}"
            if worker.exitcode < 0:
                how = f"killed by {signal.Signals(-worker.exitcode).name}"
            told.append(f"a loader worker (pid {worker.pid}) died: {how}")
    return ", ".join(told)


def _start_workers(source: DataLoader[Batch]) -> Iterator[Batch]:
    """An iterator whose dead workers are noticed by `next` alone.

    torch also listens to SIGCHLD, and then raises wherever the main process is, be it between two
    halves of an update.
    """
    if threading.current_thread() is not threading.main_thread():
        return iter(source)
    before = signal.getsignal(signal.SIGCHLD)
    batches = iter(source)
    signal.signal(signal.SIGCHLD, before)
    return batches


def _pass_through(batch: list[object]) -> object:
    return batch


def _outlive_signals(_: int) -> None:
    """Leave Ctrl-C and SIGTERM, which a terminal or a cluster sends to all processes of a group, to
    the main process, which saves and then ends its workers.

    A worker that has heard SIGTERM does not stay for good; one that hears it again later, when the
    main process ends it, ends at once.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        return
    heard: list[float] = []

    def stay(number: int, frame: FrameType | None) -> None:
        heard.append(time.monotonic())
        signal.alarm(GRACE)
        if heard[-1] - heard[0] > ECHO:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, stay)
