"""The name `passport`, which `provenance` had at first; it goes with version 0.2."""

from __future__ import annotations

import functools
import warnings
from typing import Any, TypeVar

Noun = TypeVar("Noun")
OLD, NEW = "passport", "provenance"


def accept_old_field_name(noun: type[Noun]) -> type[Noun]:
    """Let a class with a field `provenance` be built and read by `passport` too, with a warning.

    What was pickled, and the keys of files, are not touched.
    """
    constructor = noun.__init__

    @functools.wraps(constructor)
    def build(self: Any, *args: Any, **kwargs: Any) -> None:
        if OLD in kwargs:
            _warn(noun)
            kwargs[NEW] = kwargs.pop(OLD)
        constructor(self, *args, **kwargs)

    def read(self: Any) -> Any:
        """The provenance, by its old name."""
        _warn(noun)
        return getattr(self, NEW)

    setattr(noun, "__init__", build)  # noqa: B010 (a plain assignment is an error for mypy)
    setattr(noun, OLD, property(read))
    return noun


def _warn(noun: type) -> None:
    warnings.warn(
        f"{noun.__name__}.{OLD} is called {NEW}; the old name goes with version 0.2",
        DeprecationWarning,
        stacklevel=3,
    )
