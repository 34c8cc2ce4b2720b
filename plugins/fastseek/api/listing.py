"""What can be named: parts, and recipes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ..errors import UsageError
from ..io.paths import PathLike, find_recipe
from ..registry import Argument, read_arguments, read_docstrings, registries
from ..suggestions import did_you_mean


@dataclasses.dataclass(frozen=True)
class PartInfo:
    """A part that a call string can name.

    Args:
        kind: "search", "rerank", "enhance", "fuse", "metric" …
        name: as a call string spells it.
        what: what it does, in a sentence.
        source: the paper, contest or program it comes from; "" where it is our own.
        example: a call string, "" where its documentation has none.
    """

    kind: str
    name: str
    what: str
    source: str = ""
    example: str = ""

    def arguments(self) -> list[Argument]:
        """What the call string may give it; imports the part."""
        return read_arguments(registries()[self.kind], self.name)


def parts(kind: str | None = None) -> list[PartInfo]:
    """All parts, or those of one kind; none is imported.

    Raises:
        UsageError: no kind of part is called so.
    """
    kinds = registries()
    if kind is not None and kind not in kinds:
        hint = did_you_mean(kind, kinds, quoted=True)
        raise UsageError(
            f"no kind of part is called {kind!r}{hint or '.'} Known: {', '.join(kinds)}"
        )
    return [
        PartInfo(one, name, doc.what, doc.source, doc.example)
        for one in (kinds if kind is None else [kind])
        for name, doc in read_docstrings(kinds[one]).items()
    ]


def load_recipe(name: PathLike, changes: Sequence[str] = ()) -> Any:
    """Read a recipe; needs torch and fast-reid.

    Args:
        name: a file, or a name such as "Grocery/dolg_mobilenetv2".
        changes: KEY VALUE pairs, such as ["SOLVER.MAX_EPOCH", "3"].

    Returns:
        fast-reid's config, frozen.

    Raises:
        UsageError: there is no such recipe, or something in it is wrong; names file and line.
    """
    from ..config.recipe import load  # it needs fast-reid, which a search does not

    return load(find_recipe(str(name)), list(map(str, changes)))
