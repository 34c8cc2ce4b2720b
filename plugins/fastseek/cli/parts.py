"""What parts there are, and what each is called with.

fastseek parts                       every kind with its members
fastseek parts rerank                one kind: its contract, and its members with their arguments
fastseek parts k_reciprocal          one part: its arguments and its whole description
fastseek parts --plugin my_parts.py  with those of a plugin
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import UsageError
from ..suggestions import near_names
from ._arguments import add_plugin_option, import_plugins, make_parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..registry import Registry


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
    import inspect

    from ..registry import registries

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
        known = [*kinds, *(part for members in kinds.values() for part in members.names())]
        near = near_names(name, known)
        hint = f"did you mean {near[0]!r}?" if near else "see fastseek parts"
        raise UsageError(f"no part and no kind of part is called {name!r}; {hint}")
    return "\n\n".join(_describe_part(kind, name, members.get(name)) for kind, members in found)


def _list_kind(kind: str, members: Registry, arguments: bool = False) -> str:
    lines = [f"{kind}:"]
    for name in members.names():
        part = members.get(name)
        text = f"{name}{_spell_arguments(part)}" if arguments else name
        lines.append(f"  {text}  {_first_line(part)}")
    return "\n".join(lines)


def _describe_part(kind: str, name: str, part: Callable[..., object]) -> str:
    import inspect

    text = inspect.cleandoc(part.__doc__ or "")
    return f"{kind}: {name}{_spell_arguments(part)}\n\n{text}"


class _Spelled(str):
    """An annotation that is shown as it is written in the source, without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def _spell_arguments(part: Callable[..., object]) -> str:
    import inspect

    parameters = [
        one.replace(annotation=_Spelled(one.annotation)) if one.annotation is not one.empty else one
        for one in inspect.signature(part).parameters.values()
    ]
    return str(inspect.Signature(parameters))


def _first_line(part: Callable[..., object]) -> str:
    return (part.__doc__ or "").strip().partition("\n")[0]
