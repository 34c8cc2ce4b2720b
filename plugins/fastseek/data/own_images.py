"""The user's own images: as a list of what is to be embedded, and as a data set of a recipe."""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import DataError
from ..io.image_formats import accepted_suffixes
from ..io.location_states import States
from ..io.locations import (
    absolute,
    check_url,
    find_location,
    is_file,
    is_url,
    join_location,
    parent,
)
from ..io.paths import PathLike
from ..registry import DATASETS, build
from ..structures import Embeddings, Item, ItemTable, geolocation
from ..structures.file_list import ListedImages, read_list
from ..structures.identity import unique_items
from ..structures.item_columns import text_at
from .datasets import folder, manifest, webdataset
from .single_image import read_single_image

TABLES = (".csv", ".parquet", ".pq", ".txt", ".tsv")
_CALL = re.compile(r"[a-z_0-9]+\(.*\)", re.DOTALL)
TOLD = (*geolocation.KEYS, "box")  # of what is known of an image, what shapes its embedding
HELD_OUT = 0.2  # of every class, where nobody says which images are queries


def images_of(images: PathLike) -> tuple[Sequence[Item], str]:
    """The images of a folder (every image below it), of a table or of tar files, each image once, of
    a text file that lists files, or one image; and what ids are relative to.

    Args:
        images: a path; an address (s3://…); a pattern of tar files; the call string of a data set,
            such as "manifest('list.csv', columns={'path': 'image'})"; or a list that was read.

    Raises:
        DataError: nothing is there, a file of another kind, or an id of the table names two files.
    """
    if isinstance(images, ListedImages):
        return images.items, images.root
    text = os.fspath(images)
    single, listed = read_single_image(text), read_list(text)
    if listed is not None:
        return listed
    items: Sequence[Item]
    if single is not None:
        items, root = [single], os.path.dirname(text)
    elif _CALL.fullmatch(text):
        found = build(text, DATASETS)
        items, root = unique_items(found.items, text), str(getattr(found, "root", ""))
    elif is_url(text) and _names_image(text):
        items, root = [Item(check_url(text), id=text.rpartition("/")[2])], parent(text)
    elif webdataset.names_tars(text) and not os.path.isdir(text):
        items, root = webdataset.list_tars(text)
    elif os.path.isdir(text) or is_url(text) and not _is_table(text):
        root = find_location(text, "images")
        items = folder.list_images(root)
    else:
        _check_there(text)
        table = manifest.Manifest(text)
        items, root = unique_items(table.items, text), table.root
    if not len(items):
        raise DataError(f"{images}: no image found in it or below")
    return items, absolute(root)


def _names_image(path: str) -> bool:
    return pathlib.PurePath(path).suffix.lower() in accepted_suffixes()


def _is_table(path: str) -> bool:
    return pathlib.PurePath(path).suffix.lower() in TABLES


def _check_there(path: str) -> None:
    """Tables alone are looked for below the data roots, too.

    Raises:
        DataError: it is no table, and is not there.
    """
    if path == "-":
        raise DataError(
            "-: a list on standard input is read where a command takes images; here, write it into a"
            " .txt file and name that"
        )
    if not is_file(path) or os.path.exists(path) or _is_table(path):
        return
    raise DataError(f"{path} not found: name a folder of images, an image, or a table or list")


def source_of(items: Sequence[Item]) -> str:
    """SHA-256 over ids, sizes, times of change, places and boxes: another value means other or
    changed images.
    """
    digest = hashlib.sha256()
    states = States().of_all(path for _, path, _ in _facts(items))
    for (name, _, meta), described in zip(_facts(items), states, strict=True):
        for key in TOLD:
            described += f" {key} {meta[key]}" if key in meta else ""
        digest.update(f"{name}\0{described}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _facts(items: Sequence[Item]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Id, file and meta of every image; of millions in a table no items are made."""
    if not isinstance(items, ItemTable) or items.details.meta.keys() & set(TOLD):
        yield from ((item.id, item.path, item.meta) for item in items)
        return
    for row in range(len(items)):
        yield text_at(items.ids, row), items.path(row), {}


def describe_embeddings(found: Embeddings, total: int, what: str, out: PathLike) -> str:
    """A line telling how many of the images have a vector in `out`, how long it is, and how many
    could not be read.
    """
    lost = total - len(found)
    rest = (
        f"; {lost} could not be read, see {join_location(os.fspath(out), 'rejects.csv')}"
        if lost
        else ""
    )
    return f"{len(found)} of {total} images, {found.dim} {what} -> {out}{rest}"


def spell_data_set(images: PathLike) -> str:
    """The call string of a folder, table or tar of images, or one as it is; a fifth of every class is held out as queries
    where it has no splits of its own.

    Raises:
        DataError: nothing is there, it is one image, or a benchmark that is not read.
    """
    path = os.fspath(images)
    if _CALL.fullmatch(path):
        return path
    if path == "-":
        raise DataError(
            "-: a list on standard input has no labels to train on: name a folder that holds one"
            " folder a class, or a table with the columns path,label"
        )
    if read_single_image(path) is not None:
        raise DataError(
            f"{path} is one image: name the folder that holds one folder a class, or a table with the"
            " columns path,label"
        )
    benchmark = folder.spell_layout(path)
    if benchmark:
        return benchmark
    if webdataset.names_tars(path) and not os.path.isdir(path):
        part, splits = "webdataset", False
    elif os.path.isdir(path) or is_url(path) and not _is_table(path):
        part, splits = "folder", folder.has_splits(path)
    else:
        part, splits = "manifest", manifest.has_splits(path)
    return f"{part}({path!r})" if splits else f"{part}({path!r}, query={HELD_OUT})"
