"""Taking over the weights of another training: which parts, and what is told of the rest."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Sequence
from typing import Any

from torch import nn

from ..distributed.process_group import inner
from ..errors import ArtefactError, UsageError
from ..io.paths import PathLike, locate
from ..structures.class_file import read_class_file
from . import weight_files
from .class_weights import class_names_in_file, class_weight_names
from .layer_order import near

logger = logging.getLogger("fastreid.fastseek")
Lists = dict[str, list[str]]


def take_over(
    model: nn.Module,
    path: PathLike,
    drop: Sequence[str] = (),
    fit: str = "classes",
    classes: PathLike = "",
) -> Lists:
    """Load a weight file into a model, in place, as SEEK.DROP and SEEK.FIT say.

    Weights are matched by name; what is taken over is bit-identical. Class weights of a file whose
    classes.json, beside it, has other labels than the model's belong to other classes and are never
    taken, however they are shaped.

    Args:
        model: any model, perhaps wrapped for several processes.
        path: as for `weights.load_weights`.
        drop: fragments; a tensor of the file with one of them in its name is not taken.
        fit: "all": what is not dropped must fit; "classes": but for class weights; "grow": the file
            must fit, the model may have more; "some": what fits is taken.
        classes: the model's classes file.

    Returns:
        names by what became of them: "dropped", "not in the file", "not in the model", "of another
            shape".

    Raises:
        DataError: there is no such file.
        ArtefactError: the file is damaged, or does not fit as it must; lists the differences. Or a
            classes.json holds something else.
        UsageError: a fragment is in no name of the file.
    """
    path = locate(path, "MODEL.WEIGHTS")
    read = weight_files.read_tensors(path)
    found = weight_files.rename_keys(read, inner(model).state_dict())
    class_names = class_weight_names(model) | class_names_in_file(path, read)
    for fragment in drop:
        if not any(fragment in name for name in found):
            raise UsageError(
                f"SEEK.DROP {fragment!r} is in no name in {path}; {near(fragment, found)}"
            )
    foreign = fit != "all" and _other_classes(path, classes)
    dropped = {
        name
        for name in found
        if any(fragment in name for fragment in drop) or foreign and name in class_names
    }

    def may_differ(kind: str, name: str) -> bool:
        own = name in dropped or any(fragment in name for fragment in drop)
        class_weight = fit != "all" and name in class_names and (fit == "classes" or foreign)
        return own or class_weight or fit == "some" or fit == "grow" and kind == weight_files.NEW

    kept = {name: tensor for name, tensor in found.items() if name not in dropped}
    lists = weight_files.fit_tensors(model, kept, str(path), may_differ=may_differ)
    taken = len(kept) - len(lists[weight_files.UNKNOWN]) - len(lists[weight_files.RESHAPED])
    if not taken:
        raise ArtefactError(
            f"{path}: nothing in it fits the model: is it of another kind of model?"
        )
    lists = {"dropped": sorted(dropped), **lists}
    logger.info("%s: %d of %d tensors taken over%s", path, taken, len(found), _describe(lists))
    if foreign:
        logger.info("%s was trained on other classes: its class weights are not taken over", path)
    return lists


def _other_classes(path: pathlib.Path, classes: PathLike) -> bool:
    beside = path.parent / "classes.json"
    if not (classes and beside.is_file()):
        return False
    return read_class_file(beside).labels != read_class_file(classes).labels


def _describe(lists: Lists) -> str:
    """What was not taken: shapes in full, of the other lists the beginning."""
    lines: list[Any] = []
    for kind, names in lists.items():
        if names:
            shown = names if kind == weight_files.RESHAPED else names[: weight_files.SHOWN]
            more = [f"… and {len(names) - len(shown)} more"] if len(names) > len(shown) else []
            lines += [f"{len(names)} {kind}:", *(f"  {name}" for name in [*shown, *more])]
    return "".join(f"\n  {line}" for line in lines)
