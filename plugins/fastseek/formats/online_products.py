"""Stanford Online Products: Ebay_train.txt and Ebay_test.txt."""

from __future__ import annotations

from ..io.paths import PathLike
from .listed import Listed, check_header, read_words

COLUMNS = ("image_id", "class_id", "super_class_id", "path")


def read_list(path: PathLike, split: str) -> list[Listed]:
    """The images of Ebay_train.txt or Ebay_test.txt; the label is the class_id.

    Args:
        path: the file.
        split: what its images are.

    Raises:
        DataError: the header or a line is another; names file and line.
    """
    check_header(path, 1, COLUMNS)
    return [
        Listed(name, label, split) for _, (_, label, _, name) in read_words(path, COLUMNS, head=1)
    ]
