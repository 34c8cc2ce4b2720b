"""What a person may have meant by a name that is not there.

It costs a command that is called right nothing: difflib is imported by the first wrong name.
"""

from __future__ import annotations

from collections.abc import Iterable


def near_names(wanted: str, known: Iterable[str], most: int = 1, least: float = 0.6) -> list[str]:
    """The names most alike, small and capital letters taken for the same, the nearest first.

    Args:
        wanted: the name that is not there.
        known: those that are.
        most: how many at most.
        least: how alike they must be, from 0 to 1.
    """
    import difflib

    by_letters = {one.lower(): one for one in known}
    found = difflib.get_close_matches(wanted.lower(), by_letters, most, least)
    return [by_letters[one] for one in found]


def did_you_mean(wanted: str, known: Iterable[str], quoted: bool = False) -> str:
    """The end of an error about a name, "; did you mean map?", or "" where none is near."""
    near = near_names(wanted, known)
    if not near:
        return ""
    return f"; did you mean {repr(near[0]) if quoted else near[0]}?"
