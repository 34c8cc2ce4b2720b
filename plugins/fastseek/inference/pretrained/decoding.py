"""Image files to tensors, read by threads beside the network, in their order."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from PIL import Image

from ...data.images import BadImage, decode, turn_upright
from ...errors import RunError, UsageError
from ...io.locations import is_remote
from ...io.paths import PathLike

MOST_THREADS = 8
REQUESTS = 32
AHEAD = 2  # batches that are read while one is embedded
Source = PathLike | Image.Image
Outcome = torch.Tensor | BadImage


@dataclasses.dataclass(frozen=True)
class Decoded:
    """A batch in the order of its images.

    Args:
        start: number of its first image.
        outcomes: a tensor, or why there is none.
    """

    start: int
    outcomes: list[Outcome]

    def stack(self) -> torch.Tensor | None:
        """The images that could be read as one tensor [B, …]; None where there is none.

        Raises:
            UsageError: the transforms give tensors of several shapes.
        """
        good = [one for one in self.outcomes if isinstance(one, torch.Tensor)]
        shapes = {tuple(one.shape) for one in good}
        if len(shapes) > 1:
            raise UsageError(
                f"the model's transforms give images of several sizes, {sorted(shapes)}: it needs"
                " one that gives one size, such as resize(224)"
            )
        return torch.stack(good) if good else None


def count_threads(wanted: int = 0) -> int:
    """How many threads read images: as many as are wanted, else one a processor, eight at most."""
    if wanted > 0:
        return wanted
    affinity = getattr(os, "sched_getaffinity", None)
    processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(MOST_THREADS, processors)


def decode_batches(
    sources: Sequence[Source],
    transform: Callable[[Image.Image], torch.Tensor],
    batch_size: int,
    threads: int = 0,
    runs: Sequence[range] | None = None,
) -> Iterator[Decoded]:
    """Read images batch by batch.

    The number of threads changes nothing but the speed.

    Args:
        sources: files, or images of Pillow.
        transform: an upright RGB image to a tensor, one shape for all.
        batch_size: the last batch of a run may be smaller.
        threads: see `count_threads`.
        runs: of numbers of those that are read, all in one when not given; a batch never holds
            images of two runs.

    Raises:
        RunError: the transform failed; names the image.
    """
    count = count_threads(threads)
    runs = runs or [range(len(sources))]
    asked = sources[runs[0].start] if len(sources) else ""
    if not threads and isinstance(asked, str) and is_remote(asked):
        count = REQUESTS  # they wait for another machine
    with ThreadPoolExecutor(count, thread_name_prefix="decode") as pool:
        waiting: collections.deque[tuple[int, list[Future[Outcome]]]] = collections.deque()
        try:
            for rows in _cut(runs, batch_size):
                batch = sources[rows.start : rows.stop]
                tasks = [pool.submit(read_image, source, transform) for source in batch]
                waiting.append((rows.start, tasks))
                if len(waiting) > AHEAD:
                    yield _collect(*waiting.popleft())
            while waiting:
                yield _collect(*waiting.popleft())
        finally:
            for _, tasks in waiting:
                for task in tasks:
                    task.cancel()


def _cut(runs: Sequence[range], size: int) -> Iterator[range]:
    for run in runs:
        for first in range(run.start, run.stop, size):
            yield range(first, min(first + size, run.stop))


def _collect(start: int, tasks: Sequence[Future[Outcome]]) -> Decoded:
    return Decoded(start, [task.result() for task in tasks])


def read_image(source: Source, transform: Callable[[Image.Image], torch.Tensor]) -> Outcome:
    """One image as a tensor, or why it cannot be used.

    Raises:
        RunError: the transform failed; names the image.
    """
    try:
        image = turn_upright(source) if isinstance(source, Image.Image) else decode(source)
    except BadImage as error:
        return error
    try:
        return transform(image)
    except Exception as error:  # the transform of a model's own recipe may fail in any way
        size = f"{image.width} x {image.height}"
        raise RunError(f"{name_source(source)} ({size}): a transform failed: {error!r}") from error


def name_source(source: Source) -> str:
    """What a message calls an image."""
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or f"an image of Pillow ({source.mode})")
    return os.fspath(source)
