"""A table of images: CSV or Parquet with the columns path, label and, if wanted, group, split, id
and others.
"""

from __future__ import annotations

import itertools
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import DataError
from ...io.locations import (
    absolute,
    find_location,
    is_file,
    join_location,
    leads_out,
    parent,
    parquet_root,
)
from ...registry import DATASETS
from ...structures import Item, ItemTable, Kind, parse_geolocation
from ...structures.geolocation import KEYS
from ...structures.item_columns import find_first, take, text_at
from ...structures.item_table import join_tables
from ...structures.item_table_builder import ItemTableBuilder
from ._file_patterns import common_root, find_files, name_below, names_several
from ._query_share import part_queries
from ._table_blocks import (
    PATH_INSIDE,
    ROW,
    Block,
    ImageColumn,
    image_column,
    read_blocks,
)

SPLITS = ("train", "query", "gallery", "test", "distractor")
COLUMNS = ("path", "label", "group", "split", "id")
PATH_ALONE = {"path": "path"}
OPTIONAL = ("image",)  # looked for in Parquet, or where it is named
KIND_OF = {"": 0, **{split: kind for kind, split in enumerate(SPLITS)}}
_FIELD = re.compile(r"\{(\w+)\}")
# What a path between two line ends that is an id already has none of.
_ODD = ("//", "/./", "\n/", "\n./", "/\n", "/.\n", "\n.\n")


@DATASETS.register()
class Manifest:
    """Images listed in a table with a header: `path,label[,group,split,id,…]`; other columns go
    into `Item.meta`.

    Of those lat, lon (degrees), date (ISO 8601) and location_uncertainty (metres) are checked, see
    `structures.geolocation`; box, the shares "left top right bottom", is what SEEK.CROPS boxes()
    cuts.

    CSV may be separated by comma, semicolon or tab, with or without BOM, quotes and CRLF. White
    space around a label, group, split or id is no part of it. An empty split means "train". To
    train on an image and search in it too, list it twice with two splits.

    A Parquet file may hold the images, too: in a column of bytes, or of bytes and path as Hugging
    Face writes them, that is called image. The id is then what `id` or `path` tells, else the number
    of the row; where a pattern names several files, below the name of each.

    Lists of Kaggle are read by the names of their columns: `manifest('train.csv', path='image',
    label='cultivar', folder='train_images')`.

    Args:
        file: the table, as it stands or below one of the data roots; a pattern that names several,
            with * or braces as of a shell; or an address (s3://…, https://…).
        root: the folder or address relative paths start from; the table's own when not given. Rows
            may name addresses below it, and no others.
        columns: where the table calls them otherwise: our name of a column -> the table's, such as
            {"path": "image", "label": "cultivar"}.
        query: where no row has a split: the share (0..1) of every class held out as queries, the
            rest is trained on and searched in.
        path: the column of the paths, or a pattern of several, such as '{chain}/{image}'.
        label: the column of the labels.
        folder: below the table's own folder, the one relative paths start from.

    Raises:
        ValueError: a column we do not know or that is named twice, a share outside 0..1, `query`
            with a table that has splits, or both root and folder.
        DataError: names file:line, what is wrong there and what was expected.

    Example: manifest('list.csv', query=0.2)
    """

    def __init__(
        self,
        file: str = "",
        root: str | None = None,
        columns: Mapping[str, str] | None = None,
        query: float | None = None,
        path: str = "",
        label: str = "",
        folder: str = "",
    ) -> None:
        if not file:  # what the table was called before
            file, path = path, ""
        names, pattern = _choose_columns(columns or {}, path, label)
        tables = _find_tables(file)
        if folder and root is not None:
            raise ValueError(f"{file}: root={root!r} and folder={folder!r} say the same: name one")
        base = common_root(tables) if names_several(file) else ""
        parts, splits = [], False
        for table in tables:
            held = image_column(table, names)
            if held is not None and root is not None:
                raise ValueError(f"{table} holds its images, so root= has no meaning")
            if held is not None:
                self.root = absolute(table)
            else:
                beside = join_location(parent(table), folder) if folder else parent(table)
                self.root = beside if root is None else find_location(root, "the images")
            reader = _ItemReader(self.root, names, held, pattern)
            items = reader.read(table)
            splits |= reader.has_splits
            below = f"{name_below(base, table)}/" if base and held is not None else ""
            parts.append(items.with_prefix(below) if below else items)
        items = join_tables(parts)
        if base:
            self.root = base if root is None else self.root
            _check_apart(file, items)
        if query is not None:
            if splits:
                raise ValueError(f"{file} has splits, so query= has no meaning")
            items = part_queries(items, query)
        self.items: Sequence[Item] = items


def has_splits(path: str) -> bool:
    """Whether a row of a table says which split it belongs to."""
    blocks = (block for table in _find_tables(path) for block in read_blocks(table, PATH_ALONE))
    return any(any(block.columns.get("split", ())) for block in blocks)


def _find_tables(path: str) -> list[str]:
    """The tables that a name or pattern stands for."""
    if names_several(path):
        return find_files(path, "the list of images")
    return [find_location(path, "the list of images")]


def _check_apart(path: str, items: ItemTable) -> None:
    """Refuse several tables of which two have one id in one split."""
    for kind in {kind.split for kind in items.of}:
        ids = items.with_split(kind).ids
        again = np.flatnonzero(find_first(ids) != np.arange(len(ids)))
        if len(again):
            raise DataError(
                f"{path}: id {text_at(ids, int(again[0]))!r} stands in two of the tables with the"
                " same split; ids must differ"
            )


def _name_columns(given: Mapping[str, str]) -> dict[str, str]:
    """Our name of every column -> the table's.

    Raises:
        ValueError: a name that is none of ours.
    """
    unknown = sorted(set(given) - {*COLUMNS, *OPTIONAL})
    if unknown or not all(isinstance(name, str) for name in given.values()):
        raise ValueError(
            f"columns={dict(given)!r}: expected what the table calls {', '.join(COLUMNS)}, such as"
            " {'path': 'image', 'label': 'cultivar'}"
        )
    return {**{name: name for name in COLUMNS}, **given}


def _choose_columns(
    columns: Mapping[str, str], path: str, label: str
) -> tuple[dict[str, str], str]:
    """Our name of every column -> the table's, and the pattern that makes a path of several.

    Raises:
        ValueError: a column is named in both ways.
    """
    fields = _FIELD.findall(path)
    given = {"path": fields[0] if fields else path, "label": label}
    given = {name: column for name, column in given.items() if column}
    twice = sorted(given.keys() & columns.keys())
    if twice:
        raise ValueError(f"{twice[0]} is named in columns= and by itself: name it once")
    return _name_columns({**columns, **given}), path if fields else ""


class _ItemReader:
    """Blocks of rows to a table of items.

    A block is looked through column by column; only one in which something is wrong is read row by
    row, for the first fault and its place.

    Args:
        root: the folder relative paths start from.
        columns: what we call a column -> what the table calls it.
        held: the column that holds the images themselves, if one does.
        pattern: makes a path of several columns, such as "{chain}/{image}"; "" for one column.
    """

    def __init__(
        self, root: str, columns: dict[str, str], held: ImageColumn | None, pattern: str = ""
    ) -> None:
        self.root, self.columns, self.held, self.pattern = root, columns, held, pattern
        self.has_splits = False
        self._whole_root = join_location(absolute(root), "")
        self._known = {*columns.values(), ROW, PATH_INSIDE}
        self._checked_backslash = False
        place = root if held is None else parquet_root(root, held.inside)
        of = [Kind(split, place, with_id=held is not None) for split in SPLITS]
        self._builder = ItemTableBuilder(of)

    def add(self, block: Block) -> None:
        """The images of a block.

        Raises:
            DataError: what is wrong in its first bad row.
        """
        paths, labels, groups, splits, ids = (
            self._texts(block, name, strip=name != "path") for name in COLUMNS
        )
        if self.pattern:
            paths = self._fill_pattern(block)
        if self.held is not None:
            inside = zip(paths, block.columns[PATH_INSIDE], block.columns[ROW], strict=True)
            paths = [path or name or str(row) for path, name, row in inside]
        for name, texts in zip(COLUMNS, (paths, labels, groups, splits, ids), strict=True):
            _check_zero(block, name, texts)
        joined = "\n".join(paths)
        if (
            not KIND_OF.keys() >= set(splits)
            or self.held is None
            and self._are_unusual(paths, joined)
        ):
            self._check_rows(block, paths, splits)
        self.has_splits |= any(splits)
        own = self._ids_of(paths) if _is_odd(joined) else paths
        ids = [given or name for given, name in zip(ids, own, strict=True)] if any(ids) else own
        meta = {name: cells for name, cells in block.columns.items() if name not in self._known}
        if meta.keys() & set(KEYS):
            _check_geolocations(block, meta)
        kinds = [KIND_OF[split] for split in splits] if any(splits) else 0
        names = [*map(str, block.columns[ROW])] if self.held else self._names_of(paths, ids)
        self._builder.add(ids, kinds, labels, names=names, groups=groups, meta=meta)

    def read(self, file: str) -> ItemTable:
        """All images of a table.

        Raises:
            DataError: it has none, or an id stands twice in one split.
        """
        for block in read_blocks(file, self.columns):
            self.add(block)
        items = self._builder.build()
        if not len(items):
            raise DataError(f"{file}: has no rows below its header")
        repeated = [_find_repeated(items, kind) for kind in range(len(SPLITS))]
        found = min((one for one in repeated if one is not None), default=None)
        if found is not None:
            row, before = found
            places = [_place_of(file, self.columns, one) for one in (row, before)]
            raise DataError(
                f"{places[0]}: id {items[row].id!r} stands already in {places[1]} with the same"
                " split; ids must differ"
            )
        return items

    def _texts(self, block: Block, name: str, strip: bool) -> Sequence[str]:
        column = self.columns[name]
        cells = block.columns.get(column)
        if cells is None:
            return [""] * len(block)
        texts = cells
        if not set(map(type, cells)) <= {str}:
            texts = [_text(block, row, column, cell) for row, cell in enumerate(cells)]
        return [text.strip() for text in texts] if strip else texts

    def _fill_pattern(self, block: Block) -> Sequence[str]:
        """The path of every row, of several of its cells."""
        parts = _FIELD.split(self.pattern)
        fields = parts[1::2]
        missing = [name for name in fields if name not in block.columns]
        if missing:
            raise DataError(f"{block.where(0)}: no column is called {missing[0]!r}")
        columns = [
            map(str, block.columns[part]) if place % 2 else itertools.repeat(part, len(block))
            for place, part in enumerate(parts)
        ]
        return ["".join(cells) for cells in zip(*columns, strict=True)]

    def _are_unusual(self, paths: Sequence[str], joined: str) -> bool:
        """Whether one of the paths may be one that is refused."""
        if "" in paths or "\\" in joined or "://" in joined:
            return True
        return not is_file(self.root) and (".." in joined or "\n/" in f"\n{joined}")

    def _check_rows(self, block: Block, paths: Sequence[str], splits: Sequence[str]) -> None:
        """Refuse the first row with a path or split that cannot be."""
        for row, (path, split) in enumerate(zip(paths, splits, strict=True)):
            if not path:
                raise DataError(f"{block.where(row)}: the path is empty")
            if self.held is None:
                self._check_backslash(block, row, path)
                self._check_address(block, row, path)
            if split not in KIND_OF:
                raise DataError(
                    f"{block.where(row)}: split {split!r} is none of {', '.join(SPLITS)}"
                )

    def _check_backslash(self, block: Block, row: int, path: str) -> None:
        # A file may have a backslash in its name; where the first does not exist, Windows wrote it.
        if "\\" in path and os.sep == "/" and not self._checked_backslash:
            self._checked_backslash = True
            if not os.path.exists(os.path.join(self.root, path)):
                raise DataError(
                    f"{block.where(row)}: path {path!r} is one of Windows, where \\ divides folders:"
                    " write /, and leave out a drive such as C:"
                )

    def _check_address(self, block: Block, row: int, path: str) -> None:
        # A list may come from a stranger, and this machine may reach what the stranger may not.
        below = path.removeprefix(self._whole_root)
        if not is_file(below) or not is_file(self.root) and leads_out(below):
            raise DataError(
                f"{block.where(row)}: {path!r} is not below {self.root}: say where the images are"
                " with root=, such as manifest('list.csv', root='https://host/images')"
            )

    def _ids_of(self, paths: Sequence[str]) -> Sequence[str]:
        """Paths as ids: below the root relative to it, so that a folder that is moved keeps them."""
        inside = [path.removeprefix(self._whole_root) for path in paths]
        return [pathlib.PurePath(path).as_posix() if _is_odd(path) else path for path in inside]

    def _names_of(self, paths: Sequence[str], ids: Sequence[str]) -> Sequence[str] | None:
        """What the files are called below the root, where the ids do not tell."""
        if paths is ids or all(
            os.path.join(self.root, path) == os.path.join(self.root, image)
            for path, image in zip(paths, ids, strict=True)
            if path is not image
        ):
            return None
        if is_file(self.root):
            return paths
        return [path.removeprefix(self._whole_root) for path in paths]


def _is_odd(paths: str) -> bool:
    """Whether a path, or one of several in a line each, may not be an id as it is."""
    lines = f"\n{paths}\n"
    return any(sign in lines for sign in _ODD)


def _find_repeated(items: ItemTable, kind: int) -> tuple[int, int] | None:
    """The first row of a kind whose id stood before in it, and where; None where there is none."""
    rows = np.flatnonzero(items.kinds == kind)
    first = find_first(take(items.ids, rows))
    again = np.flatnonzero(first != np.arange(len(rows)))
    return (int(rows[again[0]]), int(rows[first[again[0]]])) if len(again) else None


def _place_of(file: str, columns: Mapping[str, str], row: int) -> str:
    """What a message calls a row, by its number in the whole table."""
    for block in read_blocks(file, columns):
        if row < len(block):
            return block.where(row)
        row -= len(block)
    return file


def _check_geolocations(block: Block, meta: Mapping[str, Sequence[Any]]) -> None:
    """Refuse the first row whose place or date cannot be."""
    for row, cells in enumerate(zip(*meta.values(), strict=True)):
        try:
            parse_geolocation(dict(zip(meta, cells, strict=True)), "")
        except DataError as error:  # the line of a row takes a reading of the file: asked for once
            raise DataError(f"{block.where(row)}{error}") from error


def _check_zero(block: Block, column: str, texts: Sequence[str]) -> None:
    """Refuse the first text with a NUL byte, which would be lost from the end of an id."""
    if "\0" in "".join(texts):
        row = next(row for row, text in enumerate(texts) if "\0" in text)
        raise DataError(
            f"{block.where(row)}: {column} {texts[row]!r} holds a NUL byte; expected plain text"
        )


def _text(block: Block, row: int, column: str, value: Any) -> str:
    if value is None:
        return ""
    # A column that was read as numbers with gaps is one of floats: 1.0 would be no class of ours.
    if isinstance(value, (bool, float)) or not isinstance(value, (str, int)):
        raise DataError(
            f"{block.where(row)}: {column} is {value!r}; expected text or a whole number"
        )
    return str(value)
