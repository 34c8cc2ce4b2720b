"""A file in which a faiss index is kept, and the page beside it that tells of what it is."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

from ..errors import ArtefactError, UsageError
from ..io.digests import sha256
from ..io.json_files import read_json, write_json
from ..structures.archive import Provenance
from ..structures.provenance import first_difference
from ._faiss_library import import_faiss

FORMAT = 1
PAGE = {"format", "index", "sha256", "gallery", "passport"}
START, LETTERS = 8, 4  # bytes of an index on disk that tell its kind and dimension; the kind alone


class IndexFile(NamedTuple):
    """A file, there or not, and the options of the index that belongs into it."""

    path: pathlib.Path
    options: dict[str, Any]

    @property
    def page(self) -> pathlib.Path:
        """Beside the index: what it is of. Written last, so that half an index does not count."""
        return self.path.with_name(f"{self.path.name}.json")

    def is_there(self) -> bool:
        """Whether an index was written to its end."""
        return self.path.exists() and self.page.exists()

    def check_ours(self, index: Any) -> None:
        """Refuse a file or page that is there and is none of ours; an index whose page was never
        written is ours.

        Raises:
            UsageError: it is not, and would be lost.
        """
        start = bytes(import_faiss().serialize_index(index)[:START])
        found = self._read_start() if self.path.is_file() else start
        if len(found) > LETTERS and found != start:
            raise UsageError(
                f"{self.path} is no index of such vectors and would be lost: name another file"
            )
        page = read_json(self.page) if self.page.exists() else dict.fromkeys(PAGE)
        if not isinstance(page, dict) or not PAGE <= set(page):
            raise UsageError(
                f"{self.page} is no page of an index and would be lost: name another file"
            )

    def _read_start(self) -> bytes:
        try:
            with open(self.path, "rb") as there:
                return there.read(START)
        except OSError as error:
            raise UsageError(
                f"{self.path}: cannot be read ({error.strerror}): name another file"
            ) from error

    def read_page(self, provenance: Provenance) -> dict[str, Any]:
        """What is told of the index, if it is as asked for.

        Args:
            provenance: of the queries.

        Raises:
            ArtefactError: it is another index, or of another model than the queries.
        """
        page = read_json(self.page)
        if not isinstance(page, dict) or page.get("format") != FORMAT or not PAGE <= set(page):
            raise ArtefactError(
                f"{self.page}: not an index page of format {FORMAT}, which this version reads"
            )
        if page["index"] != self.options:
            raise ArtefactError(
                f"{self.path} holds {page['index']}, not {self.options}: name another file"
            )
        key = first_difference(provenance, page["passport"])
        if key:
            raise ArtefactError(
                f"{self.path} was built with another {key} than the queries: name another file"
            )
        return page

    def write_page(self, gallery: str, provenance: Provenance, **more: Any) -> dict[str, Any]:
        """Make the index count: tell of what gallery it is, and of what model."""
        page = {
            "format": FORMAT,
            "index": self.options,
            "sha256": sha256(self.path),
            "gallery": gallery,
            "passport": dict(provenance),
            **more,
        }
        write_json(self.page, page)
        return page

    def has_digest(self, page: Mapping[str, Any]) -> bool:
        """Whether the bytes are those that were written; all are read."""
        return bool(page["sha256"] == sha256(self.path))

    def is_older_than_page(self) -> bool:
        """Whether the index has not changed since its page was written: it need not be read to
        trust it.
        """
        return self.path.stat().st_mtime_ns <= self.page.stat().st_mtime_ns

    def damaged(self) -> ArtefactError:
        """The error that tells that the bytes are others."""
        return ArtefactError(
            f"{self.path}: the bytes are not those that were written: delete it to build it again"
        )


def write_index(file: IO[bytes], index: Any) -> None:
    """Write an index into an open file."""
    import_faiss().write_index(index, import_faiss().PyCallbackIOWriter(file.write))
