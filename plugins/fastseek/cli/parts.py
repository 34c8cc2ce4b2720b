"""What parts there are, and what each is called with.

fastseek parts                       every kind with its members
fastseek parts rerank                one kind: its contract, and its members with their arguments
fastseek parts k_reciprocal          one part: its arguments and its whole description
fastseek parts --plugin my_parts.py  with those of a plugin
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

from ..errors import UsageError
from ..registry import Registry, registries
from ._arguments import add_plugin_option, import_plugins, make_parser


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("parts", __doc__)
    parser.add_argument("name", nargs="?", default="", help="a kind of part, or a part")
    add_plugin_option(parser)
    args = parser.parse_args(argv)
    import_plugins(args.plugin)
    print(describe(args.name))


def describe(name: str = "") -> str:
    """All kinds of parts, one kind, or one part, as text.

    Raises:
        UsageError: nothing is called so.
    """
    kinds = registries()
    if not name:
        return "\n\n".join(_list_kind(kind, kinds[kind]) for kind in kinds)
    if name in kinds:
        contract = inspect.cleandoc(kinds[name].__doc__ or "")
        return f"{contract}\n\n{_list_kind(name, kinds[name], arguments=True)}"
    found: list[tuple[str, Registry]] = [
        (kind, members) for kind, members in kinds.items() if name in members
    ]
    if not found:
        raise UsageError(f"no part and no kind of part is called {name!r}; see fastseek parts")
    return "\n\n".join(_describe_part(kind, name, members.get(name)) for kind, members in found)


def _list_kind(kind: str, members: Registry, arguments: bool = False) -> str:
    lines = [f"{kind}:"]
    for name in members.names():
        part = members.get(name)
        text = f"{name}{inspect.signature(part)}" if arguments else name
        lines.append(f"  {text}  {_first_line(part)}")
    return "\n".join(lines)


def _describe_part(kind: str, name: str, part: Callable[..., object]) -> str:
    text = inspect.cleandoc(part.__doc__ or "")
    return f"{kind}: {name}{inspect.signature(part)}\n\n{text}"


def _first_line(part: Callable[..., object]) -> str:
    return (part.__doc__ or "").strip().partition("\n")[0]
