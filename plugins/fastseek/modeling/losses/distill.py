"""Distillation from the stored embeddings of one or several teachers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ...errors import UsageError
from ...registry import LOSSES, pick
from ..layers.gather import gather_tensor, gather_with_gradient
from ..layers.precision import at_least_float, full_precision
from ._distances import DIFFERENCES
from ._legal import check_not_negative
from ._teachers import Teacher


@LOSSES.register()
class Distill(nn.Module):
    """The embedding learns what other models have made of the same images, as they lie in folders of
    `fastseek embed`: no teacher runs during the training.

    - "cosine": mean of 1 - cosine to the teacher's vector.
    - "similarity": mean square difference of the cosines between all pairs of the batch.
    - "distance": RKD-D, Huber's loss of the distances between all pairs in units of their mean.
    - "angle": RKD-A, Huber's loss of the cosines of the angles of all triples of the batch (memory:
      its rows to the third power).
    - "rkd": distance + 2 angle.

    Vectors are found by the ids of the images. The rows of all processes are one batch. Several
    teachers are added with their weights. With `cover='any'` an image counts for those teachers that
    have it, so that each may know one domain, as in UDON; all have to be missing it to be an error.

    Augmented images are compared with the vector of the image as it is.

    Args:
        on: name of the embedding.
        teachers: a folder of embeddings, or several.
        loss: "cosine", "similarity", "distance", "angle" or "rkd".
        weights: one a teacher; () has 1 for each.
        project: D of every teacher, for a linear layer of its own from the embedding to it; ()
            compares the embedding itself, for "cosine" as long as the teacher's.
        cover: "all" when every teacher must have every image, "any" when one of them must.
        weight: factor of the loss.
        dims: embedding name -> D.

    Raises:
        ValueError: unknown embedding, loss or cover, no teacher, or an illegal weight or length.
        DataError: in training: there is no such folder, or it has no vector of an image; names it.
        UsageError: in training: another D than the teacher's, or a loader that gives no ids.

    Source: Park et al., Relational Knowledge Distillation, CVPR 2019 (arXiv 1904.05068), section 3:
        RKD-D and RKD-A; several teachers of a domain each: Ypsilantis et al., UDON, NeurIPS 2024
        (arXiv 2406.08332)
    Example: distill(on='gem', teachers='teacher', loss='cosine')
    """

    wants_ids = True

    def __init__(
        self,
        on: str,
        teachers: str | Sequence[str],
        loss: str = "cosine",
        weights: Sequence[float] = (),
        project: Sequence[int] = (),
        cover: str = "all",
        weight: float = 1.0,
        *,
        dims: Mapping[str, int],
    ) -> None:
        super().__init__()
        if loss not in DIFFERENCES:
            raise ValueError(f"loss must be one of {', '.join(DIFFERENCES)}, got {loss!r}")
        if cover not in ("all", "any"):
            raise ValueError(f"cover must be 'all' or 'any', got {cover!r}")
        paths = [teachers] if isinstance(teachers, str) else list(teachers)
        self.weights = tuple(weights) or (1.0,) * len(paths)
        for name, given in (("weights", self.weights), ("project", project or paths)):
            if not paths or len(given) != len(paths):
                raise ValueError(f"{name} must be one a teacher, of which one or more: {teachers}")
        check_not_negative(weights=min(self.weights))
        self.on, self.factor, self.loss, self.cover = on, weight, loss, cover
        self.dim = pick(dims, on, "embedding of the branches")
        self.teachers = [Teacher(path) for path in paths]
        self.lengths = tuple(project) or (self.dim,) * len(paths)
        self.maps = nn.ModuleList([nn.Linear(self.dim, dim) for dim in project])

    def start_training(self, steps: int) -> None:
        """Open the folders, so that what is missing is told before the first step.

        Raises:
            DataError: one is not there.
            UsageError: its vectors have another D than what they are compared with.
        """
        for teacher, length in zip(self.teachers, self.lengths, strict=True):
            self._check(teacher, length)

    def check_images(self, ids: Sequence[str]) -> None:
        """Look for a vector of every training image.

        Raises:
            DataError: one is missing; names it.
        """
        known = [teacher.find(ids, self.cover == "all") >= 0 for teacher in self.teachers]
        self._check_covered(ids, [torch.from_numpy(rows) for rows in known])

    def forward(
        self, embedding: torch.Tensor, targets: torch.Tensor, ids: Sequence[str] | None
    ) -> torch.Tensor:
        """[B, D], int64 [B] and the ids [B] of the images -> scalar."""
        if ids is None or len(ids) != len(embedding):
            raise UsageError(
                "distill finds a teacher's vectors by the ids of the images, and this loader gives"
                " none: train with `fastseek train`"
            )
        with full_precision(embedding):
            rows = gather_with_gradient(at_least_float(embedding))
            found = [one.look_up(ids, self.cover == "all") for one in self.teachers]
            self._check_covered(ids, [known for _, known in found])
            total = 0 * rows.sum()
            for number, (vectors, known) in enumerate(found):
                student = self.maps[number](rows) if self.maps else rows
                self._check(self.teachers[number], student.shape[1])
                teacher = gather_tensor(vectors.to(rows.device, rows.dtype))
                here = gather_tensor(known.to(rows.device))
                if here.any():
                    cost = DIFFERENCES[self.loss](student[here], teacher[here])
                    total = total + self.weights[number] * cost
            return self.factor * total

    def _check(self, teacher: Teacher, dim: int) -> None:
        if self.loss == "cosine" and teacher.embeddings.dim != dim:
            raise UsageError(
                f"{teacher.path}: vectors of {teacher.embeddings.dim} numbers are compared with"
                f" {dim}: set project to the D of every teacher, or compare pairs (loss='rkd')"
            )

    def _check_covered(self, ids: Sequence[str], known: Sequence[torch.Tensor]) -> None:
        lacking = ~torch.stack(list(known)).any(dim=0)
        if lacking.any():
            name = ids[int(lacking.int().argmax())]
            self.teachers[0].look_up([name], everyone=True)
