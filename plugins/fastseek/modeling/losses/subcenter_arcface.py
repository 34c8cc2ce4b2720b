"""Sub-center ArcFace with constant or dynamic margin, for any number of classes."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import LOSSES, pick
from ..layers.class_shard import Block, ClassShard
from ..layers.margin import add_margin, margins
from ..layers.precision import at_least_float, full_precision
from ..layers.sampled import Sampled
from ..layers.streamed import Classifier, chunk_for, streamed_loss
from ..layers.subcenter import subcenter_cosine

logger = logging.getLogger("fastreid.fastseek")


@LOSSES.register()
class SubcenterArcface(nn.Module):
    """Cross-entropy over s * cosine, the own class handicapped by an angular margin; k centers a
    class.

    Works in float32 whatever the precision around it. k = 1 is ArcFace. Deng et al., ArcFace, 2019,
    and Sub-center ArcFace, 2020; dynamic margin: arXiv 2010.05350; sampled classes: An et al.,
    Partial FC, 2022 (arXiv 2203.15565).

    Memory, float32: weights and their gradient take 8 * C * k * D bytes, Adam's moments as much
    again. The plain computation adds four tensors of C * k * D and several of B * C * k numbers. In
    chunks nothing of that size is added, and nothing of B * C: about 4 * 2^23 bytes a tensor of one
    chunk, whatever C is. For C = 81,313, k = 3 and D = 512 weights and gradient are 1.0 GB, see
    benchmarks/results/class_head.json.

    Args:
        on: name of the embedding.
        k: centers a class; the nearest counts.
        s: scale of the cosines.
        margin: radians, or "dynamic(0.05, 0.50)": the low one for the largest class, the high one
            for the smallest.
        smoothing: label smoothing of the cross-entropy.
        weight: factor of the loss.
        chunk: classes looked at together; None takes chunks when the plain computation would be
            large, 0 never does.
        sample: share of the classes a training step looks at, in (0, 1]: those of the batch and
            others drawn anew in every step; with 1 all.
        seed: of that draw, which is a function of it and of the step, the same in every process.
        shard: share the classes out over the processes of the run: each holds a block of the
            weights, their gradient and what the optimizer keeps of them. Loss and gradients are
            those of one process with the whole batch.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class; a class without any keeps its row.

    Raises:
        ValueError: unknown embedding, or an illegal margin, k, s, chunk or sample; or
            shard with fewer classes than processes.

    Source: Deng et al., Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web
        Faces, ECCV 2020
    Example: subcenter_arcface(on='gem', k=3, s=45, margin='dynamic(0.05, 0.50)')
    """

    margins: torch.Tensor

    def __init__(
        self,
        on: str,
        k: int = 3,
        s: float = 45.0,
        margin: float | str = 0.3,
        smoothing: float = 0.0,
        weight: float = 1.0,
        chunk: int | None = None,
        sample: float = 1.0,
        seed: int = 0,
        shard: bool = False,
        *,
        dims: Mapping[str, int],
        counts: torch.Tensor,
    ) -> None:
        super().__init__()
        if not s > 0:
            raise ValueError(f"s must be positive, got {s}")
        if not 0 <= smoothing <= 1:
            raise ValueError(f"smoothing must be in [0, 1], got {smoothing}")
        if chunk is not None and chunk < 0:
            raise ValueError(f"chunk must be a number of classes, 0 or None, got {chunk}")
        self.on = on
        self.k = k
        self.s = s
        self.smoothing = smoothing
        self.factor = weight
        self.chunk = chunk
        self.shard = ClassShard(len(counts), k, shard)
        self.weight = self.shard.centers(pick(dims, on, "embedding of the branches"))
        self.register_buffer("margins", margins(margin, counts), persistent=False)
        self.sampled = Sampled(len(counts), sample, seed)
        self.accuracy: torch.Tensor | None = None
        self.logged = False

    @property
    def needs_steps(self) -> bool:
        """Whether other classes are drawn in every step."""
        return self.sampled.share < 1

    def at_step(self, step: int) -> None:
        """Tell the number of the training step, which decides what classes are drawn."""
        self.sampled.step = step

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """[B, D] -> float32 [B, C] without margin, whose softmax is the probability of every
        class.

        Raises:
            UsageError: the classes are shared out over several processes.
        """
        self.shard.check_whole()
        return self.s * subcenter_cosine(embedding, self.weight, self.k)

    def forward(self, embedding: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """[B, D] and int64 [B] -> scalar.

        Keeps the share of rows whose nearest class is their own in `accuracy`; of sampled classes,
        the nearest there. With `shard` the rows are those of all processes.
        """
        table, block = self.margins, self.shard.block
        weight: torch.Tensor = self.weight
        with full_precision(embedding):
            rows, targets = self.shard.gather(at_least_float(embedding), targets)
            if self.training and self.sampled.share < 1:
                chosen, targets = self.sampled(targets)
                table = table[chosen]
                weight, block = self._choose(chosen)
            loss, nearest = self._loss(rows, weight, targets, table, block)
            self.accuracy = (nearest == targets).float().mean()
            return self.factor * loss

    def _choose(self, chosen: torch.Tensor) -> tuple[torch.Tensor, Block]:
        """The centers of those of the chosen classes that are here, and which of the chosen these
        are.
        """
        many, first = len(chosen), 0
        if self.shard.shared:
            first = int((chosen < self.shard.first).sum())
            here = (chosen >= self.shard.first) & (chosen < self.shard.last)
            chosen = chosen[here] - self.shard.first
        weight = self.weight.unflatten(0, (-1, self.k)).index_select(0, chosen).flatten(0, 1)
        return weight, Block(first, many, self.shard.shared)

    def _loss(
        self,
        embedding: torch.Tensor,
        weight: torch.Tensor,
        targets: torch.Tensor,
        table: torch.Tensor,
        block: Block,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        classes = len(weight) // self.k
        chunk = self.chunk
        if chunk is None:
            chunk = chunk_for(classes, self.k, *embedding.shape)
        if block.shared and not chunk:
            chunk = max(1, classes)  # the plain computation knows one process only
        if chunk:
            self._log_memory(chunk, *embedding.shape)
            how = Classifier(self.k, self.s, self.smoothing, min(chunk, max(1, classes)))
            return streamed_loss(F.normalize(embedding), weight, targets, table, how, block)
        cosine = subcenter_cosine(embedding, weight, self.k)
        logits = self.s * add_margin(cosine, targets, table)
        loss = F.cross_entropy(logits, targets, label_smoothing=self.smoothing)
        return loss, cosine.detach().argmax(dim=1)

    def _log_memory(self, chunk: int, rows: int, dim: int) -> None:
        if not self.logged:
            self.logged = True
            logger.info(
                "subcenter_arcface: %d classes x %d centers x %d: %.2f GB of weights and as much of"
                " gradient; %d classes at a time, %.0f MB a tensor",
                self.shard.last - self.shard.first,
                self.k,
                dim,
                4e-9 * self.weight.numel(),
                chunk,
                4e-6 * chunk * self.k * max(rows, dim),
            )
