"""Whether the models of an ensemble are small enough."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from ..errors import ArtefactError, DataError
from ..io.paths import PathLike

MEGABYTE = 1_000_000


def check_size(files: Sequence[PathLike], limit: float = 500.0) -> dict[str, float]:
    """Megabytes (of 10^6 bytes) of every file; a file that is named twice counts once.

    Args:
        files: weight files.
        limit: megabytes all may have together; DIGIX 2020 allowed 500.

    Raises:
        DataError: a file is not there.
        ArtefactError: they have more; tells what every file has.
    """
    sizes: dict[pathlib.Path, tuple[str, float]] = {}
    for file in files:
        path = pathlib.Path(file)
        if not path.is_file():
            raise DataError(f"{file}: there is no such file")
        sizes[path.resolve()] = (str(file), path.stat().st_size / MEGABYTE)
    total = sum(size for _, size in sizes.values())
    if total > limit:
        each = ", ".join(f"{name} {size:.1f}" for name, size in sizes.values())
        raise ArtefactError(
            f"{total:.1f} MB in {len(sizes)} files, {limit:g} are allowed ({each}): leave one out,"
            " or store halves (float16)"
        )
    return dict(sizes.values())
