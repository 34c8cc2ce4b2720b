"""Foreign text made fit to be read."""

from __future__ import annotations

import unicodedata
from typing import Any

from markupsafe import Markup

_HIDDEN = {
    "Cc",
    "Cs",
    "Zl",
    "Zp",
}  # controls, lone surrogates (bytes of a file name that are no UTF-8), separators
_BIDI = set(
    map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
)  # can make a name read as another


def visible(value: Any) -> Any:
    """Text in which characters that hide or reorder others stand as their escapes (`\\x00`,
    `\\u202e`).

    Used on everything the page's template puts out; what is already `Markup` stays as it is.
    """
    if isinstance(value, Markup):
        return value
    return "".join(_escape(letter) if _hides(letter) else letter for letter in str(value))


def _hides(letter: str) -> bool:
    return unicodedata.category(letter) in _HIDDEN or letter in _BIDI


def _escape(letter: str) -> str:
    number = ord(letter)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
