"""Which tensors of a model depend on the classes it was trained on.

They change with the data set, shape no embedding and are not handed in. The module that owns them
says which they are; a name tells nothing: `conv_head.weight` of an EfficientNet is a layer like
others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, cast

from torch import nn

from .. import compat  # noqa: F401  (before anything that imports fastreid)
from ..distributed.process_group import inner
from ..io.model_size import class_names_in_file as class_names_in_file

from fastreid.modeling.heads import EmbeddingHead


class OwnsClassWeights(Protocol):
    """A module that says what of it depends on the classes."""

    def class_weight_names(self) -> Sequence[str]:
        """Names of its parameters, buffers or submodules."""


def class_weight_names(model: nn.Module) -> frozenset[str]:
    """The names of all class weights in a model's state dict.

    Args:
        model: perhaps wrapped for several processes. Any module in it may have
            `class_weight_names`; a head of fast-reid need not: its `weight` is the classifier.
    """
    model = inner(model)
    owned = [
        f"{place}.{name}" if place else name
        for place, module in model.named_modules()
        for name in _own_names(place, module)
    ]
    return frozenset(
        name for name in model.state_dict() if any(_belongs(name, own) for own in owned)
    )


def _own_names(place: str, module: nn.Module) -> Iterable[str]:
    if hasattr(type(module), "class_weight_names"):  # a protocol asks far longer, of every layer
        return cast(OwnsClassWeights, module).class_weight_names()
    if isinstance(module, EmbeddingHead) or place == "heads":
        return ("weight", "classifier")  # `heads` is what fast-reid's architectures call them
    return ()


def _belongs(name: str, owner: str) -> bool:
    return name == owner or name.startswith(f"{owner}.")
