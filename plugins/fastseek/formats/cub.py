"""CUB-200-2011: images.txt, image_class_labels.txt, classes.txt and bounding_boxes.txt."""

from __future__ import annotations

import pathlib

from ..errors import DataError
from ..io.csv_rows import parse_integer
from ..io.paths import PathLike
from .listed import Box, Listed, read_words

IMAGES, LABELS = "images.txt", "image_class_labels.txt"
CLASSES, BOXES = "classes.txt", "bounding_boxes.txt"
LAST_TRAINED = 100  # the classes 1 to 100 train, 101 to 200 are the test


def read_lists(home: PathLike, boxes: bool = False) -> list[Listed]:
    """All images, split by class; the label is the class as classes.txt names it.

    Args:
        home: the folder of the lists.
        boxes: whether the box of every image is read.

    Raises:
        DataError: a list is not there, or does not tell of an image; names file and line.
    """
    folder = pathlib.Path(home)
    names = _by_id(folder / IMAGES, "name")
    numbers = _by_id(folder / LABELS, "class_id")
    classes = _by_id(folder / CLASSES, "name")
    drawn = _read_boxes(folder / BOXES) if boxes else {}
    found = []
    for image, (line, name) in names.items():
        where = f"{folder / IMAGES}:{line}: image {image}"
        if image not in numbers:
            raise DataError(f"{where} has no class in {folder / LABELS}")
        row, text = numbers[image]
        number = parse_integer(text, folder / LABELS, row, "the class")
        if text not in classes:
            raise DataError(f"{folder / LABELS}:{row}: class {text} is not in {folder / CLASSES}")
        if boxes and image not in drawn:
            raise DataError(f"{where} has no box in {folder / BOXES}")
        split = "train" if number <= LAST_TRAINED else "test"
        found.append(Listed(name, classes[text][1], split, box=drawn.get(image)))
    return found


def _by_id(path: pathlib.Path, column: str) -> dict[str, tuple[int, str]]:
    """Number of the image or class -> the line it stands in, and what is told of it."""
    return {one: (line, text) for line, (one, text) in read_words(path, ("id", column))}


def _read_boxes(path: pathlib.Path) -> dict[str, Box]:
    """Image -> its box; the file tells x, y, width and height."""
    found = {}
    for line, (image, *sides) in read_words(path, ("image_id", "x", "y", "width", "height")):
        try:
            x, y, width, height = map(float, sides)
        except ValueError as error:
            raise DataError(f"{path}:{line}: expected four numbers, found {sides}") from error
        found[image] = (x, y, x + width, y + height)
    return found
