"""Training crops by the attention of the epoch before: when to look, and what a killed run may use
again.
"""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..data.images import shape_of
from ..data.transforms.attended_crop import AttendedCrop
from ..data.transforms.resize import Resize
from ..distributed import process_group
from ..errors import ArtefactError, DataError, UsageError
from ..inference import embedding
from ..progress import progress
from ..regions.attention import above
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
    """Where every training photo is cut, float32 [N, 4]: shares left, top, right, bottom; NaN for
    no window.
    """

    windows: np.ndarray


class AttentionCrops(HookBase):
    """Give `attended_crop` its windows: those of epoch n come from the weights at the end of an
    epoch before n.

    OUTPUT_DIR/attention/epoch_0003.npz holds the windows by the weights at the end of epoch 3 (from
    0), with the hash of those weights. A run that is resumed uses them again; where an epoch begins
    they are made anew when they are of other weights.

    Args:
        cfg: the recipe.
        part: the transform.
        step: the trainer's; its loader is started anew when the windows change.

    Raises:
        UsageError: the backbone has no map of that name.
    """

    def __init__(self, cfg: Any, part: AttendedCrop, step: Any) -> None:
        self.cfg, self.part, self.step = _looking(cfg, part), part, step
        self.items: Sequence[Item] = step.data_loader.dataset.items
        names = list(process_group.inner(step.model).backbone.channels)
        if part.on and part.on not in names:
            raise UsageError(
                f"attended_crop(on={part.on!r}): the backbone gives {', '.join(names)}"
            )
        self.on = part.on or names[-1]
        self._number, self._shapes, self._photos = -1, None, ""

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
        path = pathlib.Path(self.cfg.OUTPUT_DIR) / "attention" / f"epoch_{number:04d}.npz"
        now = self.trainer.iter == (number + 1) * self.trainer.iters_per_epoch
        if now:
            process_group.share_buffers(self.trainer.model)
        wanted = self._wanted(now)
        found = process_group.share(_read_windows(path, wanted) if comm.is_main_process() else None)
        if found is None and not now:
            raise ArtefactError(
                f"{path}: missing, damaged, or not of this run, these photos and settings. The run"
                " goes on after those weights, so it cannot be made anew: put the file and the"
                " settings back, or start without --resume"
            )
        if found is None:
            found = self._drawn(number)
            if comm.is_main_process():
                save_npz(
                    path,
                    Windows(found),
                    ["windows"],
                    {"epoch": number, "run": self.trainer.run, **wanted},
                )
        return found

    def _wanted(self, now: bool) -> dict[str, Any]:
        """What the file's provenance must say."""
        self._photos = self._photos or embedding.source_of(self.items)
        call = {
            key: value
            for key, value in vars(self.part).items()
            if key not in ("plain", "windows", "p", "call")
        }
        told = {
            "photos": self._photos,
            "seed": int(self.cfg.SEED),
            "crop": repr(sorted(call.items())),
        }
        if now:
            return told | {"weights": embedding.weights_hash(self.trainer.model, classes=True)}
        return told | {"run": self.trainer.run}

    def _drawn(self, number: int) -> np.ndarray:
        """float32 [N, 4]; a photo that cannot be read has no window."""
        with random_state.preserve_random_state():
            rows, heat, grid = self._looked()
        shapes = self._known_shapes()
        made = np.full((len(self.items), 4), np.nan, np.float32)
        for row, one in zip(
            progress(rows.tolist(), "choosing windows", len(rows)), heat, strict=True
        ):
            random = np.random.default_rng([int(self.cfg.SEED), number, row])
            top, left, bottom, right = attended_window(
                above(one.reshape(grid), self.part.threshold),
                random,
                self.part.tries,
                self.part.area,
                self.part.aspect,
                shapes[row],
            )
            made[row] = left, top, right, bottom
        logger.info(
            "looked where to crop %d of %d photos, by the weights of epoch %d",
            len(rows),
            len(made),
            number,
        )
        return made

    def _looked(self) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        """Numbers of the photos, their maps summed over channels [n, h * w], and (h, w)."""
        seeker, grids = process_group.inner(self.trainer.model), []

        def summed(images: Seen) -> torch.Tensor:
            pictures = images if isinstance(images, torch.Tensor) else images["images"]
            heat = seeker.backbone(seeker.preprocess(pictures))[self.on].float().sum(dim=1)
            grids.append(tuple(heat.shape[1:]))
            return heat.flatten(1)

        rows, heat, _ = embedding.in_memory(self.cfg, self.trainer.model, self.items, summed)
        known = [grid for found in process_group.collect(grids[:1]) for grid in found]
        if not known:
            raise DataError("no training photo can be read to look where to crop")
        return rows, heat, tuple(known[0])

    def _known_shapes(self) -> np.ndarray:
        if self._shapes is None:
            self._shapes = np.array([shape_of(item.path) for item in self.items])
        return self._shapes


def attention_crops(cfg: Any, step: Any) -> AttentionCrops | None:
    """The hook for the `attended_crop` of a recipe, None without one.

    Raises:
        UsageError: it stands behind a transform that moves things, twice, or with SEEK.CROPS, or
            the model has no maps.
    """
    parts = list(
        getattr(getattr(getattr(step.data_loader, "images", None), "transform", None), "parts", ())
    )
    places = [place for place, part in enumerate(parts) if isinstance(part, AttendedCrop)]
    if not places:
        return None
    if len(places) > 1 or not all(isinstance(part, Resize) for part in parts[: places[0]]):
        raise UsageError(
            "SEEK.TRAIN: attended_crop must stand once, and before it nothing but resize: its"
            " windows are of whole photos"
        )
    if cfg.SEEK.CROPS:
        raise UsageError("SEEK.CROPS and attended_crop both cut photos: leave one of them out")
    if not hasattr(process_group.inner(step.model), "branches"):
        raise UsageError(
            "attended_crop looks at feature maps: MODEL.META_ARCHITECTURE must be Seeker"
        )
    return AttentionCrops(cfg, parts[places[0]], step)


def _looking(cfg: Any, part: AttendedCrop) -> Any:
    """The recipe with whole photos at the size they are looked at."""
    made = cfg.clone()
    made.defrost()
    made.SEEK.TEST, made.SEEK.CACHE = [f"resize({tuple(part.look)})"], ""
    made.freeze()
    return made


def _read_windows(path: pathlib.Path, wanted: dict[str, Any]) -> np.ndarray | None:
    """The windows of a file whose provenance says what is wanted."""
    try:
        arrays, provenance = load_npz(path, ["windows"])
    except (DataError, ArtefactError):
        return None
    fits = all(provenance.get(key) == value for key, value in wanted.items())
    return arrays["windows"] if fits else None
