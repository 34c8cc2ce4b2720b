"""The images of a page of answers: id, label, thumbnail, and perhaps a link to the file."""

from __future__ import annotations

import os
import pathlib
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..io.paths import PathLike
from ..structures import Ranking
from ..structures.identity import root_of
from ..structures.listed_ids import Ids
from .thumbnails import Album, Images, ImageSources, Place, Thumbnails, find


class Labels(NamedTuple):
    """The labels of the two sides, "" where an image has none: [Q] and [G] strings, or of the gallery
    those of the rows that are shown.
    """

    queries: Sequence[str] | np.ndarray
    gallery: Sequence[str] | np.ndarray | Mapping[int, str]


class ImageNames:
    """What a template asks of an image.

    Args:
        ranking: tells the ids, and the roots they are relative to.
        images: where the images are, see `find`.
        asked, found: rows of the queries and of the gallery images that are shown.
        labels: of both sides; none when not given.
        home: the folder of the page, to link the files of the images from it; no links when not
            given.
        known: thumbnails made earlier; those made now are added.
    """

    def __init__(
        self,
        ranking: Ranking,
        images: Images | ImageSources,
        asked: Iterable[int],
        found: Iterable[int],
        labels: Labels | None = None,
        home: PathLike | None = None,
        known: Thumbnails | None = None,
    ) -> None:
        sources = images if isinstance(images, ImageSources) else ImageSources(images, images)
        self._ranking, self._labels, self._home = ranking, labels, home
        self._queries = _find_files(
            asked, ranking.query_ids, sources.queries, root_of(ranking.provenance, "queries")
        )
        self._gallery = _find_files(
            found, ranking.gallery_ids, sources.gallery, root_of(ranking.provenance, "gallery")
        )
        paths = (*self._queries.values(), *self._gallery.values())
        self.album = Album([path for path in paths if path is not None], known=known)

    def name_query(self, row: int) -> dict[str, str]:
        """Query number `row`."""
        label = self._labels.queries[row] if self._labels else ""
        return self._describe(str(self._ranking.query_ids[row]), str(label), self._queries[row])

    def name_answer(self, row: int) -> dict[str, str]:
        """Gallery image number `row`."""
        label = self._labels.gallery[row] if self._labels else ""
        return self._describe(str(self._ranking.gallery_ids[row]), str(label), self._gallery[row])

    def _describe(self, name: str, label: str, path: Place | None) -> dict[str, str]:
        return {
            "id": name,
            "file": name.replace("\\", "/").rsplit("/", 1)[-1],
            "label": label,
            "image": self.album.name(path),
            "link": _link(path, self._home) if path and self._home else "",
        }


def _find_files(
    rows: Iterable[int], ids: Ids, images: Images, root: str
) -> dict[int, Place | None]:
    return {row: find(str(ids[row]), images, root) for row in dict.fromkeys(rows)}


def _link(path: Place, home: PathLike) -> str:
    """A relative address of a file, "" where none leads there, as to another drive, or into a tar
    file.
    """
    if isinstance(path, str):
        return ""
    try:
        relative = os.path.relpath(path, home)
    except ValueError:
        return ""
    address = urllib.parse.quote(os.fsencode(pathlib.PurePath(relative).as_posix()))
    # A name with a colon in its first part would be taken for the scheme of an address.
    return address if address.startswith(".") else f"./{address}"
