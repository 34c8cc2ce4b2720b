"""Names of images, as the owner of some vectors has them listed."""

from __future__ import annotations

from ..io import csv_rows
from ..io.csv_rows import check_unique, read_rows
from ..io.paths import PathLike


def read_names(path: PathLike) -> list[str]:
    """Read names, in the order of the file: the column id where there is one, else the first value
    of every row.

    So test.csv and index.csv of Google Landmarks can be read, label files of DIGIX, and plain text
    with a name a line.

    Raises:
        DataError: a name stands twice or is no word, or the file is no CSV file in UTF-8; names
            file and line.
    """
    seen: dict[str, int] = {}
    first = next(read_rows(path), (1, []))[1]
    headed = "id" in [cell.strip() for cell in first]
    rows = (
        csv_rows.read(path, ("id",))
        if headed
        else ((line, row[:1]) for line, row in read_rows(path))
    )
    for line, (name,) in rows:
        check_unique(seen, name, path, line, "name")
    return list(seen)
