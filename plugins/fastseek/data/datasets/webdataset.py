"""Images in tar files, as webdataset writes them."""

from __future__ import annotations

import logging

import numpy as np

from ...errors import DataError
from ...io.locations import tar_root
from ...registry import DATASETS
from ...structures import ItemTable, Kind
from ...structures.item_columns import find_first, text_at
from ...structures.item_table import join_tables
from ...structures.item_table_builder import ItemTableBuilder
from ._file_patterns import common_root, find_files, name_below, names_several
from ._query_share import part_queries
from ._tar_index import BLOCK, read_tar
from .folder import label_of

logger = logging.getLogger(__name__)
SUFFIX = ".tar"


@DATASETS.register()
class Webdataset:
    """Images in one tar file or many, read where they lie: nothing is unpacked.

    The label of an image is what a file of its name that ends in .cls says, or "label" in one that
    ends in .json; else the folder it lies in. Its id is its name in the tar file, with several files
    below the name of its own (000/cats/1.jpg). Every image is both trained on and searched in.

    Args:
        tars: a .tar file, as it stands or below one of the data roots; a pattern that names several,
            with * or braces as of a shell ({000..127}); or an address (s3://…).
        query: the share (0..1) of every class held out as queries.

    Raises:
        ValueError: a share outside 0..1.
        DataError: no such file, no tar file, or no image in it.

    Source: Aizman, Maltby and Breuel, High Performance I/O For Large Scale Deep Learning, IEEE Big
        Data 2019 (arXiv 2001.01858)
    Example: webdataset('shards/{000..127}.tar', query=0.2)
    """

    def __init__(self, tars: str, query: float | None = None) -> None:
        items, self.root = list_tars(tars)
        if query is not None:
            self.items = part_queries(items, query)
        else:
            self.items = join_tables([items, items.in_split("gallery")])


def names_tars(name: str) -> bool:
    """Whether a name is that of a tar file or of several."""
    return name.lower().endswith(SUFFIX)


def list_tars(tars: str) -> tuple[ItemTable, str]:
    """The images of tar files, and what their ids are relative to.

    Raises:
        DataError: no such file, no tar file, or no image in it.
    """
    files, several = find_files(tars, "images"), names_several(tars)
    root = common_root(files) if several else files[0]
    parts = [_list_tar(file, f"{name_below(root, file)}/" if several else "") for file in files]
    items = join_tables(parts)
    if not len(items):
        raise DataError(f"{tars}: no image found in it")
    again = np.flatnonzero(find_first(items.ids) != np.arange(len(items)))
    if len(again):
        raise DataError(
            f"{tars}: id {text_at(items.ids, int(again[0]))!r} stands in two of the files; ids must"
            " differ: rename one of the two"
        )
    return items, root


def _list_tar(file: str, prefix: str) -> ItemTable:
    found = read_tar(file)
    builder = ItemTableBuilder([Kind("train", tar_root(file), with_id=True)])
    for start in range(0, len(found.names), BLOCK):
        rows = range(start, min(start + BLOCK, len(found.names)))
        names, places, told = (
            [text_at(column, row) for row in rows]
            for column in (found.names, found.places, found.labels)
        )
        labels = [label or label_of(name) for label, name in zip(told, names, strict=True)]
        builder.add([prefix + name for name in names], labels=labels, names=places)
    items = builder.build()
    # A file that was added once more stands there twice: the last one counts.
    first = find_first(items.ids)
    last = first.copy()
    last[first] = np.arange(len(first))
    kept = np.unique(last[first])
    if len(kept) == len(items):
        return items
    logger.info("%s: %d members are replaced by later ones", file, len(items) - len(kept))
    return items[kept]
