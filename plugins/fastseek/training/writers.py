"""Where the figures of a training go: JSON lines, TensorBoard, and a line or a bar for who is
watching.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import math
import pathlib
import sys
import time
from collections.abc import Callable

from tqdm import tqdm

from ..io.atomic import atomic
from ..io.paths import PathLike

from fastreid.engine.train_loop import HookBase
from fastreid.utils.events import EventStorage, EventWriter, get_event_storage

logger = logging.getLogger("fastreid.fastseek")


class WriterHook(HookBase):
    """Let the writers write after every step and every epoch; each decides what is worth it.

    Figures are worth less than the training: a writer that fails, say because the disk is full, is
    named in the log and asked no more.

    Args:
        build: returns the writers; called when the training starts, when its first step is known.
    """

    def __init__(self, build: Callable[[], list[EventWriter]]) -> None:
        self._build = build
        self._writers: list[EventWriter] = []

    def before_train(self) -> None:
        """Open the writers."""
        self._writers = self._build()

    def _write(self) -> None:
        for writer in list(self._writers):
            if not self._try(writer, writer.write):
                self._writers.remove(writer)
                self._try(writer, writer.close, tell=False)

    after_step = after_epoch = _write

    def after_train(self) -> None:
        """Close them."""
        for writer in self._writers:
            self._try(writer, writer.close)

    def _try(self, writer: EventWriter, call: Callable[[], None], tell: bool = True) -> bool:
        """Whether a call of a writer went well."""
        try:
            call()
        except OSError as error:
            if tell:
                logger.warning(
                    "%s: figures from step %d on are not written (%s); the training goes on",
                    getattr(writer, "name", type(writer).__name__),
                    self.trainer.iter + 1,
                    error.strerror or error,
                )
            return False
        return True


class JsonLines(EventWriter):
    """Every figure of every step, one JSON object a line: {"iteration": 12, "epoch": 0,
    "total_loss": …}.

    Args:
        path: the file; lines of a resumed run follow those that are there.
        start: the step the run starts from; lines of that step and later, written before a kill,
            are dropped.
    """

    def __init__(self, path: PathLike, start: int = 0) -> None:
        self._seen: dict[str, int] = {}
        self.name = str(path)
        kept = _read_lines_before(pathlib.Path(path), start)
        with atomic(path, "w") as file:
            file.writelines(kept)
        self._file = open(path, "a", encoding="utf-8", buffering=1)  # until `close`

    def write(self) -> None:
        """Take what is new in the current storage."""
        storage = get_event_storage()
        new = {
            name: (value, step)
            for name, (value, step) in storage.latest().items()
            if self._seen.get(name) != step
        }
        self._seen.update({name: step for name, (_, step) in new.items()})
        for step in sorted({step for _, step in new.values()}):
            figures = {
                name: value
                for name, (value, at) in new.items()
                if at == step and math.isfinite(value)
            }
            line = {"iteration": step, "epoch": getattr(storage, "epoch", 0), **figures}
            self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read_lines_before(path: pathlib.Path, start: int) -> list[str]:
    """The lines of steps before `start`."""
    kept = []
    if start > 0 and path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                if json.loads(line)["iteration"] < start:
                    kept.append(line + "\n")
    return kept


class TensorBoard(EventWriter):
    """Scalars for TensorBoard.

    Args:
        folder: where the event file goes.
        start: the step the run starts from; later events of a killed run are hidden.
        every: steps between two points of a curve.
    """

    def __init__(self, folder: PathLike, start: int = 0, every: int = 20) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=start or None)
        self._every, self.name = every, f"TensorBoard in {folder}"
        self._seen: dict[str, int] = {}

    def write(self) -> None:
        """Add the scalars of this step when it is its turn, and figures of an evaluation always."""
        storage = get_event_storage()
        for name, (value, step) in storage.latest().items():
            wanted = step % self._every == 0 or not storage.smoothing_hints().get(name, True)
            if wanted and self._seen.get(name) != step:
                self._writer.add_scalar(name, value, step)
                self._seen[name] = step

    def close(self) -> None:
        """Write the rest."""
        self._writer.close()


class Progress(EventWriter):
    """How far the training is: a bar on a terminal, else a log line every few seconds; an epoch
    always ends with one.

    Args:
        start: the step the run starts from.
        total: steps of the whole training.
        epochs: epochs of the whole training.
        batch: images of one step, in all processes.
        every: seconds between two lines when stderr is not a terminal.
    """

    def __init__(
        self, start: int, total: int, epochs: int, batch: int, every: float = 15.0
    ) -> None:
        self._start, self._total, self._epochs, self._every = start, total, epochs, every
        self._batch = batch
        self._began = self._told = time.monotonic()
        self._last = self._last_told = start - 1
        self._bar = tqdm(
            total=total * batch,
            initial=start * batch,
            desc="training",
            unit=" images",
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

    def write(self) -> None:
        """Show this step; called a second time for the same step it is the end of an epoch."""
        storage = get_event_storage()
        ended, self._last = storage.iter == self._last, storage.iter
        if not (ended or self._bar.disable):
            self._bar.set_postfix(_figures(storage), refresh=False)
            self._bar.update(self._batch)
        due = self._bar.disable and time.monotonic() - self._told >= self._every
        if (ended or due) and self._last_told != storage.iter:
            now = time.monotonic()
            images = (storage.iter - self._last_told) * self._batch
            rate = images / max(now - self._told, 1e-9)
            self._told, self._last_told = now, storage.iter
            self._bar.clear()
            told = "  ".join(f"{name} {value}" for name, value in _figures(storage).items())
            logger.info(
                "epoch %d/%d  %d/%d images  %.1f images/s  eta %s  step %d/%d  %s",
                storage.epoch + 1,
                self._epochs,
                (storage.iter + 1) * self._batch,
                self._total * self._batch,
                rate,
                self._eta(storage.iter + 1),
                storage.iter + 1,
                self._total,
                told,
            )

    def _eta(self, done: int) -> str:
        seconds = (
            (time.monotonic() - self._began) / max(1, done - self._start) * (self._total - done)
        )
        return str(datetime.timedelta(seconds=round(seconds)))

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


def _figures(storage: EventStorage) -> dict[str, str]:
    """The total loss first, every loss under its own name, learning rate and seconds waited for
    data.
    """
    median = storage.latest_with_smoothing_hint(20)
    names = sorted(
        (name for name in median if "loss" in name), key=lambda name: (name != "total_loss", name)
    )
    shown = {name: f"{median[name][0]:.4g}" for name in names}
    for name, short, form in (("lr", "lr", ".2e"), ("data_time", "data", ".3f")):
        if name in median:
            shown[short] = format(median[name][0], form)
    return shown
