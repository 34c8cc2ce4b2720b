"""Training crops by the attention of the epoch before: when to look, and what a killed run may use
again.
"""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import numpy as np
import torch

from ..data.images import shape_of
from ..data.transforms.attended_crop import AttendedCrop
from ..data.transforms.resize import Resize
from ..distributed import process_group
from ..errors import ArtefactError, DataError, UsageError
from ..inference import embedding
from ..io.paths import PathLike
from ..progress import progress
from ..regions.attention import SIGNED, above, strength
from ..regions.windows import attended_window
from ..structures import Item
from ..structures.archive import load_npz, save_npz
from ..views._embedding import Seen
from . import random_state

from fastreid.engine.train_loop import HookBase
from fastreid.utils import comm

logger = logging.getLogger("fastreid.fastseek")


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
    """Where every training image is cut, float32 [N, 4]: shares left, top, right, bottom; NaN for
    no window.
    """

    windows: np.ndarray


Look = Callable[[embedding.Function], tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]]


class AttentionCrops(HookBase):
    """Give `attended_crop` its windows: those of epoch n come from the weights at the end of an
    epoch before n.

    The file epoch_0003.npz holds the windows by the weights at the end of epoch 3 (from 0), with
    the hash of those weights. A run that is resumed uses them again; where an epoch begins they are
    made anew when they are of other weights.

    Args:
        part: the transform.
        step: the trainer's; its loader is started anew when the windows change.
        look: calls a function with all training images, whole and as large as the part wants them;
            returns item numbers, what the function gave [n, ...], and rejects.
        folder: where the files go.
        seed: of the windows that are drawn.

    Raises:
        UsageError: the backbone has no map of that name.
    """

    def __init__(
        self, part: AttendedCrop, step: Any, look: Look, folder: PathLike, seed: int
    ) -> None:
        self.part, self.step, self.look = part, step, look
        self.folder, self.seed = pathlib.Path(folder), int(seed)
        self.items: Sequence[Item] = step.data_loader.dataset.items
        seeker: Any = process_group.inner(step.model)
        names = list(seeker.backbone.channels)
        if part.on and part.on not in names:
            raise UsageError(
                f"attended_crop(on={part.on!r}): the backbone gives {', '.join(names)}"
            )
        self.on = part.on or names[-1]
        self._number, self._source = -1, ""
        self._shapes: np.ndarray | None = None

    def before_train(self) -> None:
        """Forget the windows of an earlier training."""
        self._number, self.part.windows = -1, None

    def before_epoch(self) -> None:
        """Look when it is time, and let the batches from here on be cut by what is seen.

        Raises:
            ArtefactError: the run goes on in the middle of an epoch whose windows are gone.
        """
        number = self.trainer.epoch // self.part.every * self.part.every - 1
        if number != self._number:
            self._number, self.part.windows = number, self._windows(number)
            self.step.seek(self.trainer.iter)  # batches read ahead were cut otherwise

    def _windows(self, number: int) -> np.ndarray:
        """By the weights at the end of an epoch: from their file, or by looking, while the model
        still has them.
        """
        path = self.folder / f"epoch_{number:04d}.npz"
        now = self.trainer.iter == (number + 1) * self.trainer.iters_per_epoch
        if now:
            process_group.share_buffers(self.trainer.model)
        wanted = self._expected_provenance(now)
        found = process_group.share(_read_windows(path, wanted) if comm.is_main_process() else None)
        if found is None and not now:
            raise ArtefactError(
                f"{path}: missing, damaged, or not of this run, these images and settings. The run"
                " goes on after those weights, so it cannot be made anew: put the file and the"
                " settings back, or start without --resume"
            )
        if found is None:
            found = self._draw_windows(number)
            if comm.is_main_process():
                save_npz(
                    path,
                    Windows(found),
                    ["windows"],
                    {"epoch": number, "run": self.trainer.run, **wanted},
                )
        return found

    def _expected_provenance(self, now: bool) -> dict[str, Any]:
        """What the file's provenance must say."""
        self._source = self._source or embedding.source_of(self.items)
        call = {
            key: value
            for key, value in vars(self.part).items()
            if key not in ("plain", "windows", "p", "call")
            and (key, value) != ("by", "sum")  # which version 0.1 did not have
        }
        told = {
            "photos": self._source,
            "seed": self.seed,
            "crop": repr(sorted(call.items())),
        }
        if now:
            return told | {"weights": embedding.weights_hash(self.trainer.model, classes=True)}
        return told | {"run": self.trainer.run}

    def _draw_windows(self, number: int) -> np.ndarray:
        """float32 [N, 4]; an image that cannot be read has no window."""
        with random_state.preserve_random_state():
            rows, heat, grid = self._measure_maps()
        shapes = self._known_shapes()
        made = np.full((len(self.items), 4), np.nan, np.float32)
        # the part has checked that a text is "mean"
        threshold = cast(Literal["mean"] | float, self.part.threshold)
        for row, one in zip(
            progress(rows.tolist(), "choosing windows", len(rows)), heat, strict=True
        ):
            random = np.random.default_rng([self.seed, number, row])
            top, left, bottom, right = attended_window(
                above(one.reshape(grid), threshold),
                random,
                self.part.tries,
                self.part.area,
                self.part.aspect,
                shapes[row],
            )
            made[row] = left, top, right, bottom
        logger.info(
            "looked where to crop %d of %d images, by the weights of epoch %d",
            len(rows),
            len(made),
            number,
        )
        return made

    def _measure_maps(self) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        """Numbers of the images, how strong their maps are [n, h * w], and (h, w)."""
        seeker: Any = process_group.inner(self.trainer.model)
        grids: list[tuple[int, int]] = []
        signs: list[float] = []

        def measure(seen: Seen) -> torch.Tensor:
            images = seen if isinstance(seen, torch.Tensor) else seen["images"]
            maps: torch.Tensor = seeker.backbone(seeker.preprocess(images))[self.on].float()
            signs.append(float((maps < 0).float().mean()))
            heat = strength(maps, self.part.by)
            grids.append((int(heat.shape[1]), int(heat.shape[2])))
            return heat.flatten(1)

        rows, heat, _ = self.look(measure)
        known = [grid for found in process_group.collect(grids[:1]) for grid in found]
        if not known:
            raise DataError("no training image can be read to look where to crop")
        if self.part.by == "sum" and signs and np.mean(signs) > SIGNED:
            logger.warning(
                "attended_crop: %.0f %% of the map %s are negative, so that sums over its channels"
                " cancel: say by='norm'",
                100 * np.mean(signs),
                self.on,
            )
        return rows, heat, known[0]

    def _known_shapes(self) -> np.ndarray:
        if self._shapes is None:
            self._shapes = np.array([shape_of(item.path) for item in self.items])
        return self._shapes


def attended_part(transforms: Sequence[Any]) -> AttendedCrop | None:
    """The `attended_crop` among the transforms of a training, None without one.

    Raises:
        UsageError: it stands behind a transform that moves things, or twice.
    """
    places = [place for place, part in enumerate(transforms) if isinstance(part, AttendedCrop)]
    if not places:
        return None
    if len(places) > 1 or not all(isinstance(part, Resize) for part in transforms[: places[0]]):
        raise UsageError(
            "SEEK.TRAIN: attended_crop must stand once, and before it nothing but resize: its"
            " windows are of whole images"
        )
    part: AttendedCrop = transforms[places[0]]
    return part


def _read_windows(path: pathlib.Path, wanted: dict[str, Any]) -> np.ndarray | None:
    """The windows of a file whose provenance says what is wanted."""
    try:
        arrays, provenance = load_npz(path, ["windows"])
    except (DataError, ArtefactError):
        return None
    fits = all(provenance.get(key) == value for key, value in wanted.items())
    return arrays["windows"] if fits else None
