"""From one model to another: the new vectors are made beside the old ones, and take their place in
one step.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ..errors import ArtefactError, DataError, RunError, UsageError, shorten
from ..io.digests import digest
from ..io.locks import hold_folder
from ..io.paths import PathLike
from ..structures import Embeddings
from ..structures.archive import Provenance
from ..structures.arrays import StringArray
from ..structures.provenance import KEYS, first_difference
from .folder_index import Index, make_line
from .incoming import make_plain
from .manifest import Manifest, Pointer, read_manifest, read_pointer, write_pointer
from .segment import read_blocks

CHUNK = 2048  # images whose vectors are stored at once: what a kill can cost
SAMPLE, DEPTH = 100, 10  # images, and answers of each, that are compared
# Ids and paths to batches of ids and vectors; what cannot be embedded is left out.
Embed = Callable[[Sequence[str], Sequence[str]], Iterable[tuple[Sequence[str], np.ndarray]]]


class NewModel(NamedTuple):
    """What an index is migrated to.

    Args:
        dim: numbers of a vector.
        provenance: what makes the vectors.
        embed: called with ids and the paths of their files, "" where none is known.
        content: a hash of the vectors, for those whose provenance tells no model; without it a
            migration of such vectors does not go on after a kill, but begins anew.
    """

    dim: int
    provenance: Provenance
    embed: Embed
    content: str = ""


class Plan(NamedTuple):
    """What a migration has to do: images in all, those that are made already, and those whose
    file is not there.
    """

    images: int
    done: int
    missing: int


class Comparison(NamedTuple):
    """How alike the answers of two models are: the mean share of the `k` nearest images that both
    give, over `queries` images of the index.
    """

    overlap: float | None
    k: int
    queries: int


class Line(Index):
    """One line of an index, also one that is not current; who writes to it holds its folder."""

    def _line(self) -> pathlib.Path:
        return self.folder

    def _hold(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def plan_migration(folder: PathLike, model: NewModel, root: PathLike | None = None) -> Plan:
    """What a migration would do; nothing is written.

    Args:
        folder: an index.
        model: the new one.
        root: a folder that ids are paths below, for images whose file is not known.

    Raises:
        UsageError: the index is of that model already.
    """
    index = Index.open(folder)
    _refuse_same(index, model)
    pointer = read_pointer(index.folder)
    done = 0
    if _is_begun(pointer, model):
        upcoming = Line(index.folder / pointer.upcoming)
        done = len(index) - len(_find_todo(index, upcoming))
    ids = index.ids.tolist()
    missing = sum(not os.path.isfile(path) for path in _paths(index, ids, root))
    return Plan(len(index), done, missing)


def migrate(
    folder: PathLike,
    model: NewModel,
    root: PathLike | None = None,
    switch: bool = True,
    sample: int = SAMPLE,
    k: int = DEPTH,
) -> Comparison:
    """Make the vectors of another model beside those of an index, compare the answers, and switch.

    Others search and change the index meanwhile; what they change is caught up with before the
    switch, which is one rename. Killed, the same call goes on. The old vectors are kept until the
    next switch, for `roll_back`.

    Args:
        folder: an index.
        model: the new one.
        root: as for `plan_migration`.
        switch: whether the new vectors become current; else the same call later does that.
        sample: images on which the answers are compared, at most.
        k: answers compared.

    Raises:
        UsageError: the index is of that model already.
        DataError: images cannot be embedded; nothing is switched.
        RunError: another process is writing, or migrates the index.
    """
    folder = pathlib.Path(folder)
    index = Index.open(folder)
    _refuse_same(index, model)
    with contextlib.ExitStack() as held:
        upcoming = Line(_claim_line(folder, model, held))
        _catch_up(index, upcoming, model, root)
        compared = compare_answers(index, upcoming, sample, k)
        if switch:
            _switch(index, upcoming, model, root)
    return compared


def _switch(index: Index, upcoming: Line, model: NewModel, root: PathLike | None) -> None:
    """Make the new vectors current, unless that is done already."""
    folder, mine = index.folder, upcoming.folder.name
    with hold_folder(folder):
        pointer = read_pointer(folder)
        if pointer.current == mine:
            return
        if (pointer.upcoming, pointer.model) != (mine, _key(model)):
            raise RunError(
                f"{folder}: another migration was begun meanwhile, so nothing was switched: run the"
                " command again if this model is still wanted"
            )
        index.refresh()
        _catch_up(index, upcoming, model, root)
        edited = read_manifest(upcoming.folder).edited
        made = Pointer(
            current=mine,
            previous=pointer.current,
            lines=pointer.lines,
            edited=edited,
            source=pointer.model,
        )
        write_pointer(folder, made)
        _remove_unnamed(folder, made)


def roll_back(folder: PathLike, force: bool = False) -> int:
    """Make the vectors from before the last migration current again; a second call undoes the
    first.

    Args:
        folder: an index.
        force: whether that is done although images were changed since.

    Returns:
        how many images there are now.

    Raises:
        UsageError: there is no line before.
        ArtefactError: images were added, deleted, replaced or given other metadata since.
        RunError: another process is writing.
    """
    folder = pathlib.Path(folder)
    with hold_folder(folder):
        pointer = read_pointer(folder)
        if not pointer.previous:
            raise UsageError(f"{folder}: was not migrated, so there is nothing to go back to")
        now, before = (Line(folder / one) for one in (pointer.current, pointer.previous))
        if not force:
            _refuse_changed(pointer, now, before)
        write_pointer(
            folder,
            msgspec.structs.replace(
                pointer,
                current=pointer.previous,
                previous=pointer.current,
                edited=read_manifest(before.folder).edited,
                source="",
            ),
        )
        return len(before)


def _refuse_changed(pointer: Pointer, now: Index, before: Index) -> None:
    """Refuse to lose what was changed since the switch."""
    folder = now.folder.parent
    added = int(np.count_nonzero(~before.known(now.ids)))
    gone = int(np.count_nonzero(~now.known(before.ids)))
    if added or gone:
        raise ArtefactError(
            f"{folder}: since the migration {added} images were added and {gone} deleted, which"
            " the vectors from before do not know: say --force, and add or delete them again"
        )
    if pointer.edited not in (None, read_manifest(now.folder).edited):
        raise ArtefactError(
            f"{folder}: since the migration images were replaced, or given other metadata, which"
            " the vectors from before do not know: say --force, and upsert them again"
        )


def compare_answers(one: Index, other: Index, sample: int = SAMPLE, k: int = DEPTH) -> Comparison:
    """How alike two indexes answer, asked with images that both hold; an image is no answer to
    itself.
    """
    shared = one.ids[other.known(one.ids)]
    drawn = np.random.default_rng(0).permutation(len(shared))[:sample]
    names = shared[np.sort(drawn)]
    depth = min(k, len(shared) - 1)
    if not len(names) or depth < 1:
        return Comparison(None, max(depth, 0), len(names))
    both = [_answers(index, names, depth) for index in (one, other)]
    common = [len(mine & theirs) / depth for mine, theirs in zip(*both, strict=True)]
    return Comparison(round(sum(common) / len(common), 4), depth, len(names))


def _answers(index: Index, names: StringArray, depth: int) -> list[set[str]]:
    asked = index.vectors(names)
    ranking = index.search(Embeddings(names, asked.vectors, asked.provenance), depth + 1)
    listed = ranking.gallery_ids
    found = []
    for name, rows in zip(names.tolist(), ranking.indices, strict=True):
        others = [one for one in listed[rows[rows >= 0]].tolist() if one != name]
        found.append(set(others[:depth]))
    return found


def _refuse_same(index: Index, model: NewModel) -> None:
    told, new = index.provenance, dict(model.provenance)
    known = any(key in told and key in new for key in KEYS)
    same = known and index.dim == model.dim and not first_difference(told, new)
    # Vectors that tell no model are known by their content.
    source = read_pointer(index.folder).source
    if same or source and source == _key(model):
        raise UsageError(f"{index.folder}: its vectors are of this model already")


def _is_begun(pointer: Pointer, model: NewModel) -> bool:
    """Whether a migration to this model was begun."""
    return bool(pointer.upcoming and pointer.model) and pointer.model == _key(model)


def _key(model: NewModel) -> str:
    """What tells a model from others; "" where nothing does."""
    told = {key: model.provenance[key] for key in KEYS if key in model.provenance}
    if "model" in told:
        return digest({"dim": model.dim, **told})
    return digest({"dim": model.dim, **told, "content": model.content}) if model.content else ""


def digest_vectors(given: Embeddings) -> str:
    """SHA-256 of ids and vectors, for `NewModel.content`."""
    made = hashlib.sha256(digest(given.ids.tolist()).encode())
    for block in read_blocks(given.vectors):
        made.update(np.ascontiguousarray(block).data)
    return made.hexdigest()


def _claim_line(folder: pathlib.Path, model: NewModel, held: contextlib.ExitStack) -> pathlib.Path:
    """The line in which the new vectors are made: that of a killed migration to the same model, or
    a new one. It is held, so that a second migration is refused.
    """
    with hold_folder(folder):
        pointer = read_pointer(folder)
        if _is_begun(pointer, model):
            line = folder / pointer.upcoming
            held.enter_context(hold_folder(line))
            return line
        if pointer.upcoming:
            with hold_folder(folder / pointer.upcoming):
                pass  # refused while another migration is at work there
        return _make_line(folder, pointer, model, held)


def _make_line(
    folder: pathlib.Path, pointer: Pointer, model: NewModel, held: contextlib.ExitStack
) -> pathlib.Path:
    """A new line, in the place of what an unfinished migration left; the way back stays."""
    number = 1 + max(pointer.lines, *(int(path.name) for path in _lines_of(folder)))
    kept = msgspec.structs.replace(pointer, upcoming="", model="", lines=number)
    # First nothing names what is removed, then it is.
    write_pointer(folder, kept)
    _remove_unnamed(folder, kept)
    old = read_manifest(folder / pointer.current)
    provenance = make_plain(model.provenance)
    if "root" in old.provenance:
        provenance["root"] = old.provenance["root"]
    empty = Manifest(old.metric, old.engine, old.dtype, old.flat_below, provenance=provenance)
    line = folder / str(number)
    held.enter_context(hold_folder(line))
    make_line(line, empty)
    write_pointer(folder, msgspec.structs.replace(kept, upcoming=line.name, model=_key(model)))
    return line


def _remove_unnamed(folder: pathlib.Path, pointer: Pointer) -> None:
    """Remove the lines that are neither current nor the way back."""
    for path in _lines_of(folder):
        if path.name not in (pointer.current, pointer.previous):
            shutil.rmtree(path)


def _lines_of(folder: pathlib.Path) -> list[pathlib.Path]:
    return [path for path in folder.iterdir() if path.is_dir() and path.name.isdigit()]


def _catch_up(index: Index, upcoming: Index, model: NewModel, root: PathLike | None) -> None:
    """Bring the new line to the images and metadata of the old one."""
    gone = upcoming.ids[~index.known(upcoming.ids)]
    if len(gone):
        upcoming.delete(gone.tolist())
    todo = _find_todo(index, upcoming)
    # The root of the ids is that of the old line, which a model does not tell.
    root_known = {key: value for key, value in upcoming.provenance.items() if key == "root"}
    provenance = {**model.provenance, **root_known}
    with upcoming.batch():
        for names, vectors in _in_chunks(model.embed(todo, _paths(index, todo, root))):
            columns = _columns(index, names, upcoming)
            upcoming.upsert(names, vectors, columns, provenance)
        left = _find_todo(index, upcoming)
        if left:
            raise DataError(
                f"{index.folder}: {len(left)} images cannot be embedded anew, such as"
                f" {shorten(left[0])!r}: mend them, name the folder of the files with --images, or"
                " delete them from the index; the rest is kept, the same command goes on"
            )
        changed = _find_changed(index, upcoming)
        upcoming.update(changed, _columns(index, changed, upcoming))


def _in_chunks(
    batches: Iterable[tuple[Sequence[str], np.ndarray]],
) -> Iterator[tuple[list[str], np.ndarray]]:
    names: list[str] = []
    vectors: list[np.ndarray] = []
    for ids, block in batches:
        names += ids
        vectors.append(block)
        if len(names) >= CHUNK:
            yield names, np.concatenate(vectors)
            names, vectors = [], []
    if names:
        yield names, np.concatenate(vectors)


def _find_todo(index: Index, upcoming: Index) -> list[str]:
    """The images whose vectors are not made yet, or of another content."""
    ids = index.ids
    there = upcoming.known(ids)
    missing = ids[~there].tolist()
    both = ids[there].tolist()
    if "content" not in index.columns or not both:
        return missing
    now, made = (_content(one, both) for one in (index, upcoming))
    return missing + [name for name, a, b in zip(both, now, made, strict=True) if a != b]


def _content(index: Index, names: Sequence[str]) -> list[Any]:
    if "content" not in index.columns:
        return [None] * len(names)
    return index.metadata(names, ["content"])["content"]


def _find_changed(index: Index, upcoming: Index) -> list[str]:
    """The images whose metadata is another one."""
    ids = index.ids.tolist()
    mine, theirs = _columns(index, ids, upcoming), upcoming.metadata(ids)
    empty = [None] * len(ids)
    pairs = [(values, theirs.get(name, empty)) for name, values in mine.items()]
    return [
        name for row, name in enumerate(ids) if any(one[row] != other[row] for one, other in pairs)
    ]


def _columns(index: Index, names: Sequence[str], upcoming: Index) -> dict[str, list[Any]]:
    """The metadata of some images as the new line must have it.

    A column of which none has a value is left out where the new line does not know it: what is
    missing does not tell its kind.
    """
    found = {name: [None] * len(names) for name in upcoming.columns} | index.metadata(names)
    return {
        name: values
        for name, values in found.items()
        if name in upcoming.columns or any(one is not None for one in values)
    }


def _paths(index: Index, ids: Sequence[str], root: PathLike | None) -> list[str]:
    """The file of every image, as far as it is known."""
    stored: list[Any] = [None] * len(ids)
    if "path" in index.columns and len(ids):
        stored = index.metadata(ids, ["path"])["path"]
    if root is None:
        return [path or "" for path in stored]
    return [
        path if path and os.path.isfile(path) else os.path.join(root, name)
        for name, path in zip(ids, stored, strict=True)
    ]
