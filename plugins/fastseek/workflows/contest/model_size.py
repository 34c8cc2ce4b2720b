"""How large a trained model is, in bytes of what it embeds with."""

from __future__ import annotations

from torch import nn

from ...distributed.process_group import inner
from ...io.model_size import embedding_bytes
from ...modeling.class_weights import class_weight_names


def model_size(model: nn.Module) -> int:
    """Bytes of all that a model embeds with, as its weight file holds it.

    Args:
        model: perhaps wrapped for several processes; counted by `io.model_size`, like a file.
    """
    state = inner(model).state_dict()
    sizes = ((name, tensor.numel() * tensor.element_size()) for name, tensor in state.items())
    return embedding_bytes(sizes, class_weight_names(model))
