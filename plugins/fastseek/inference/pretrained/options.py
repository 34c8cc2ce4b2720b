"""What is asked of a model beside its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ...errors import UsageError
from ...suggestions import did_you_mean

OWN = ""  # as the model was trained
AUTO = ""  # an engine chosen by measurement
POOLINGS = ("cls", "mean", "gem", "head")
PRECISIONS = ("float32", "bf16", "fp16")
ENGINES = ("eager", "compile", "onnx")
MIN_SIZE, MAX_SIZE = 32, 4096  # below the stride of most networks nothing is left of an image


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """How a model is run.

    Args:
        pooling: "cls" (the class token), "mean" (of all places), "gem" (their generalized mean,
            p = 3) or "head" (what the network has between its features and its classifier, such as
            SigLIP's attention pool); "" is the model's own, "head".
        size: side of the images in pixels, at least 32; 0 is the model's own.
        device: "cpu", "cuda", "cuda:1" …; "" is a GPU where there is one.
        precision: "float32", "bf16" or "fp16" of the network; pooling and length are always
            computed in float32. "" is float32.
        engine: "eager", "compile" (torch.compile) or "onnx" (ONNX Runtime); "" chooses.

    Raises:
        UsageError: a value is none of these.
    """

    pooling: str = OWN
    size: int = 0
    device: str = ""
    precision: str = ""
    engine: str = AUTO

    def __post_init__(self) -> None:
        _check("pooling", self.pooling, POOLINGS)
        _check("precision", self.precision, PRECISIONS)
        _check("engine", self.engine, ENGINES)
        if isinstance(self.size, bool) or not isinstance(self.size, int):
            raise UsageError(f"size {self.size!r}: expected a whole number of pixels")
        if self.size and not MIN_SIZE <= self.size <= MAX_SIZE:
            raise UsageError(
                f"size {self.size}: expected {MIN_SIZE} to {MAX_SIZE} pixels, or 0 for the model's own"
            )


def _check(what: str, value: str, known: Sequence[str]) -> None:
    if value and value not in known:
        hint = did_you_mean(str(value), known, quoted=True)
        raise UsageError(f"{what} {value!r} is none of {', '.join(known)}{hint}")
