"""What parts there are, and what each is called with.

fastseek parts                       every kind with its parts
fastseek parts rerank                one kind: its contract, and its parts with their arguments
fastseek parts rerank k_reciprocal   one part: its arguments and its whole description
fastseek parts k_reciprocal          the same, whatever kind it is of
fastseek parts --plugin my_parts.py  with those of a plugin
fastseek parts --markdown            all of it as the page docs/parts.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from ..errors import UsageError
from ..suggestions import did_you_mean
from ._arguments import add_plugin_option, import_plugins, make_parser
from ._terminal import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..registry import Argument, Docstring, Registry


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("parts", __doc__)
    parser.add_argument("kind", nargs="?", default="", help="a kind of part, or a part")
    parser.add_argument("name", nargs="?", default="", help="a part of that kind")
    parser.add_argument("--markdown", action="store_true", help="all parts as a page of Markdown")
    add_plugin_option(parser)
    args = parser.parse_args(argv)
    if args.markdown and args.kind:
        raise UsageError("--markdown prints all parts: leave the kind out")
    import_plugins(args.plugin)
    if args.markdown:
        from ._reference_pages import parts_page

        sys.stdout.write(parts_page())
    else:
        tell(describe(args.kind, args.name))


def describe(kind: str = "", name: str = "") -> str:
    """All kinds of parts, one kind, or one part, as text.

    Args:
        kind: a kind; a part of any kind, where no name is given; "" for all kinds.
        name: a part of the kind.

    Raises:
        UsageError: nothing is called so.
    """
    from ..registry import read_docstrings, registries

    kinds = registries()
    docs = {one: read_docstrings(members) for one, members in kinds.items()}
    if not kind:
        return "\n\n".join(_list_kind(one, docs[one]) for one in kinds)
    if name:
        _check_name(kind, kinds, "kind of part")
        _check_name(name, docs[kind], f"part of kind {kind}")
        return _describe_part(kind, name, docs[kind][name], kinds[kind])
    if kind in kinds:
        return _describe_kind(kind, docs[kind], kinds[kind])
    found = [one for one in kinds if kind in docs[one]]
    if not found:
        _check_name(
            kind, [*kinds, *(part for one in docs.values() for part in one)], "part or kind of part"
        )
    return "\n\n".join(_describe_part(one, kind, docs[one][kind], kinds[one]) for one in found)


def _check_name(name: str, known: Iterable[str], what: str) -> None:
    known = list(known)
    if name not in known:
        hint = did_you_mean(name, known, quoted=True) or "; see fastseek parts"
        raise UsageError(f"no {what} is called {name!r}{hint}")


def _list_kind(kind: str, docs: dict[str, Docstring]) -> str:
    width = max(map(len, docs))
    lines = [f"  {name:<{width}}  {doc.what}" for name, doc in docs.items()]
    return "\n".join([f"{kind}:", *lines])


def _describe_kind(kind: str, docs: dict[str, Docstring], members: Registry[Any]) -> str:
    import inspect

    lines = [inspect.cleandoc(members.__doc__ or ""), "", f"{kind}:"]
    for name, doc in docs.items():
        arguments = ", ".join(map(str, _arguments(name, doc, members)))
        lines += [f"  {name}({arguments})", f"      {doc.what}"]
    return "\n".join(lines)


def _describe_part(kind: str, name: str, doc: Docstring, members: Registry[Any]) -> str:
    arguments = _arguments(name, doc, members)
    lines = [f"{kind}: {name}({', '.join(map(str, arguments))})", "", doc.what]
    lines += ["", doc.more] if doc.more else []
    lines += ["", "Arguments:"] if arguments else []
    for one in arguments:
        lines += [f"  {one}", *_wrap(one.meaning)]
    lines += ["", "Raises:", *_wrap(doc.raises)] if doc.raises else []
    lines += ["", f"Source: {doc.source}"] if doc.source else []
    lines += ["", f"Example: {doc.example}"] if doc.example else []
    return "\n".join(lines)


def _arguments(name: str, doc: Docstring, members: Registry[Any]) -> list[Argument]:
    """The arguments of a part; without their types where the part cannot be imported here."""
    from ..registry import Argument, read_arguments

    try:
        return read_arguments(members, name)
    except (ImportError, UsageError):  # it needs torch or another library that is not installed
        return [Argument(one, "", "", text) for one, text in doc.arguments.items()]


def _wrap(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 96, initial_indent="      ", subsequent_indent="      ")
