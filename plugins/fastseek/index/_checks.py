"""Whether an index is whole: every byte, every id, every number."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import numpy as np

from ..errors import FastSeekError
from .engines import read_structure
from .manifest import Manifest, check_file, files_of, read_manifest
from .segment import Segment, read_blocks
from .view import View


def check_view(line: pathlib.Path) -> list[str]:
    """What is wrong with a line, a sentence a fault."""
    try:
        manifest = read_manifest(line)
    except FastSeekError as error:
        return [str(error)]
    faults = list(_check_files(line, manifest))
    try:
        view = View(line, manifest)
    except FastSeekError as error:
        return faults if str(error) in faults else [*faults, str(error)]
    faults += [fault for segment in view.segments for fault in _check_segment(line, segment)]
    keys = view.keys()
    twice = int(np.count_nonzero(keys[1:] == keys[:-1]))
    if twice:
        faults.append(f"{line}: {twice} ids stand in two segments")
    return [*faults, *_check_structure(line, manifest)]


def _check_files(line: pathlib.Path, manifest: Manifest) -> Iterator[str]:
    for file in files_of(manifest):
        try:
            check_file(line, file, verify=True)
        except FastSeekError as error:
            yield str(error)


def _check_segment(line: pathlib.Path, segment: Segment) -> Iterator[str]:
    where = f"{line}: segment {segment.entry.number}"
    if (segment.keys[1:] <= segment.keys[:-1]).any():
        yield f"{where}: the ids are not sorted"
    if len(segment.live) != len(segment):
        yield f"{where}: {len(segment)} images by the manifest, {len(segment.live)} by the file"
    bad = sum(
        int(np.count_nonzero(~np.isfinite(block).all(axis=1)))
        for block in read_blocks(segment.vectors)
    )
    if bad:
        yield f"{where}: {bad} vectors are not finite"


def _check_structure(line: pathlib.Path, manifest: Manifest) -> Iterator[str]:
    entry = manifest.structure
    if entry is None or not (line / entry.file.name).exists():
        return  # the latter is told of as a file
    rows = {one.number: one.rows for one in manifest.segments}
    try:
        found = read_structure(line / entry.file.name).ntotal
    except RuntimeError as error:
        yield f"{line / entry.file.name}: faiss cannot read it ({str(error).splitlines()[0]})"
        return
    if rows.get(entry.segment) != found:
        yield f"{line / entry.file.name}: holds {found} images, its segment {rows.get(entry.segment)}"
