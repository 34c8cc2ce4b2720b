"""What lies where in a tar file, read once from its headers and kept."""

from __future__ import annotations

import collections
import hashlib
import json
import logging
import pathlib
import tarfile
import zipfile
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np

from ...errors import DataError, UsageError, refuse_exhausted
from ...io.atomic import atomic
from ...io.image_formats import accepted_suffixes
from ...io.location_states import state_of
from ...io.locations import leads_out, member, open_location
from ...io.paths import data_roots
from ...progress import progress
from ...structures.id_column import IdColumn
from ...structures.item_columns import TextCollector
from ._image_scan import UNREAD, describe_unread

logger = logging.getLogger(__name__)

FORMAT = 1
LABEL, TEXT = ".cls", (".cls", ".json", ".txt")  # of a sample of webdataset beside its image
MOST_LABEL = 1 << 20  # bytes of a file that holds a label
BLOCK = 16384


class TarImages(NamedTuple):
    """The images of a tar file.

    Args:
        names: of the members.
        places: where each begins and how long it is, as `locations.member` tells it.
        labels: what a .cls file or the "label" of a .json file beside it says, "" for nothing.
    """

    names: IdColumn
    places: IdColumn
    labels: IdColumn


def read_tar(file: str) -> TarImages:
    """The images of a tar file; its index is kept in ~/.cache/fastseek/tar for the next time.

    Nothing is unpacked. Members that are no files, or whose names lead out of a folder, are passed
    over; so are files that are no images. All are counted in the log.

    Raises:
        DataError: it is not there, is compressed, or no tar file.
    """
    state = state_of(file)
    if state == "missing":
        raise DataError(f"{file} not found: name a .tar file")
    told = json.dumps([FORMAT, file, state, accepted_suffixes()])
    key = hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    kept = pathlib.Path(data_roots()[-1]) / "tar" / f"{key}.npz"
    found = _load(kept)
    if found is None:
        found = _scan(file)
        _save(kept, found)
    return found


def _load(kept: pathlib.Path) -> TarImages | None:
    try:
        with np.load(kept, allow_pickle=False) as page:
            columns = [
                IdColumn(page[f"{name}_letters"], page[f"{name}_offsets"])
                for name in TarImages._fields
            ]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # not there, or not whole: it is made anew
    same = len({len(column) for column in columns}) == 1
    return TarImages(*columns) if same else None


def _save(kept: pathlib.Path, found: TarImages) -> None:
    columns: dict[str, np.ndarray] = {}
    for name, column in found._asdict().items():
        columns |= {f"{name}_letters": column.letters, f"{name}_offsets": column.offsets}
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic(kept) as out:
            np.savez(out, allow_pickle=False, **columns)
    except (OSError, UsageError) as error:
        logger.warning("the index of a tar file cannot be kept (%s): it is read each time", error)


def _scan(file: str) -> TarImages:
    suffixes = accepted_suffixes()
    names, places, labels = TextCollector(), TextCollector(), TextCollector()
    counts: collections.Counter[str] = collections.Counter()
    unread: list[str] = []
    try:
        with open_location(file) as stream:
            for sample in _samples(_members(stream, file, counts)):
                label = ""
                images = []
                for one in sample:
                    suffix = pathlib.PurePath(one.name).suffix.lower()
                    if suffix in suffixes:
                        images.append(one)
                    elif suffix in TEXT:
                        label = label or _read_label(stream, one, suffix)
                    elif suffix in UNREAD or not suffix:
                        unread.append(one.name)
                    else:
                        counts[f"{suffix} files"] += 1
                names.add([one.name for one in images])
                places.add([member(one.offset_data, one.size) for one in images])
                labels.add([label] * len(images))
    except tarfile.CompressionError as error:
        raise DataError(f"{file}: {error}: unpack it to a .tar first") from error
    except tarfile.TarError as error:
        raise DataError(
            f"{file}: not a whole tar file ({error}); what is compressed is unpacked first, to a"
            " .tar, as its images are read where they lie"
        ) from error
    except OSError as error:
        refuse_exhausted(error, file)
        raise DataError(f"{file}: cannot be read ({error.strerror or error})") from error
    if unread:
        logger.warning("%s: %s", file, describe_unread(unread))
    if counts:
        told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        logger.info("%s: passed over: %s", file, told)
    return TarImages(names.column(), places.column(), labels.column())


def _members(
    stream: IO[bytes], file: str, counts: collections.Counter[str]
) -> Iterator[tarfile.TarInfo]:
    """The regular files, in their order; others are counted."""
    with tarfile.open(fileobj=stream, mode="r:") as archive:

        def entries() -> Iterator[tarfile.TarInfo]:
            while (one := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]
                yield one

        for one in progress(entries(), f"reading {pathlib.PurePath(file).name}", unit="members"):
            name = pathlib.PurePosixPath(one.name)
            if one.isdir() or any(part.startswith(".") for part in name.parts if part != ".."):
                continue
            if not one.isreg() or one.issparse():
                counts["links or devices"] += 1
            elif leads_out(one.name):
                counts["names that lead out (/, ..)"] += 1
            else:
                one.name = name.as_posix()
                yield one
        # tarfile takes a missing end for the end; half a copy would lose its last images unsaid.
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it has no end mark: it was not copied or written to its end")


def _samples(members: Iterator[tarfile.TarInfo]) -> Iterator[list[tarfile.TarInfo]]:
    """Members that follow each other and have one name up to its first dot."""
    sample: list[tarfile.TarInfo] = []
    key = ""
    for one in members:
        folder, _, name = one.name.rpartition("/")
        here = f"{folder}/{name.partition('.')[0]}"
        if sample and here != key:
            yield sample
            sample = []
        key = here
        sample.append(one)
    if sample:
        yield sample


def _read_label(stream: IO[bytes], one: tarfile.TarInfo, suffix: str) -> str:
    """What a file beside an image says of its class, "" where it says nothing."""
    if suffix not in (LABEL, ".json") or one.size > MOST_LABEL:
        return ""
    before = stream.tell()
    stream.seek(one.offset_data)
    text = stream.read(one.size).decode("utf-8", "replace")
    stream.seek(before)
    if suffix == LABEL:
        return text.strip()
    try:
        page = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    label = page.get("label") if isinstance(page, dict) else None
    known = isinstance(label, (str, int)) and not isinstance(label, bool)
    return str(label).strip() if known else ""
