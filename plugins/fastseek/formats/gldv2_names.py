"""What all who read Google Landmarks v2 (Weyand et al. 2020) go by: categories join label spaces,
ids name files.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping

from ..errors import DataError


def category(text: str) -> str:
    """The bare name of a Wikimedia category, whether given as address or name:
    "…/Category:Z%C3%BCrich" -> "Zürich".
    """
    return urllib.parse.unquote(text.strip().rsplit("Category:", 1)[-1]).replace(" ", "_")


def join_labels(theirs: Mapping[int, str], ours: Mapping[int, str]) -> dict[int, int]:
    """Landmark ids of one label space -> those of another, joined through the category, never by
    the number.

    Args:
        theirs: landmark id -> category, such as the index's.
        ours: likewise, such as the training set's.

    Returns:
        their landmark id -> ours, for the categories that both have.

    Raises:
        DataError: two of our landmarks have one category, so it tells nothing.
    """
    known: dict[str, int] = {}
    for landmark, name in ours.items():
        if known.setdefault(name, landmark) != landmark:
            raise DataError(
                f"landmarks {known[name]} and {landmark} have one category, {name!r}: labels cannot"
                " be joined through it"
            )
    return {landmark: known[name] for landmark, name in theirs.items() if name in known}


def layout(name: str, suffix: str = ".jpg") -> str:
    """Where an image lies below its split's folder: "0123…" -> 0/1/2/0123….jpg."""
    return f"{name[0]}/{name[1]}/{name[2]}/{name}{suffix}"
