"""What an enhancer learned from one set and applies to others: kept in a .safetensors file with its
provenance.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import ArtefactError, DataError, UsageError
from ..io.atomic import atomic
from ..io.paths import PathLike
from ..structures import Embeddings
from ..structures.archive import Provenance
from ..structures.provenance import first_difference

FORMAT = 1
SIDES = ("queries", "gallery")
SHAPES = {
    "adapter": {"mean": "D", "directions": "nD", "blend": "1"},
    "center": {"mean": "D"},
    "pca": {"mean": "D", "directions": "DD", "variances": "D"},
    "quantile": {"quantiles": "nD"},
}  # what the fit of a kind holds; equal letters are equal lengths
WRITERS = {"adapter": "fastseek adapt"}  # of the kinds that no enhancer writes with save=
Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """What was learned.

    Args:
        kind: which enhancers can use it.
        arrays: what was learned, "mean" [D] or "quantiles" [n, D] among it.
        provenance: `rows` it was learned from, and the provenance of those (`source`).
    """

    kind: str
    arrays: Arrays
    provenance: Provenance

    @property
    def dim(self) -> int:
        """D, the length of the vectors it can be applied to."""
        return self.arrays["quantiles" if "quantiles" in self.arrays else "mean"].shape[-1]

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that differ when anything that was learned differs."""
        summed = hashlib.sha256(self.kind.encode())
        for name, array in sorted(self.arrays.items()):
            summed.update(f"{name} {array.dtype} {array.shape}".encode())
            summed.update(np.ascontiguousarray(array).tobytes())
        return summed.hexdigest()[:16]

    def check(self, side: Embeddings, name: str) -> None:
        """Check that the side comes from the model, and was treated as the vectors, this was
        learned from.

        Raises:
            ArtefactError: it does not; says in what they differ.
        """
        if side.dim != self.dim:
            raise ArtefactError(
                f"the {self.kind} was fitted on vectors of {self.dim} dimensions, the {name} have "
                f"{side.dim}: fit it on vectors of the same model"
            )
        source = self.provenance["source"]
        key = first_difference(source, side.provenance)
        if key:
            raise ArtefactError(
                f"the {self.kind} was fitted on vectors of another {key} than the {name}: "
                f"{str(source[key])[:200]} and {str(side.provenance[key])[:200]}; fit it again"
            )

    def save(self, path: PathLike) -> None:
        """Write a .safetensors file: the arrays, and the provenance as JSON in its metadata."""
        from safetensors.numpy import save

        told = {"format": FORMAT, "kind": self.kind, "passport": dict(self.provenance)}
        arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays.items()}
        with atomic(path) as file:
            file.write(save(arrays, {"fastseek": json.dumps(told, sort_keys=True)}))

    @classmethod
    def load(cls, path: PathLike, kind: str) -> Fit:
        """Read what `save` wrote.

        Raises:
            DataError: there is no such file, or it holds something else. ArtefactError: it is
                damaged.
        """
        from safetensors import SafetensorError, safe_open

        if not pathlib.Path(path).is_file():
            raise DataError(f"{path}: no such file; expected {_expect_source(kind)}")
        try:
            with safe_open(path, "numpy") as file:
                told = _parse_metadata((file.metadata() or {}).get("fastseek", "{}"))
                names = file.keys()
                arrays = {name: file.get_tensor(name) for name in names}
        except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
            raise ArtefactError(f"{path}: not a whole .safetensors file ({error})") from error
        if told.get("format") != FORMAT or told.get("kind") != kind:
            raise DataError(
                f"{path}: holds {told.get('kind', 'no fit')} of format {told.get('format')}, "
                f"expected {kind} of format {FORMAT}: write it with {_find_writer(kind)}"
            )
        _check_whole(path, kind, arrays, told.get("passport"))
        return cls(kind, arrays, told["passport"])


def _check_ours(path: PathLike) -> None:
    """Check that a file that is to be written is not there yet, or is a fit: a path in a recipe may
    be a stranger's.

    Raises:
        UsageError: something else is there, and would be lost.
    """
    from safetensors import SafetensorError, safe_open

    if not pathlib.Path(path).is_file() or not os.path.getsize(path):
        return
    try:
        with safe_open(path, "numpy") as file:
            ours = "fastseek" in (file.metadata() or {})
    except (SafetensorError, OSError, ValueError, TypeError):
        ours = False
    if not ours:
        raise UsageError(
            f"save={os.fspath(path)!r}: is there and is no fit of FastSeek: name another file, or"
            " remove it"
        )


def _parse_metadata(text: str) -> dict[str, Any]:
    told = json.loads(text)
    if not isinstance(told, dict):
        raise ValueError(f"it tells {text[:80]}")
    return told


def _check_whole(path: PathLike, kind: str, arrays: Arrays, provenance: Any) -> None:
    """Check that a file of ours holds all that was written, so that no error blames the vectors it
    is applied to.

    Raises:
        ArtefactError: it does not; says what is wrong.
    """
    wrong = _find_fault(arrays, SHAPES.get(kind, {}))
    if (
        not isinstance(provenance, dict)
        or not isinstance(provenance.get("source"), dict)
        or "rows" not in provenance
    ):
        wrong = "it does not tell what it was learned from"
    if wrong:
        raise ArtefactError(
            f"{path}: not a whole fit ({wrong}): write it anew with {_find_writer(kind)}"
        )


def _find_writer(kind: str) -> str:
    return WRITERS.get(kind, f"{kind}(save=…)")


def _expect_source(kind: str) -> str:
    """What a fit of a kind can be learned from, as errors say it."""
    file = f"a file that {WRITERS.get(kind, 'save=')} has written"
    return file if kind in WRITERS else f"fit={', '.join(SIDES)} or {file}"


def _find_fault(arrays: Arrays, shapes: Mapping[str, str]) -> str:
    """What the arrays lack of these shapes; "" for nothing."""
    lengths: dict[str, int] = {}
    for name, letters in shapes.items():
        if name not in arrays:
            return f"it lacks {name}"
        array = arrays[name]
        legal = tuple(
            lengths.setdefault(letter, length)
            for letter, length in zip(letters, array.shape, strict=False)
        )
        if array.ndim != len(letters) or array.shape != legal or not array.size:
            return f"{name} is {array.shape}"
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            return f"{name} holds what is no finite number"
    return ""


def fit_or_load(
    kind: str,
    fit: str,
    save: str,
    sides: tuple[Embeddings, Embeddings],
    learn: Callable[[Embeddings], Arrays],
) -> Fit:
    """Learn from one side, or read what was learned before; either way check that both sides can
    use it.

    Args:
        kind: which enhancers can use it.
        fit: "queries" or "gallery", which side to learn from, or the file of an earlier fit.
        save: file to keep it in; "" for none.
        sides: queries and gallery.
        learn: called with one side.

    Raises:
        ArtefactError, DataError: it cannot be read or does not fit the sides.
        UsageError: `save` is a file of something else.
    """
    if save:
        _check_ours(save)
    if fit in SIDES:
        source = sides[SIDES.index(fit)]
        found = Fit(kind, learn(source), {"rows": len(source), "source": dict(source.provenance)})
    else:
        found = Fit.load(fit, kind)
    for side, name in zip(sides, SIDES, strict=True):
        found.check(side, name)
    if save:
        found.save(save)
    return found
