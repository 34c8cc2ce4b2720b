"""Boxes of images, annotated in COCO's format, as items."""

from __future__ import annotations

import logging
import os
import pathlib

from ...errors import DataError
from ...formats.coco import CocoBox, read_boxes
from ...io.crop_locations import spell_crop, whole_image
from ...io.locations import leads_out
from ...io.paths import locate
from ...registry import DATASETS
from ...structures import ItemTable, Kind
from ...structures.item_table import join_tables
from ...structures.item_table_builder import ItemTableBuilder
from ._query_share import part_queries

logger = logging.getLogger(__name__)
ANNOTATIONS = "annotations"


@DATASETS.register()
class CocoBoxes:
    """Each annotated box of COCO or of a data set in its format is an item: what the box holds, cut
    out of the image, with the category as label.

    Boxes around crowds (iscrowd) and those with a side below `least` pixels are left out; the log
    counts them. The id of an item is the image's file name and the number of the annotation,
    below the folder's name where train and query lie in two.

    Args:
        train: annotations of boxes to train on and search in, such as
            'coco/annotations/instances_train2017.json'; or the folder with annotations/, of which
            instances_train2017.json and instances_val2017.json are read; "" for none.
        query: annotations of boxes that ask, such as 'coco/annotations/instances_val2017.json'; or
            the share (0..1) of every category of `train` that does; "" for none.
        root: the folder of the images; where it is not given, the folder beside annotations/ that is
            called as the end of the file's name (train2017), else the folder of the annotations.
        least: boxes with a shorter side are left out.

    Raises:
        ValueError: nothing is named. DataError: a file or the first image is not there, or the file
            has another format; names it.

    Source: Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014 (arXiv 1405.0312)
    Example: coco_boxes('coco/annotations/instances_train2017.json', query=0.1)
    """

    def __init__(
        self, train: str = "", query: str | float = "", root: str = "", least: float = 8
    ) -> None:
        share = query if isinstance(query, float) else None
        asked = "" if share is not None else str(query)
        if not (train or asked):
            raise ValueError("coco_boxes needs annotations: train='instances_train2017.json'")
        if train and locate(train, "the annotations").is_dir():
            train, asked = _find_annotations(locate(train, "the annotations"), share is not None)
        homes: list[str] = []
        parts = []
        for split, file in (("train", train), ("query", asked)):
            if file:
                table, home = _read(locate(file, "the annotations"), split, root, least)
                parts.append(table)
                homes.append(home)
        self.root = os.path.commonpath(homes)
        # Two folders may call an image alike.
        below = [os.path.relpath(home, self.root) for home in homes]
        parts = [
            part if folder == os.curdir else part.with_prefix(f"{folder}/")
            for part, folder in zip(parts, below, strict=True)
        ]
        items = join_tables(parts)
        if share is not None:
            items = part_queries(items, share)
        elif train and asked:
            items = join_tables([items, parts[0].in_split("gallery")])
        self.items: ItemTable = items


def _find_annotations(home: pathlib.Path, alone: bool) -> tuple[str, str]:
    """The two lists of boxes of COCO 2017, or the first alone."""
    files = [home / ANNOTATIONS / f"instances_{split}2017.json" for split in ("train", "val")]
    missing = next((file for file in files[: 1 if alone else 2] if not file.is_file()), None)
    if missing is not None:
        raise DataError(f"{missing}: expected this file of COCO; name others by themselves")
    return str(files[0]), "" if alone else str(files[1])


def _read(file: pathlib.Path, split: str, root: str, least: float) -> tuple[ItemTable, str]:
    home = str(locate(root, "the images") if root else _find_images(file))
    found = read_boxes(file, least)
    if found.crowds or found.small:
        logger.info(
            "%s: left out are %d boxes around crowds and %d with a side below %g pixels",
            file,
            found.crowds,
            found.small,
            least,
        )
    if not found.boxes:
        raise DataError(f"{file}: no box is left")
    outside = next((one.image for one in found.boxes if leads_out(one.image)), None)
    if outside is not None:
        raise DataError(f"{file}: {outside!r} lies outside of the folder of the images")
    builder = ItemTableBuilder([Kind(split, "")])
    builder.add(
        [f"{one.image}/{one.number}" for one in found.boxes],
        labels=[one.label for one in found.boxes],
        names=[_spell(home, one) for one in found.boxes],
    )
    table = builder.build()
    first = whole_image(table.path(0))
    if not os.path.exists(first):
        raise DataError(f"{first}: {file} names this image and there is no such file: name root=")
    return table, home


def _spell(home: str, one: CocoBox) -> str:
    return spell_crop(os.path.join(home, one.image), one.box)


def _find_images(file: pathlib.Path) -> pathlib.Path:
    """Of annotations/instances_train2017.json the folder train2017 beside annotations/."""
    name = file.stem.rpartition("_")[2]
    if file.parent.name == ANNOTATIONS:
        for base in (file.parent.parent, file.parent.parent / "images"):
            if (base / name).is_dir():
                return base / name
    return file.parent
