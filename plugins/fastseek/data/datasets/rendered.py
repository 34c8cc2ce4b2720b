"""Rendered objects: images for a demo where no others are at hand."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor

from ...io.paths import data_roots, make_folder
from ...progress import progress
from ...registry import DATASETS
from ...structures import Item
from ._rendered_objects import draw_view

OBJECTS, VIEWS = 40, 12  # where nobody says how many
VERSION = 1  # rises whenever the same numbers would give other pixels
ASKED = 3  # one view of so many is a query


@DATASETS.register()
class Rendered:
    """Objects of colored, patterned solids, each seen from several sides, among others that hide
    part of it, in other light and at other distances.

    Four objects each share shape and colors. A third of the views are queries; the others are
    trained on and searched in. The images are drawn once, into the folder `rendered` of the last
    data root, ~/.cache/fastseek.

    Args:
        objects: how many.
        views: of each object.
        size: side of the images in pixels.
        seed: another one gives other objects.

    Raises:
        ValueError: fewer than one object, two views or 16 pixels.
        UsageError: the folder cannot be written.

    Example: rendered(objects=2, views=3, size=64)
    """

    def __init__(
        self, objects: int = OBJECTS, views: int = VIEWS, size: int = 192, seed: int = 0
    ) -> None:
        if objects < 1 or views < 2 or size < 16:
            raise ValueError(
                "objects must be 1, views 2 and size 16 at least, got"
                f" {objects}, {views} and {size}"
            )
        name = f"v{VERSION}-{objects}-objects-{views}-views-{size}-pixels-seed-{seed}"
        home = data_roots()[-1] / "rendered" / name
        if not home.is_dir():
            _draw_all(home, objects, views, size, seed)
        self.root = str(home)
        asked = max(views // ASKED, 1)
        self.items = [
            _item(home, number, view, split)
            for split, first, last in (
                ("train", asked, views),
                ("query", 0, asked),
                ("gallery", asked, views),
            )
            for number in range(objects)
            for view in range(first, last)
        ]


def _item(home: pathlib.Path, number: int, view: int, split: str) -> Item:
    name = _file_name(number, view)
    return Item(str(home / name), f"object {number:03d}", split=split, id=name)


def _file_name(number: int, view: int) -> str:
    return f"object_{number:03d}/view_{view:02d}.jpg"


def _draw_all(home: pathlib.Path, objects: int, views: int, size: int, seed: int) -> None:
    """Draw into a folder of another name, so that one that is there is whole."""
    make_folder(home.parent)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".") as folder:
        whole = pathlib.Path(folder) / home.name
        every = [(number, view) for number in range(objects) for view in range(views)]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            drawn = pool.map(lambda one: draw_view(one[0], one[1], size, seed), every)
            for (number, view), jpeg in zip(
                every, progress(drawn, "drawing objects", len(every), unit="images"), strict=True
            ):
                file = whole / _file_name(number, view)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(jpeg)
        try:
            whole.rename(home)
        except OSError:
            if not home.is_dir():
                raise
            # Another process was faster; its images are the same.
            shutil.rmtree(whole)
