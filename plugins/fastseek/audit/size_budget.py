"""Whether the models of an ensemble are small enough."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

from ..errors import ArtefactError
from ..io.model_size import MEGABYTE, file_bytes
from ..io.paths import PathLike


def check_budget(sizes: Mapping[str, int], limit: float, where: str = "") -> None:
    """Refuse an ensemble that is too large (DIGIX 2020 allowed 500 MB in all).

    Args:
        sizes: model -> bytes.
        limit: in MB of 10^6 bytes.
        where: what the limit stands in, "contest.yml: BUDGET_MB: "; put before the error.

    Raises:
        ArtefactError: together they are larger; names each with its size, the largest first.
    """
    total = sum(sizes.values())
    if total <= limit * MEGABYTE:
        return
    largest_first = sorted(sizes.items(), key=lambda pair: -pair[1])
    each = ", ".join(f"{name} {size / MEGABYTE:.1f}" for name, size in largest_first)
    raise ArtefactError(
        f"{where}{total / MEGABYTE:.1f} MB in {len(sizes)} models, {limit:g} are allowed ({each}):"
        " leave one out, store halves (float16), or take a smaller backbone"
    )


def check_size(files: Sequence[PathLike], limit: float = 500.0) -> dict[str, float]:
    """Megabytes (of 10^6 bytes) of every file; a file that is named twice counts once.

    Args:
        files: weight files, counted as `io.model_size.file_bytes` says.
        limit: megabytes all may have together.

    Raises:
        DataError: a file is not there.
        ArtefactError: they have more; tells what every file has.
    """
    names: dict[pathlib.Path, str] = {}
    for file in files:
        names.setdefault(pathlib.Path(file).resolve(), str(file))
    sizes = {name: file_bytes(name) for name in names.values()}
    check_budget(sizes, limit)
    return {name: size / MEGABYTE for name, size in sizes.items()}
