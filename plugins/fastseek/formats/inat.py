"""iNat Challenge 2021: the list of the test, and submissions (github.com/visipedia/inat_comp)."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import DataError
from ..io.json_files import read_json
from ..io.paths import PathLike
from .class_answers import class_number, write_answers
from .listed import read_lines

ANSWERS = 3  # classes of an image, best first
COLUMNS = ("Id", "Predicted")


def read_images(path: PathLike) -> dict[str, str]:
    """Read test.json: file name -> the number the contest knows the image by, in order.

    Raises:
        DataError: the file is another, or a name or number stands twice.
    """
    page = read_json(path)
    try:
        pairs = [(str(one["file_name"]), str(int(one["id"]))) for one in page["images"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f'{path}: not a list of iNat\'s ({error!r}): expected "images" with id and file_name'
        ) from error
    found = dict(pairs)
    if not len(pairs) == len(found) == len(set(found.values())):
        raise DataError(f"{path}: a file name or an id stands twice, must be once")
    return found


def write_submission(
    path: PathLike, images: Sequence[str], labels: Sequence[Sequence[str]]
) -> None:
    """Write Id,Predicted with three category numbers an image, whole or not at all.

    Args:
        path: the file.
        images: their numbers.
        labels: the best classes of each.

    Raises:
        DataError: a class is called by no number.
    """
    answers = [" ".join(str(class_number(label)) for label in best) for best in labels]
    write_answers(path, COLUMNS, images, answers)


def read_retrieval_split(path: PathLike) -> list[tuple[str, str]]:
    """Read Inaturalist_train_set1.txt or Inaturalist_test_set1.txt, the split of iNat 2018 for
    retrieval (Brown et al. 2020): a path a line, SET/KINGDOM/CLASS/IMAGE.

    Returns:
        (path, class) of every image.

    Raises:
        DataError: the file is another; names the line.
    """
    found = []
    for line, text in enumerate(read_lines(path), 1):
        name = text.strip()
        if not name:
            continue
        folders = name.split("/")
        if len(folders) < 3:
            raise DataError(f"{path}:{line}: expected SET/KINGDOM/CLASS/IMAGE, found {name!r}")
        found.append((name, folders[-2]))
    return found
