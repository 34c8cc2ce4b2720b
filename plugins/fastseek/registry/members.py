"""A registry of parts, and `build`, which turns a call string into a part."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

from fvcore.common.registry import Registry as FvcoreRegistry

from ..errors import UsageError, shorten, shorten_value
from .arguments import check_constructor_arguments, run_in_frame, stamp_when_built
from .calls import parse, recipe_name, spell_call, suggest_names, takes
from .loading import import_parts, part_files

PACKAGE = __package__.rpartition(".")[0]


Part = TypeVar("Part")


class Registry(FvcoreRegistry, Generic[Part]):
    """fvcore's registry; a class `KReciprocal` is known by its recipe name, `k_reciprocal`.

    Our own members live in one package, one a file, and are imported when they are first asked for:
    a member by its name alone, all of them when they are listed. Where the constructor of a class
    says `int`, `float` or `str`, it takes such values only, and a `seed` of 0 or more: others are a
    ValueError.

    What is built from a class knows its call string, `part.call`, with all arguments; those that
    the class names in `not_in_call` decide how the work is done and not what comes of it, and the
    first ones, in `unnamed_in_call`, are told without their names.

    Where the package has a module `_frame`, its function `run` stands between the caller and every
    member: it checks what goes in and writes the provenance of what comes out. So no member does.

    Args:
        name: what errors call a member.
        contract: what a member is called with and must return; becomes the docstring.
        package: the package below fastseek that holds our members; "" where all are registered by
            hand.
        framed: whether the package has a `_frame`.
        defaults: attributes that a class need not have -> their value where it has none.
        runtime: arguments that the program gives to members that name them, and no recipe does.
    """

    def __init__(
        self,
        name: str,
        contract: str,
        package: str = "",
        framed: bool = False,
        defaults: Mapping[str, Any] | None = None,
        runtime: Sequence[str] = (),
    ) -> None:
        super().__init__(name)
        self.package = f"{PACKAGE}.{package}" if package else ""
        self.frame = f"{self.package}._frame" if framed else ""
        self.defaults = dict(defaults or {})
        self.runtime = tuple(runtime)
        self.__doc__ = contract
        self._complete = not package  # whether every file of the package was imported

    def _do_register(self, name: str, obj: Any) -> None:
        super()._do_register(recipe_name(name), obj)
        if not inspect.isclass(obj):
            return
        check_constructor_arguments(obj)
        for attribute, value in self.defaults.items():
            if not hasattr(obj, attribute):
                setattr(obj, attribute, value)
        if self.frame:
            stamp_when_built(obj)
            run_in_frame(obj, self.frame)

    def __contains__(self, name: str) -> bool:
        if super().__contains__(name):
            return True
        if not self._complete and name in part_files(self.package):
            importlib.import_module(f"{self.package}.{name}")
        return bool(super().__contains__(name))

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        self._import_all()
        yield from super().__iter__()

    def get(self, name: str) -> Any:
        """The member of that name.

        Raises:
            UsageError: no such member; lists the known ones and the nearest.
        """
        if name not in self:
            raise UsageError(
                f"no {self._name} is called {shorten_value(name)}{suggest_names(name, self.names())}"
            )
        return super().get(name)

    def loaded(self) -> list[tuple[str, Any]]:
        """The members that were imported so far, by name; imports none."""
        return sorted(super().__iter__(), key=lambda pair: pair[0])

    def names(self) -> list[str]:
        """The recipe names of all members, sorted."""
        return sorted(name for name, _ in self)

    def _import_all(self) -> None:
        if not self._complete:
            self._complete = True  # before the imports: a member may list its fellows
            import_parts(self.package)


def build(call: str, registry: Registry[Part], **runtime: Any) -> Part:
    """Build the part a call string names; the part knows its call, `part.call`.

    Args:
        call: the call string of the recipe.
        registry: where its name is looked up.
        runtime: keyword arguments the contract of the registry adds (`labels=`, `channels=` …); a
            member that does not name one of them does not get it.

    Raises:
        UsageError: unknown name, unknown or missing argument, or a value the part refuses.
    """
    name, args, kwargs = parse(call)
    member = registry.get(name)
    signature = inspect.signature(member)
    given = {key: value for key, value in runtime.items() if takes(signature, key)}
    _check_arguments(call, signature, runtime, given)
    try:
        part: Part = member(*args, **kwargs, **given)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{shorten_value(call)}: {error}") from error
    if registry.frame and inspect.isclass(member):
        return part  # its constructor has stamped it
    whole = spell_call(name, signature, args, kwargs, tuple(runtime))
    if registry.frame:
        made = cast(Callable[..., Any], part)
        return cast(Part, _FunctionPart(made, whole, registry))
    if not hasattr(part, "call"):
        with contextlib.suppress(AttributeError):  # a list has no room for it
            object.__setattr__(part, "call", whole)
    return part


def _check_arguments(
    call: str,
    signature: inspect.Signature,
    runtime: Mapping[str, Any],
    given: Mapping[str, Any],
) -> None:
    """Check that a member takes what a call string and the program give it.

    Raises:
        UsageError: it does not, or the call string sets what is the program's to set.
    """
    name, args, kwargs = parse(call)
    clash = sorted(set(kwargs) & set(runtime))
    if clash:
        raise UsageError(f"{shorten_value(call)}: {', '.join(clash)} cannot be set by a recipe")
    try:
        signature.bind(*args, **kwargs, **given)
    except TypeError as error:
        own = [str(p) for p in signature.parameters.values() if p.name not in runtime]
        raise UsageError(
            f"{shorten_value(call)}: {shorten(str(error))}; {name} takes ({', '.join(own)})"
        ) from error


class _FunctionPart:
    """What a function that is registered as a member made; it knows its call and runs framed."""

    def __init__(self, made: Callable[..., Any], call: str, registry: Registry[Any]) -> None:
        self._made, self._frame, self.call = made, registry.frame, call
        self._defaults = registry.defaults

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        def compute(_: Any, *args: Any, **kwargs: Any) -> Any:
            return self._made(*args, **kwargs)

        return importlib.import_module(self._frame).run(self, compute, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name in self._defaults:
            return getattr(self._made, name, self._defaults[name])
        return getattr(self._made, name)
