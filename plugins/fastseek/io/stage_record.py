"""What a folder of a workflow was made from: the one notion of "finished".

A stage (a training, a clustering, an answer) writes its files into its folder and then, last of
all, a record. The stage is finished when the record's digest is that of the inputs it would have
now and all files it names are as they were written.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from ..errors import DataError
from .code_version import current_commit
from .digests import digest, sha256
from .json_files import read_json, write_json

RECORD, FORMAT = "stage.json", 2
BEGUN: Literal["begun"] = "begun"
FINISHED: Literal["finished"] = "finished"
CHANGED = "what it is made from has changed"
MISSING = "missing"  # stands for a key that only one of two inputs has
SHOWN_DIFFERENCES = 5


@dataclasses.dataclass(frozen=True)
class Stage:
    """A finished stage.

    Args:
        folder: where it lies.
        digest: of its inputs.
        files: name below the folder -> SHA-256.
        results: what it reports: "row" of results.json, and what later stages want to know.
    """

    folder: pathlib.Path
    digest: str
    files: Mapping[str, str]
    results: Mapping[str, Any]

    @property
    def mark(self) -> str:
        """Stands for this stage among the inputs of one that reads it."""
        return digest({"digest": self.digest, "files": dict(self.files)})

    def path(self, start: str) -> pathlib.Path:
        """The file whose name starts so."""
        return self.folder / next(name for name in sorted(self.files) if name.startswith(start))


@dataclasses.dataclass(frozen=True)
class StageRecord:
    """The record of one stage.

    Args:
        folder: of the stage.
        inputs: all that shapes its files, as JSON values, written for a person to read.
        name: the record's file name; a folder holds two records when a stage wraps another.
        former: digests by which earlier versions recorded the same inputs; "" accepts a record
            of theirs that has none.
        needs: names of files that must be there, whether the record lists them or not.
    """

    folder: pathlib.Path
    inputs: Mapping[str, Any]
    name: str = RECORD
    former: Collection[str] = ()
    needs: Collection[str] = ()

    @property
    def path(self) -> pathlib.Path:
        """The record's file."""
        return self.folder / self.name

    def is_finished(self) -> bool:
        """Whether the stage was made from these inputs and its files are as they were written."""
        return not self.refusal()

    def has_same_inputs(self) -> bool:
        """Whether the stage was begun or finished with these inputs, whatever its files are."""
        found = _read(self.path)
        return found is not None and not self._difference(found)

    def was_finished(self) -> bool:
        """Whether a stage was finished here once, of whatever inputs."""
        found = _read(self.path)
        return found is not None and found.state == FINISHED

    def recorded_inputs(self) -> Any:
        """What the stage that was begun or finished here was made from; None where not known."""
        found = _read(self.path)
        return None if found is None else found.inputs

    def load(self) -> Stage | None:
        """The stage if it is finished."""
        if self.refusal():
            return None
        found = _read(self.path)
        if found is None:
            return None
        return Stage(self.folder, found.digest, found.hashes, found.results)

    def refusal(self) -> str:
        """Why the stage is not finished, for a person; "" when it is."""
        found = _read(self.path)
        if found is None:
            return f"it has no {self.name} that can be read"
        different = self._difference(found)
        if different:
            return different
        if found.state != FINISHED:
            return "it was begun and not finished"
        return next(self._damages(found), "")

    def begin(self) -> None:
        """Record that the stage is at work, so that a killed one is known again."""
        self._write(BEGUN, {}, {})

    def finish(self, files: Iterable[pathlib.Path], results: Mapping[str, Any]) -> Stage:
        """Record that the stage is finished; call it last of all.

        Args:
            files: what the stage has made, in its folder.
            results: what it reports, as JSON values.
        """
        made = {
            path.relative_to(self.folder).as_posix(): _File(sha256(path), path.stat().st_size)
            for path in files
        }
        record = self._write(FINISHED, made, results)
        return Stage(self.folder, record.digest, record.hashes, results)

    def _write(
        self,
        state: Literal["begun", "finished"],
        files: Mapping[str, _File],
        results: Mapping[str, Any],
    ) -> _Record:
        record = _Record(
            state=state,
            digest=digest(self.inputs),
            inputs=_plain(self.inputs),
            files=dict(files),
            results=dict(results),
            commit=_commit(),
        )
        # A table made from the results has its columns in the order it had at first.
        write_json(self.path, msgspec.to_builtins(record), keep_order=True)
        return record

    def _difference(self, found: _Record) -> str:
        """How the recorded inputs differ from these; "" when they do not."""
        if found.digest in (digest(self.inputs), *self.former):
            return ""
        if found.inputs is None:
            return CHANGED
        return describe_differences(found.inputs, _plain(self.inputs))

    def _damages(self, found: _Record) -> Iterator[str]:
        """What is wrong with the files, the cheap checks first."""
        for name in (*found.files, *self.needs):
            if not (self.folder / name).is_file():
                yield f"{name} is missing"
        for name, file in found.files.items():
            path = self.folder / name
            same_size = file.bytes in (None, path.stat().st_size)
            if not same_size or sha256(path) != file.sha256:
                yield f"{name} is not as it was written"


def describe_differences(old: Any, new: Any) -> str:
    """The keys in which two nested values differ: "A.B: 1 -> 2; C: 3 -> missing"."""
    found = list(_differences(old, new, ""))
    more = len(found) - SHOWN_DIFFERENCES
    shown = found[:SHOWN_DIFFERENCES] + ([f"and {more} more"] if more > 0 else [])
    return "; ".join(shown) or CHANGED


def _differences(old: Any, new: Any, prefix: str) -> Iterator[str]:
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        if old != new:
            yield f"{prefix.removesuffix('.')}: {_short(old)} -> {_short(new)}"
        return
    for key in dict.fromkeys([*old, *new]):
        yield from _differences(old.get(key, MISSING), new.get(key, MISSING), f"{prefix}{key}.")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


class _File(msgspec.Struct, frozen=True):
    sha256: str
    bytes: int | None = None  # None in records of before this was written


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """A record as it stands in the file."""

    format: int = FORMAT
    state: Literal["begun", "finished"] = FINISHED
    digest: str
    inputs: Any = None  # None in records of before this was written
    files: dict[str, _File] = {}
    results: dict[str, Any]
    commit: str = ""

    @property
    def hashes(self) -> dict[str, str]:
        """Name of every file -> SHA-256."""
        return {name: file.sha256 for name, file in self.files.items()}


def _read(path: pathlib.Path) -> _Record | None:
    """The record in a file; None where there is none that can be read."""
    try:
        return msgspec.convert(_in_form_of_today(read_json(path)), _Record)
    except (DataError, msgspec.ValidationError):
        return None


def _in_form_of_today(found: Any) -> Any:
    """Rewrite the records of earlier versions.

    They were stage.json of self-training ("told"), before.json of a run ("of" and "row"), and
    done.json of an ablation (results alone, no digest).
    """
    if not isinstance(found, dict) or found.get("format") == FORMAT:
        return found
    if found.keys() == {"of", "row"}:
        inputs = found["of"]
        return {"digest": digest(inputs), "inputs": inputs, "results": {"row": found["row"]}}
    if found.get("format") == 1 and found.keys() >= {"digest", "files", "told"}:
        files = {name: {"sha256": value} for name, value in found["files"].items()}
        return {"digest": found["digest"], "files": files, "results": found["told"]}
    return {"digest": "", "results": found} if "format" not in found else None


def _plain(value: Any) -> Any:
    """A value as it comes back from a JSON file."""
    return json.loads(json.dumps(value, default=str), parse_constant=str)


@functools.cache
def _commit() -> str:
    return current_commit()
