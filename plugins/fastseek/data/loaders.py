"""Batches from loader workers, in order: without end for training, once through for embedding."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from ..errors import DataError, RunError
from ..structures import Item, geolocations_of
from .label_index import TrainSet, columns
from .rejects import RejectLog
from .torch_datasets import Batch, Photos, TestPhotos, TrainPhotos

PICTURES = ("images", "crops")


class TrainLoader:
    """Training batches without end; batch n depends on the seed and n alone, whatever workers and
    processes do.

    Nothing is read until the first `next`, so that `seek` may follow `iter`.

    Args:
        dataset: the training photos.
        sampler: member of SAMPLERS.
        photos: reads batches in the workers.
        log: takes the bad photos.
        rank, world_size: this process gets run `rank` of `world_size` of every batch.
        options: further arguments of torch's DataLoader.
    """

    def __init__(
        self,
        dataset: TrainSet,
        sampler: Any,
        photos: TrainPhotos,
        log: RejectLog,
        rank: int,
        world_size: int,
        options: dict[str, Any],
    ) -> None:
        self.dataset, self.photos, self.log = dataset, photos, log
        self.plan = BatchOrder(sampler, rank, world_size)
        self.step = 0
        self._options = options
        self._places = geolocations_of(dataset.items)

    def __len__(self) -> int:
        """Batches an epoch."""
        return self.plan.batches

    def seek(self, step: int) -> None:
        """Set the global step of the first batch of every iterator that has not given one yet."""
        self.step = int(step)

    def __iter__(self) -> Iterator[Batch]:
        for batch in _read_batch(self.photos, self.plan.draws(self.step), self._options):
            yield self._finished(batch)

    def _finished(self, batch: Batch) -> Batch:
        self.log.add(batch["rejects"])
        if "lost" in batch:
            label = self.dataset.items[batch["lost"]].label
            raise DataError(
                f"no photo of class {label!r} can be read: see {self.log.file}; "
                "mend them or remove the class"
            )
        rows = batch["rows"].numpy()
        return {
            **{name: batch[name] for name in PICTURES if name in batch},
            **_known_size(
                self.dataset.items, self.dataset.labels, self.dataset.groups, self._places, rows
            ),
        }


class BatchOrder:
    """Which rows stand in which batch of this process."""

    def __init__(self, sampler: Any, rank: int, world_size: int) -> None:
        self.sampler, self.rank, self.world_size = sampler, rank, world_size
        self._epoch, self._table = 0, sampler.epoch(0)
        self.batches = len(self._table)

    def draws(self, step: int) -> Iterator[tuple[int, int, np.ndarray]]:
        """(step, place of the first row in the global batch, rows) from a step on, without end."""
        while True:
            epoch, number = divmod(step, self.batches)
            if epoch != self._epoch:
                self._epoch, self._table = epoch, self.sampler.epoch(epoch)
            share = self._table.shape[1] // self.world_size
            yield (
                step,
                self.rank * share,
                self._table[number, self.rank * share : (self.rank + 1) * share],
            )
            step += 1


class TestLoader:
    """Batches of items in their order, for embedding."""

    __test__ = False  # not a test, whatever pytest makes of the name

    def __init__(
        self,
        items: Sequence[Item],
        photos: TestPhotos,
        rows: range,
        batch_size: int,
        fail: bool,
        options: dict[str, Any],
    ) -> None:
        self.items, self.photos, self.fail = items, photos, fail
        self.chunks = [
            np.arange(start, min(start + batch_size, rows.stop), dtype=np.int64)
            for start in range(rows.start, rows.stop, batch_size)
        ]
        (_, self._labels), (_, self._groups) = columns(items)
        self._options = options
        self._places = geolocations_of(items)

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[Batch]:
        for batch in _read_batch(self.photos, self.chunks, self._options):
            yield self._finished(batch)

    def _finished(self, batch: Batch) -> Batch:
        if batch["rejects"] and self.fail:
            row = batch["rejects"][0]
            raise DataError(
                f"{row['path']}: {row['code']}: {row['detail']}; mend or remove it, or set "
                "SEEK.ON_BAD skip"
            )
        return {
            **batch,
            **_known_size(
                self.items, self._labels, self._groups, self._places, batch["rows"].numpy()
            ),
        }


def _known_size(
    items: Sequence[Item],
    labels: np.ndarray,
    groups: np.ndarray,
    places: np.ndarray | None,
    rows: np.ndarray,
) -> Batch:
    """What the main process knows of the rows, so that workers need not."""
    told = {} if places is None else {"places": torch.from_numpy(places[rows])}
    return {
        **told,
        "targets": torch.from_numpy(labels[rows]),
        "camids": torch.from_numpy(groups[rows]),
        "img_paths": [items[row].path for row in rows],
        "ids": [items[row].id for row in rows],
    }


def _read_batch(photos: Photos, draws: Iterable[Any], options: dict[str, Any]) -> Iterator[Batch]:
    """One whole batch a draw, read by torch's loader.

    Raises:
        FastSeekError: what a worker raised, as it was raised there.
        RunError: a worker died.
    """
    # its own generator: torch's loader would draw from the global one, and a resumed run draw once
    # more
    source = DataLoader(
        photos,
        batch_size=None,
        sampler=draws,
        collate_fn=_as_it_is,
        worker_init_fn=_quiet,
        generator=torch.Generator(),
        **options,
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


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _quiet(_: int) -> None:
    """Leave Ctrl-C to the main process, which then ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
