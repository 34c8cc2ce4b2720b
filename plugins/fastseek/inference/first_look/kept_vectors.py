"""Vectors kept from one look to the next, so that only new and changed images are embedded."""

from __future__ import annotations

import logging
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import ArtefactError, DataError, UsageError
from ...io.json_files import read_json, write_json
from ...io.location_states import States
from ...io.paths import make_folder
from ...structures import Embeddings, Item, save_ids, save_manifest, save_shard, shard_name
from ...structures.embeddings_manifest import FORMAT
from ...structures.id_column import IdColumn
from ...structures.provenance import first_difference, join_engines

logger = logging.getLogger("fastseek")
STATES = "images.json"  # tells that a folder is one of these
# A file of a shard, or what a killed look left of it.
NAME = r"\d{5,}\.(vectors\.npy|ids\.npy|ids\.safetensors)"
SHARD = re.compile(rf"{NAME}|\.{NAME}\.tmp-\d+(-\d+)?")


class KeptVectors:
    """The vectors of some images by id, those of an earlier look among them.

    On disk it is an embeddings folder that grows shard by shard, with `images.json` beside its
    manifest, which tells the size and time of every image that has a vector. Whenever a process is
    killed, the folder holds what was saved last. One process at a time may use it.

    Args:
        folder: of the embeddings; made where it is missing.
        provenance: of the model, and the root of the ids. A folder of another model or root is
            begun anew.
        items: all images; vectors of others, and of images that have changed, are forgotten.

    Raises:
        UsageError: the folder holds files that something else has made.
    """

    def __init__(
        self, folder: pathlib.Path, provenance: Mapping[str, Any], items: Sequence[Item]
    ) -> None:
        self._folder, self._provenance = folder, dict(provenance)
        states = States()
        found = states.of_all(item.path for item in items)
        self._states = {item.id: one for item, one in zip(items, found, strict=True)}
        self._vectors: dict[str, np.ndarray] = {}
        self._shards: list[dict[str, Any]] = []
        self._saved: list[str] = []  # the names of their vectors, in order
        self._unsaved: list[str] = []
        self._ids = ""  # the file of the ids
        make_folder(folder)
        if not (folder / STATES).exists():
            _check_empty(folder)
            write_json(folder / STATES, {})
        self._take_over()

    def __contains__(self, name: str) -> bool:
        return name in self._vectors

    def __len__(self) -> int:
        return len(self._vectors)

    def tell_engine(self, provenance: Mapping[str, Any]) -> None:
        """Say what will run the model; where vectors are there already, that joins what ran it then."""
        before = self._provenance if self._vectors else {}
        self._provenance |= join_engines(before, provenance)

    def add(self, ids: Sequence[str], vectors: np.ndarray) -> None:
        """Take vectors [b, D]; `save` writes them."""
        self._vectors.update(zip(ids, vectors, strict=True))
        self._unsaved += ids

    def save(self) -> None:
        """Write what was added since the last time."""
        if not self._unsaved:
            return
        self._write(self._next_number())
        saved = {name: self._states[name] for name in self._vectors}
        write_json(self._folder / STATES, saved)

    def select(self, names: Iterable[str]) -> Embeddings:
        """The embeddings of images by name, in that order; those without a vector are left out.

        Raises:
            DataError: none has one.
        """
        known = [name for name in names if name in self._vectors]
        if not known:
            raise DataError("no image could be embedded")
        vectors = np.stack([self._vectors[name] for name in known])
        return Embeddings(np.array(known), vectors, self._provenance)

    def _take_over(self) -> None:
        """Read what an earlier look has left, and forget what no longer holds."""
        earlier = self._read_earlier()
        if earlier is None:
            self._sweep(keep_manifest=False)
            return
        manifest: dict[str, Any] = read_json(self._folder / "manifest.json")
        states = _read_states(self._folder / STATES)
        for name, vector in zip(earlier.ids.tolist(), np.asarray(earlier.vectors), strict=True):
            if name in self._states and states.get(name) == self._states[name]:
                self._vectors[name] = vector
        self._provenance |= join_engines(earlier.provenance, {})
        self._ids = manifest.get("ids", {}).get("file", "")
        self._shards, self._saved = manifest["shards"], earlier.ids.tolist()
        if len(self._vectors) < len(earlier) or manifest["format"] != FORMAT:
            self._rewrite()
        self._sweep()

    def _read_earlier(self) -> Embeddings | None:
        """The embeddings of this model and root, None where there are none."""
        if not (self._folder / "manifest.json").exists():
            return None
        try:
            earlier = Embeddings.load(self._folder, verify=True)
        except (ArtefactError, DataError) as error:
            logger.warning("%s: all images are embedded anew", error)
            return None
        differs = first_difference(earlier.provenance, self._provenance)
        if differs or earlier.provenance.get("root") != self._provenance["root"]:
            what = f"another {differs}" if differs else "another folder"
            logger.warning("%s is of %s: all images are embedded anew", self._folder, what)
            return None
        return earlier

    def _rewrite(self) -> None:
        """Put what still holds into a shard of its own; until its manifest is written the old ones
        count.
        """
        self._unsaved = list(self._vectors)
        if not self._unsaved:
            self._shards = []
            self._sweep(keep_manifest=False)
            return
        number = self._next_number()
        self._shards, self._saved = [], []
        self._write(number)

    def _next_number(self) -> int:
        numbers = [int(shard["vectors"].split(".")[0]) for shard in self._shards]
        return max(numbers, default=-1) + 1

    def _write(self, number: int) -> None:
        """Write a shard of what is not saved, all ids beside it, and the manifest of both; the files
        of the manifest before stay as they are until it is there.
        """
        name = shard_name(number)
        stacked = np.stack([self._vectors[one] for one in self._unsaved])
        self._shards.append(save_shard(self._folder, name, stacked))
        self._saved += self._unsaved
        self._unsaved = []
        ids = save_ids(self._folder, IdColumn.from_strings(self._saved), f"{name}.ids.safetensors")
        save_manifest(self._folder, self._shards, ids, self._provenance)
        self._ids = ids["file"]
        self._sweep()

    def _sweep(self, keep_manifest: bool = True) -> None:
        """Remove shards that no manifest names, and the manifest itself first where it is void."""
        if not keep_manifest:
            (self._folder / "manifest.json").unlink(missing_ok=True)
        named = {self._ids, *(shard["vectors"] for shard in self._shards)}
        for path in self._folder.iterdir():
            if SHARD.fullmatch(path.name) and path.name not in named:
                path.unlink()


def _check_empty(folder: pathlib.Path) -> None:
    """Refuse a folder that something else has written into.

    Raises:
        UsageError: it holds a file; a temporary one of a look that was killed is none.
    """
    names = sorted(path.name for path in folder.iterdir())
    foreign = [name for name in names if not name.startswith(f".{STATES}.tmp-")]
    if foreign:
        raise UsageError(
            f"{folder} holds {foreign[0]!r}, which no `fastseek try` has written: name another"
            " folder with --out"
        )


def _read_states(file: pathlib.Path) -> dict[str, str]:
    """What `images.json` tells; nothing where it is missing or damaged."""
    try:
        found = read_json(file)
    except DataError:
        return {}
    return found if isinstance(found, dict) else {}
