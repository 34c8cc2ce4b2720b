"""Weight files: reading them safely, and fitting them to a model or saying why they do not fit."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping

import torch
from torch import nn

from ..distributed.fully_sharded import as_model_holds
from ..distributed.process_group import inner
from ..errors import ArtefactError
from ..io.paths import PathLike, locate
from .class_weights import class_names_in_file, class_weight_names
from .layers.class_shard import rows_here
from .layers.tensor_files import SHOWN, Tensors, list_some, read_tensors

logger = logging.getLogger("fastreid.fastseek")
# How weights and model can differ.
NEW = "not in the file"
UNKNOWN = "not in the model"
RESHAPED = "of another shape"
PIXELS = {"pixel_mean": "PIXEL_MEAN", "pixel_std": "PIXEL_STD"}
# Buffers that older fast-reid saved and newer does not, and a counter old torch did not have.
HARMLESS = re.compile(r"(^|\.)(pixel_mean|pixel_std|num_batches_tracked)$")


def load_weights(model: nn.Module, path: PathLike) -> None:
    """Load a weight file into a model, in place.

    Class weights may differ from the model's: they are left as they are, and that is logged.

    Args:
        model: any model, perhaps wrapped for several processes.
        path: .safetensors or .pth of ours, of fast-reid (also of its model zoo) or a plain state
            dict; searched for as `io.paths.locate` says.

    Raises:
        DataError: there is no such file.
        ArtefactError: the file is damaged, holds NaN, or does not fit; lists the differences.
    """
    path = locate(path, "MODEL.WEIGHTS")
    tensors = read_tensors(path)
    fit_tensors(model, tensors, str(path), of_classes=class_names_in_file(path, tensors))
    logger.info("loaded the weights of %s", path)


def rename_keys(tensors: Tensors, own: Mapping[str, torch.Tensor]) -> Tensors:
    """The tensors under the names a model has for them.

    fast-reid's zoo has `heads.bnneck.*` and `heads.classifier.weight` for what its heads call
    `heads.bottleneck.*` and `heads.weight` today. In a Seeker fast-reid's backbone stands in
    `backbone.net`, and its head's pooling and neck are those of the branch `bnneck`.

    Args:
        tensors: as read.
        own: the state dict of the model, which tells the names that exist.
    """
    made: Tensors = {}
    for name, value in tensors.items():
        today = name if name in own else _today(name, tensors, own)
        # a 1x1 convolution of fast-reid's neck is the linear layer of ours
        flat = today in own and value.ndim == 4 and own[today].ndim == 2
        made[today] = value.flatten(1) if flat and value.shape[2:] == (1, 1) else value
    return made


def _today(name: str, tensors: Tensors, own: Mapping[str, torch.Tensor]) -> str:
    candidates = [name.replace(".classifier.", "."), f"backbone.net.{name.partition('.')[2]}"]
    found = re.fullmatch(r"(.*)\.(?:bnneck|bottleneck\.\d)\.(\w+)", name)
    if found:
        # The neck is the batch norm of the bottleneck, behind a convolution when EMBEDDING_DIM is
        # set.
        is_norm = f"{name.rpartition('.')[0]}.running_mean" in tensors
        numbers = [place for place in range(3) if _is_norm(own, f"{found[1]}.bottleneck.{place}")]
        candidates = [f"{found[1]}.bottleneck.{place}.{found[2]}" for place in numbers]
        candidates.append(f"branches.bnneck.{'norm' if is_norm else 'reduce'}.{found[2]}")
    elif name == "heads.pool_layer.p":
        candidates = ["branches.bnneck.pool.p"]
    elif not name.startswith("backbone."):
        candidates = candidates[:1]
    return next((one for one in candidates if one in own), name)


def _is_norm(own: Mapping[str, torch.Tensor], place: str) -> bool:
    return f"{place}.running_mean" in own


def fit_tensors(
    model: nn.Module,
    tensors: Tensors,
    path: str,
    strict: bool = False,
    may_differ: Callable[[str, str], bool] | None = None,
    of_classes: Collection[str] = (),
) -> dict[str, list[str]]:
    """Copy tensors into a model, in place.

    Args:
        model: where they go.
        tensors: by name.
        path: named in messages.
        strict: class weights must fit as well.
        may_differ: whether a tensor may differ so, called with NEW, UNKNOWN or RESHAPED and its
            name; class weights may when it is not given, unless `strict`.
        of_classes: names of the tensors that are class weights where they came from; those of the
            model the model knows.

    Returns:
        the names that differ, by how; those "of another shape" with both shapes.

    Raises:
        ArtefactError: a name is missing or unexpected, or a shape differs; the table of differences
            is in the message. Or the tensors tell another mean or deviation of pixels.
    """
    model = inner(model)
    own = model.state_dict()
    _check_pixels(model, tensors, path)
    class_names = class_weight_names(model) | set(of_classes)
    tensors = rename_keys(tensors, own)
    rows = rows_here(model)
    shapes = {
        name: (rows[name].whole, *one.shape[1:]) if name in rows else tuple(one.shape)
        for name, one in own.items()
    }
    aliases = _aliases(model)
    differences = {
        NEW: [name for name in own if name not in tensors and not aliases[name] & set(tensors)],
        UNKNOWN: [name for name in tensors if name not in own],
        RESHAPED: [
            f"{name} {tuple(tensors[name].shape)}, model {shapes[name]}"
            for name in own
            if name in tensors and tensors[name].shape != shapes[name]
        ],
    }

    def legal(kind: str, name: str) -> bool:
        return not strict and name in class_names if may_differ is None else may_differ(kind, name)

    accepted = [
        name
        for kind, names in differences.items()
        for name in names
        if legal(kind, name.split(" ")[0])
    ]
    left = {
        kind: [name for name in names if name not in accepted and not HARMLESS.search(name)]
        for kind, names in differences.items()
    }
    if any(left.values()):
        raise ArtefactError(_table(path, left, len(own)))
    if accepted and may_differ is None:
        logger.info("%s: class weights not taken from it: %s", path, list_some(accepted))
    fitting = {
        name: value[rows[name].first : rows[name].last] if name in rows else value
        for name, value in tensors.items()
        if name in own and value.shape == shapes[name]
    }
    model.load_state_dict(as_model_holds(own, fitting), strict=False)
    return differences


def _check_pixels(model: nn.Module, tensors: Tensors, path: str) -> None:
    """Check that pixels are normalized as the weights are used to, where their file says how.

    Raises:
        ArtefactError: they are not; says both.
    """
    buffers = dict(model.named_buffers())
    for name, key in PIXELS.items():
        if name not in tensors or name not in buffers:
            continue
        theirs, ours = (one[name].flatten().tolist() for one in (tensors, buffers))
        if len(theirs) != len(ours) or not torch.allclose(
            torch.tensor(theirs), torch.tensor(ours), rtol=1e-4, atol=1e-3
        ):
            raise ArtefactError(
                f"{path}: its weights were trained with {key} {_round(theirs)}, the recipe has"
                f" {_round(ours)}: set MODEL.{key} to the former"
            )


def _round(values: list[float]) -> list[float]:
    return [round(value, 4) for value in values]


def _aliases(model: nn.Module) -> dict[str, set[str]]:
    """For every name in the state dict, all names of the same tensor."""
    names: dict[int, set[str]] = {}
    state = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        names.setdefault(id(tensor), set()).add(name)
    return {name: names[id(tensor)] for name, tensor in state.items()}


def _table(path: str, differences: dict[str, list[str]], total: int) -> str:
    lines = [f"{path} does not fit the model ({total} tensors):"]
    for kind, names in differences.items():
        if names:
            lines.append(f"  {len(names)} {kind}:")
            lines += [f"    {name}" for name in names[:SHOWN]]
            lines += [f"    … and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return "\n".join(
        [
            *lines,
            "Use the recipe the weights were trained with (config.yaml beside them), or take over"
            ' what fits: SEEK.FIT "some".',
        ]
    )
