"""How large a model is: the one rule by which budgets are counted."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterable

from ..errors import ArtefactError, DataError
from .paths import PathLike

MEGABYTE = 1_000_000  # budgets of contests are told in 10^6 bytes
# What depends on the classes of the training set, not on the embedding.
CLASS_WEIGHTS = re.compile(r"(^|\.)(\w*heads?\.weight$|classifier\b|losses\.)")
MAX_HEADER = 100_000_000  # bytes, as the format allows


def embedding_bytes(tensors: Iterable[tuple[str, int]]) -> int:
    """The bytes a model embeds with; class weights do not count, since they are not handed in.

    Args:
        tensors: name and bytes of every parameter and buffer.
    """
    return sum(size for name, size in tensors if not CLASS_WEIGHTS.search(name))


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
    return embedding_bytes(_tensors_of(path))


def _tensors_of(path: pathlib.Path) -> Iterable[tuple[str, int]]:
    """Name and bytes of every tensor, read from the head of the file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = file.read(length) if length <= MAX_HEADER else b""
    try:
        entries = json.loads(head)
        entries.pop("__metadata__", None)
        offsets = {name: entry["data_offsets"] for name, entry in entries.items()}
        return [(name, int(end) - int(start)) for name, (start, end) in offsets.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{path}: not a whole .safetensors file ({error})") from error
