"""How large the models of an ensemble are together, and how large they may be."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from ...distributed.process_group import inner
from ...errors import ArtefactError
from ...modeling.weight_files import CLASS_WEIGHTS

MB = 1_000_000


def size(model: nn.Module) -> int:
    """Bytes of all that a model embeds with, as a checkpoint holds it; class weights do not
    count.
    """
    return sum(
        tensor.numel() * tensor.element_size()
        for name, tensor in inner(model).state_dict().items()
        if not CLASS_WEIGHTS.search(name)
    )


def check_budget(sizes: Mapping[str, int], limit: float) -> None:
    """Refuse an ensemble that is too large (DIGIX 2020 allowed 500 MB in all).

    Args:
        sizes: model -> bytes.
        limit: in MB of 10^6 bytes; 0 is no limit.

    Raises:
        ArtefactError: together they are larger; names each with its size, the largest first.
    """
    total = sum(sizes.values())
    if limit and total > limit * MB:
        told = ", ".join(
            f"{name} {sizes[name] / MB:.1f}"
            for name in sorted(sizes, key=lambda name: -sizes[name])
        )
        raise ArtefactError(
            f"the models are {total / MB:.1f} MB together, BUDGET_MB is {limit:g} ({told}): leave"
            " one out, or take a smaller backbone"
        )
