"""docs/parts.md and docs/keys.md, made from what parts and keys say of themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..registry import (
    Docstring,
    Registry,
    read_arguments,
    read_docstrings,
    registries,
)

PARTS_HEAD = """# Parts

Everything that a recipe or `--search`, `--rerank`, `--enhance`, `--fuse` and `--metrics` can name. `fastseek parts` lists them,
`fastseek parts rerank` shows one kind, and `fastseek parts rerank k_reciprocal` one part. Your own parts are
[one file each](contributing.md#add-a-part).

Made by `make docs` from the parts themselves: change their docstrings, not this page.
"""
KEYS_HEAD = """# Keys

Every key of a recipe. A recipe is YAML; on the command line a key stands behind the options, `SOLVER.MAX_EPOCH 3`.
`fastseek recipes explain RECIPE` shows the value of every key and the file that set it.

The last column says what a changed key makes stale. Finished work is kept as long as nothing it was made from changes:

| tag | another value |
| --- | --- |
| `shapes_model` | trains another model |
| `shapes_answer` | keeps the model; embeddings, rankings or class probabilities become others |
| `judges` | keeps the answer; only what is computed from it, or when, changes |
| `runs` | changes where, how fast and how safely it runs; nothing that is made changes |

Made by `make docs` from the package: change `config/keys.py`, not this page.
"""
THEIRS_HEAD = """
## fast-reid's keys

An unchanged fast-reid recipe runs as it is. The defaults are those of
[fast-reid 1.4.0](https://github.com/JDAI-CV/fast-reid/blob/master/fastreid/config/defaults.py); what is said of a key was read from what
the code does with it. Sizes are height and width in pixels.
"""

# Plugins add to what these may be.
REGISTERED = ("MODEL.META_ARCHITECTURE", "MODEL.BACKBONE.NAME", "MODEL.HEADS.NAME", "SOLVER.OPT")


def parts_page() -> str:
    """docs/parts.md; imports every part."""
    kinds = registries()
    docs = {kind: read_docstrings(members) for kind, members in kinds.items()}
    lines = [PARTS_HEAD, *_table(["kind", "what it is", "parts"], _kind_rows(kinds, docs))]
    for kind, members in kinds.items():
        lines += ["", f"## {kind}", "", _escape(inspect.cleandoc(members.__doc__ or "")), ""]
        lines += _table(["part", "what it does"], _part_rows(kind, docs[kind]))
        for name, doc in docs[kind].items():
            lines += ["", *_part_section(kind, name, doc, members)]
    return "\n".join(lines) + "\n"


def _kind_rows(
    kinds: dict[str, Registry[Any]], docs: dict[str, dict[str, Docstring]]
) -> Iterable[Sequence[str]]:
    for kind, members in kinds.items():
        what = (members.__doc__ or "").strip().partition("\n")[0]
        yield f"[{kind}](#{kind})", _escape(what), str(len(docs[kind]))


def _part_rows(kind: str, docs: dict[str, Docstring]) -> Iterable[Sequence[str]]:
    for name, doc in docs.items():
        yield f"[`{name}`](#{kind}-{name})", _escape(doc.what)


def _part_section(kind: str, name: str, doc: Docstring, members: Registry[Any]) -> list[str]:
    lines = [f"### {kind}: {name}", "", _escape(doc.what)]
    lines += ["", _escape(doc.more)] if doc.more else []
    lines += ["", f"    {doc.example}"] if doc.example else []
    arguments = read_arguments(members, name)
    rows = [
        (_code(one.name), _code(one.type), _code(one.default) or "needed", _escape(one.meaning))
        for one in arguments
    ]
    lines += ["", *_table(["argument", "type", "default", "what it is"], rows)] if rows else []
    lines += ["", f"Source: {_escape(doc.source)}"] if doc.source else []
    return lines


def keys_page() -> str:
    """docs/keys.md; imports fast-reid."""
    from ..config.keys import OURS, tag_of
    from ..config.nested import flatten
    from ..config.plugins import default_config
    from ..config.their_keys import MEANINGS

    own = {key.name for key in OURS}
    head = ["key", "type", "default", "legal", "tag", "what it is"]
    ours = [
        (
            _code(key.name),
            _type_name(key.default),
            _value(key.default),
            _legal(key),
            f"`{key.tag}`",
            _escape(key.comment),
        )
        for key in OURS
    ]
    theirs = [
        (
            _code(name),
            _type_name(value),
            _value(value),
            _their_legal(name),
            f"`{tag_of(name)}`",
            _escape(MEANINGS.get(name, "")),
        )
        for name, value in flatten(default_config()).items()
        if name not in own
    ]
    lines = [KEYS_HEAD, "## FastSeek's keys", "", *_table(head, ours)]
    lines += [THEIRS_HEAD, *_table(head, theirs)]
    return "\n".join(lines) + "\n"


def _legal(key: Any) -> str:
    if key.calls:
        several = "calls of" if isinstance(key.default, list) else "a call of"
        return f"{several} [{key.calls}](parts.md#{key.calls})"
    if isinstance(key.legal, tuple):
        return ", ".join(map(_code, key.legal))
    return str(key.legal or "")


def _their_legal(name: str) -> str:
    from ..config.validation import NAMES, RANGES

    if name in REGISTERED:
        return "a registered name"
    return (
        ", ".join(map(_code, sorted(NAMES[name]()))) if name in NAMES else str(RANGES.get(name, ""))
    )


def _type_name(value: Any) -> str:
    return {"str": "text", "bool": "yes or no", "int": "whole number", "float": "number"}.get(
        type(value).__name__, "list"
    )


def _value(value: Any) -> str:
    return _code(repr(value))


def _code(text: str) -> str:
    """Text as code in a cell of a table; "" stays."""
    return f"`{text}`".replace("|", "\\|") if text else ""


def _escape(text: str) -> str:
    """Plain text as Markdown: what stands between backticks is left as it is."""
    pieces = re.split(r"(`[^`]*`)", text)
    pieces[::2] = [
        re.sub(r"([*_{}\[\]|])", r"\\\1", one).replace("<", "&lt;") for one in pieces[::2]
    ]
    return "".join(pieces)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", "|" + " --- |" * len(head), *lines]
