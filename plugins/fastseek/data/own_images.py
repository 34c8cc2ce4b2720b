"""The user's own images: as a list of what is to be embedded, and as a data set of a recipe."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Sequence

from ..errors import DataError
from ..io.paths import PathLike
from ..structures import Embeddings, Item, geolocation
from ..structures.file_list import read_list
from ..structures.identity import unique_items
from .datasets import folder, manifest
from .single_image import read_single_image

TABLES = (".csv", ".parquet", ".pq", ".txt", ".tsv")
HELD_OUT = 0.2  # of every class, where nobody says which images are queries


def images_of(images: PathLike) -> tuple[Sequence[Item], str]:
    """The images of a folder (every image below it) or a table, each image once, of a text file that
    lists files, or one image; and the folder ids are relative to.

    Raises:
        DataError: nothing is there, a file of another kind, or an id of the table names two files.
    """
    single, listed = read_single_image(images), read_list(images)
    if listed is not None:
        return listed
    items: Sequence[Item]
    if single is not None:
        items, root = [single], os.path.dirname(images)
    elif os.path.isdir(images):
        items, root = folder.list_images(os.fspath(images)), os.fspath(images)
    else:
        _check_there(images)
        table = manifest.Manifest(os.fspath(images))
        items, root = unique_items(table.items, os.fspath(images)), table.root
    if not len(items):
        raise DataError(f"{images}: no image found in it or below")
    return items, os.path.abspath(root)


def _check_there(images: PathLike) -> None:
    """Tables alone are looked for below the data roots, too.

    Raises:
        DataError: it is no table, and is not there.
    """
    path = os.fspath(images)
    if path == "-":
        raise DataError(
            "-: a list on standard input is read by embed --model and by search --queries; here,"
            " write it into a .txt file and name that"
        )
    if "://" in path or os.path.exists(path) or pathlib.Path(path).suffix.lower() in TABLES:
        return
    raise DataError(f"{path} not found: name a folder of images, an image, or a table or list")


def source_of(items: Sequence[Item]) -> str:
    """SHA-256 over ids, sizes, times of change, places and boxes: another value means other or
    changed images.
    """
    digest = hashlib.sha256()
    for item in items:
        try:
            # Times instead of contents: nobody reads a million images twice to learn that none changed.
            state = os.stat(item.path)
            described = f"{state.st_size} {state.st_mtime_ns}"
        except OSError:
            described = "missing"
        for key in (*geolocation.KEYS, "box"):
            described += f" {key} {item.meta[key]}" if key in item.meta else ""
        digest.update(f"{item.id}\0{described}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def describe_embeddings(found: Embeddings, total: int, what: str, out: PathLike) -> str:
    """A line telling how many of the images have a vector in `out`, how long it is, and how many
    could not be read.
    """
    lost = total - len(found)
    rest = f"; {lost} could not be read, see {pathlib.Path(out) / 'rejects.csv'}" if lost else ""
    return f"{len(found)} of {total} images, {found.dim} {what} -> {out}{rest}"


def spell_data_set(images: PathLike) -> str:
    """The call string of a folder or table of images; a fifth of every class is held out as queries
    where it has no splits of its own.

    Raises:
        DataError: nothing is there, it is one image, or a benchmark that is not read.
    """
    path = os.fspath(images)
    if read_single_image(path) is not None:
        raise DataError(
            f"{path} is one image: name the folder that holds one folder a class, or a table with the"
            " columns path,label"
        )
    if os.path.isdir(path):
        part, splits = "folder", folder.has_splits(path)
    else:
        part, splits = "manifest", manifest.has_splits(path)
    return f"{part}({path!r})" if splits else f"{part}({path!r}, query={HELD_OUT})"
