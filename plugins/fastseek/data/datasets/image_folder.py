"""A folder of images with metadata.csv beside them, as Hugging Face's ImageFolder takes it."""

from __future__ import annotations

import logging
import os
import pathlib

from ...errors import DataError
from ...io.paths import locate
from ...registry import DATASETS
from ...structures import ItemTable
from ...structures.item_table import join_tables
from ._query_share import part_queries
from .manifest import Manifest

logger = logging.getLogger(__name__)
TABLES = ("metadata.csv", "metadata.parquet")
FILE = "file_name"
SPLITS = {
    "train": "train",
    "validation": "query",
    "val": "query",
    "dev": "query",
    "query": "query",
    "test": "query",
    "gallery": "gallery",
}


@DATASETS.register()
class ImageFolder:
    """Images with a table metadata.csv (or metadata.parquet) that names them in a column file_name,
    relative to itself: one in the folder, or one in each of train/, validation/ and test/.

    With folders of splits the images of test/ are the queries, else those of validation/; the
    training images are searched, too. Other columns go into `Item.meta`.

    Args:
        root: the folder, as it stands or below one of the data roots; where it has data/ and no
            table, that.
        label: the column of the class.
        query: without folders of splits: the share (0..1) of every class held out as queries.

    Raises:
        ValueError: `query` together with folders of splits. DataError: there is no table, or a row
            of it cannot be; names it.

    Source: Hugging Face Datasets, ImageFolder (huggingface.co/docs/datasets/image_load)
    Example: image_folder('my/pets', label='breed', query=0.2)
    """

    def __init__(self, root: str, label: str = "label", query: float | None = None) -> None:
        home = locate(root, "the images")
        if not _tables(home) and (home / "data").is_dir():
            home = home / "data"
        tables = _tables(home)
        if not tables:
            raise DataError(
                f"{home}: expected metadata.csv with the columns {FILE},{label} there, or in train/,"
                " validation/ and test/ below it"
            )
        parts = {split: _read(table, home, label) for split, table in tables.items()}
        self.root = str(home)
        if "" not in parts:
            if query is not None:
                raise ValueError(f"{home} has folders of splits, so query= has no meaning")
            self.items: ItemTable = _join_splits(home, parts)
        elif query is not None:
            self.items = part_queries(parts[""], query)
        else:
            self.items = join_tables([parts[""], parts[""].in_split("gallery")])


def _tables(home: pathlib.Path) -> dict[str, pathlib.Path]:
    """The tables of a folder: under "" the one in it, else that of each split."""
    own = _table_in(home)
    if own is not None:
        return {"": own}
    found = {split: _table_in(home / split) for split in SPLITS}
    return {split: table for split, table in found.items() if table is not None}


def _table_in(folder: pathlib.Path) -> pathlib.Path | None:
    return next((folder / name for name in TABLES if (folder / name).is_file()), None)


def _read(table: pathlib.Path, home: pathlib.Path, label: str) -> ItemTable:
    """The images of a table, with ids relative to the whole folder."""
    below = os.path.relpath(table.parent, home)
    found = Manifest(str(table), columns={"path": FILE, "label": label}).items
    assert isinstance(found, ItemTable)
    return found if below == os.curdir else found.with_prefix(f"{below}/")


def _join_splits(home: pathlib.Path, parts: dict[str, ItemTable]) -> ItemTable:
    asks = next(
        (split for split in ("query", "test", "validation", "val", "dev") if split in parts), ""
    )
    roles = {split: SPLITS[split] for split in parts}
    left_out = [split for split, role in roles.items() if role == "query" and split != asks]
    if left_out:
        logger.info("%s: %s asks; left out: %s", home, asks, ", ".join(left_out))
    tables = [part.in_split(roles[split]) for split, part in parts.items() if split not in left_out]
    if "gallery" not in parts and "train" in parts:
        tables.append(parts["train"].in_split("gallery"))
    return join_tables(tables)
