"""How large a model is: the one rule by which budgets are counted."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Container, Iterable

from ..errors import ArtefactError, DataError
from .paths import PathLike

MEGABYTE = 1_000_000  # budgets of contests are told in 10^6 bytes
# In a weight file's metadata: the names of what depends on the classes of the training set.
CLASS_WEIGHTS = "class_weights"
# What files that do not say so call them: fast-reid's architectures, and Seeker in version 0.1.
FORMER_CLASS_WEIGHTS = re.compile(
    r"(heads?|b\d+_head)\.(weight$|classifier\b)|classifier\b|losses\."
)
MAX_HEADER = 100_000_000  # bytes, as the format allows


def embedding_bytes(tensors: Iterable[tuple[str, int]], of_classes: Container[str]) -> int:
    """The bytes a model embeds with; class weights do not count, since they are not handed in.

    Args:
        tensors: name and bytes of every parameter and buffer.
        of_classes: the names of the class weights.
    """
    return sum(size for name, size in tensors if name not in of_classes)


def class_names_in_file(path: PathLike, names: Iterable[str]) -> frozenset[str]:
    """Which tensors of a weight file depend on classes.

    A .safetensors file of ours says so in its metadata. Of others it is told by where fast-reid's
    architectures and version 0.1 had them: at the top of the model, not inside a backbone.

    Args:
        path: the file.
        names: of its tensors.

    Raises:
        ArtefactError: it is no whole .safetensors file, or tells the names in another way.
    """
    path = pathlib.Path(path)
    said = _read_head(path)[1].get(CLASS_WEIGHTS) if path.suffix == ".safetensors" else None
    if said is not None:
        return _read_names(said, path)
    return frozenset(name for name in names if FORMER_CLASS_WEIGHTS.match(name))


def _read_names(said: str, path: pathlib.Path) -> frozenset[str]:
    """The names in a file's metadata, which may be a stranger's of the same key."""
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ArtefactError(
            f"{path}: {CLASS_WEIGHTS} in its metadata is no JSON list of names; save it without"
        )
    return frozenset(found)


def file_bytes(path: PathLike) -> int:
    """The bytes a weight file embeds with: of .safetensors the tensors, of others the whole file.

    Raises:
        DataError: there is no such file. ArtefactError: it is no whole .safetensors file.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if path.suffix != ".safetensors":
        return path.stat().st_size
    sizes = _read_head(path)[0]
    return embedding_bytes(sizes.items(), class_names_in_file(path, sizes))


def _read_head(path: pathlib.Path) -> tuple[dict[str, int], dict[str, str]]:
    """The bytes of every tensor and the metadata, read from the head of the file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = file.read(length) if length <= MAX_HEADER else b""
    try:
        entries = json.loads(head)
        metadata = entries.pop("__metadata__", None) or {}
        offsets = {name: entry["data_offsets"] for name, entry in entries.items()}
        return {name: int(end) - int(start) for name, (start, end) in offsets.items()}, metadata
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{path}: not a whole .safetensors file ({error})") from error
