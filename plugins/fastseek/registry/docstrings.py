"""The sections of a part's docstring: what it does, its arguments, its source, an example."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping

HEADS = ("Args", "Returns", "Raises", "Source", "Example")
_HEAD = re.compile(rf"^({'|'.join(HEADS)}):[ \t]*", re.MULTILINE)
_NAMES = re.compile(r"^(\w+(?:, \w+)*):\s+", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Docstring:
    """A docstring, taken apart.

    Args:
        what: its first paragraph, in one line.
        more: the paragraphs behind it.
        arguments: name, or several names joined with ", " -> what they mean, in one line.
        raises: the section "Raises".
        source: the paper, contest or program that a part comes from; "" where it is our own.
        example: a call string.
    """

    what: str
    more: str = ""
    arguments: Mapping[str, str] = dataclasses.field(default_factory=dict)
    raises: str = ""
    source: str = ""
    example: str = ""

    def meaning(self, name: str) -> str:
        """What an argument means, "" where the docstring says nothing of it."""
        for names, text in self.arguments.items():
            if name in names.split(", "):
                return text
        return ""


def split_docstring(text: str) -> Docstring:
    """Take a docstring apart."""
    head, *rest = _HEAD.split(inspect.cleandoc(text))
    what, _, more = head.partition("\n\n")
    sections = dict(zip(rest[::2], rest[1::2], strict=True))
    return Docstring(
        join_lines(what),
        more.strip(),
        _split_arguments(sections.get("Args", "")),
        join_lines(sections.get("Raises", "")),
        join_lines(sections.get("Source", "")),
        join_lines(sections.get("Example", "")),
    )


def join_lines(text: str) -> str:
    """A paragraph in one line."""
    return " ".join(text.split())


def _split_arguments(text: str) -> dict[str, str]:
    _, *rest = _NAMES.split(inspect.cleandoc(f"\n{text}"))
    return dict(zip(rest[::2], map(join_lines, rest[1::2]), strict=True))
