"""Typed specs read from YAML: every key declared once, every error at the line of its key.

A spec is a class derived from `Spec` whose fields are the keys of a file:

    class Step(Spec):
        NOUN: ClassVar[str] = "a step"
        name: str                                  # the key NAME, which must be there
        source: str = field(default="", name="FROM")
        drop: tuple[str, ...] = ()

`read_spec` turns a file into such an object, or says in one line what is wrong and where.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from msgspec import Meta, inspect

from ..errors import UsageError, shorten_value
from ..registry import Registry, build, parse
from ..suggestions import did_you_mean
from .paths import PathLike
from .yaml_lines import Document, read_yaml

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
# how a person calls the types of JSON that msgspec's messages name
KINDS = {
    "str": "text",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}
WHOLE_AND_REAL = {"int", "float"}
Call = Annotated[str, Meta(description="a call string")]
Calls = tuple[Call, ...]


class Spec(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="upper"
):  # the keys of a file are the fields' names in capitals
    """What a mapping of a file says.

    NOUN is what errors call one, "a step". RENAMED are the keys of a whole file that an earlier
    version called otherwise: old name -> the one of today.
    """

    NOUN: ClassVar[str] = "a recipe"
    RENAMED: ClassVar[Mapping[str, str]] = {}


SpecType = TypeVar("SpecType", bound=Spec)


def read_spec(path: PathLike, kind: type[SpecType]) -> tuple[SpecType, Document]:
    """Read a YAML file as a spec.

    Args:
        path: the file.
        kind: what it must be; msgspec's types and constraints hold.

    Returns:
        the spec, and the document, which knows the line of every key for later checks.

    Raises:
        UsageError: the file cannot be read, a key is unknown or missing, or a value is of the
            wrong kind; names the file, the line and the key.
    """
    document = _with_todays_keys(read_yaml(path), kind.RENAMED)
    return convert(document, document.values, kind), document


def _with_todays_keys(document: Document, renamed: Mapping[str, str]) -> Document:
    """A file whose keys have the names of today; a warning for each that has not."""
    for old in [key for key in renamed if key in document.values]:
        new = renamed[old]
        if new in document.values:
            raise document.error(old, f"{old} is the old name of {new}: keep one")
        message = f"{document.where(old)}: the key {old} is called {new} now"
        warnings.warn(message, DeprecationWarning, stacklevel=3)
        inside = re.compile(rf"^{re.escape(old)}(?=[.\[]|$)")
        document = Document(
            document.path,
            {new if key == old else key: value for key, value in document.values.items()},
            {inside.sub(new, key): line for key, line in document.lines.items()},
        )
    return document


def convert(document: Document, values: Any, kind: type[SpecType], prefix: str = "") -> SpecType:
    """Turn a mapping that stands in a document into a spec.

    Args:
        document: the file.
        values: the mapping.
        kind: what it must be.
        prefix: the key of the mapping in the document, "STEPS[0]"; "" for the whole file.

    Raises:
        UsageError: as `read_spec`.
    """
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise _Fault(document, values, kind, prefix, str(error)).as_error() from error


def check_name(document: Document, key: str, name: str, taken: Collection[str] = ()) -> None:
    """Check that a name can be a folder's and is not `taken`.

    Raises:
        UsageError: it cannot or is; names the file and the line.
    """
    last = key.rpartition(".")[2]
    if not NAME.fullmatch(name):
        raise document.error(
            key, f"{last} {name!r} names a folder: expected letters, digits, . _ -"
        )
    if name in taken:
        raise document.error(key, f"{last} {name!r}: expected a name of its own, this one is taken")


def check_calls(
    document: Document, key: str, calls: Iterable[str], *registries: Registry[Any]
) -> tuple[str, ...]:
    """Check that call strings name parts.

    With one registry every part is built, so that its arguments are checked too. With several the
    name must be in one of them; nothing is built, because it is not known by which.

    Args:
        document: the file.
        key: the list of calls, or a single one.
        calls: call strings.
        registries: where the parts are.

    Returns:
        the calls.

    Raises:
        UsageError: one names no part, or its arguments are wrong; names the file and the line.
    """
    calls = tuple(calls)
    for number, call in enumerate(calls):
        place = f"{key}[{number}]"
        place = place if place in document.lines else key
        try:
            if len(registries) == 1:
                build(call, registries[0])
            else:
                check_part(call, registries)
        except UsageError as error:
            raise document.error(place, str(error)) from error
    return calls


def check_part(call: str, registries: Iterable[Registry[Any]]) -> None:
    """Check that a call string names a part of one of some registries.

    Raises:
        UsageError: it does not; lists the known ones and the nearest.
    """
    name = parse(call)[0]
    known = [one for registry in registries for one in registry.names()]
    if name not in known:
        raise UsageError(
            f"no part is called {shorten_value(name)}; known: {', '.join(known)}"
            f"{did_you_mean(name, known)}"
        )


class _Fault:
    """A message of msgspec, "Expected `int`, got `str` - at `$.STEPS[0].PER`", put for a person."""

    def __init__(
        self, document: Document, values: Any, kind: type[Spec], prefix: str, message: str
    ) -> None:
        self.document, self.prefix = document, prefix
        self.message, _, path = message.partition(" - at `$")
        self.steps = _split_path(path.rstrip("`"))
        if None in self.steps:
            self.steps = _find_key(values, kind, self.steps, message)
        self.value = values
        self.type: inspect.Type = inspect.type_info(kind)
        self.parent = self.type
        for step in self.steps:
            self.parent = self.type
            self.type = _inner_type(self.type, step, self.value)
            self.value = self.value[step]

    def as_error(self) -> UsageError:
        """The error to raise."""
        struct = _struct_of(self.type, self.value)
        if struct is None:
            return self._wrong_value()
        required = [one.encode_name for one in struct.fields if one.required]
        required += [struct.tag_field] if struct.tag_field else []
        given = self.value if isinstance(self.value, dict) else None
        if given is None or not given.keys() >= set(required):
            return self._not_a_mapping(struct, required)
        unknown = re.fullmatch(r"Object contains unknown field `(.*)`", self.message)
        known = [*([struct.tag_field] if struct.tag_field else []), *_keys(struct)]
        return self._unknown_key(unknown[1], known) if unknown else self._wrong_value()

    @property
    def key(self) -> str:
        """The key of the value that is wrong, dotted."""
        made = self.prefix
        for step in self.steps:
            made += f"[{step}]" if isinstance(step, int) else f".{step}" if made else str(step)
        return made

    def _not_a_mapping(self, struct: inspect.StructType, required: list[str]) -> UsageError:
        noun = getattr(struct.cls, "NOUN", Spec.NOUN)
        if not self.key:  # the whole file: too much to show
            known, missing = _keys(struct), [key for key in required if key not in self.value]
            for name in self.value:
                if name not in known:
                    return self._unknown_key(name, known)
            verb = "is" if len(missing) == 1 else "are"
            told = f"{' and '.join(missing)} {verb} missing: {noun} needs {', '.join(required)}"
            return self.document.error("", told)
        wanted = f"{noun} is a mapping with {' and '.join(f'a {key}' for key in required)}"
        if not required:
            wanted = f"{noun} is a mapping (KEY: value)"
        return self.document.error(self.key, f"{wanted}, got {shorten_value(self.value)}")

    def _unknown_key(self, name: str, known: list[str]) -> UsageError:
        key = f"{self.key}.{name}" if self.key else name
        told = f"there is no key {key}; known: {', '.join(known)}{did_you_mean(name, known)}"
        return self.document.error(key, told)

    def _wrong_value(self) -> UsageError:
        told = f"{self.key} must be {self._name_type()}, got {shorten_value(self.value)}"
        return self.document.error(self.key, told)

    def _name_type(self) -> str:
        """What a value must be: its description, the legal values, or the kind and its bounds."""
        if isinstance(self.type, inspect.Metadata):
            described = (self.type.extra_json_schema or {}).get("description")
            if described:
                return str(described)
        legal = [str(one) for one in _legal_values(self.type, self.parent, self.steps)]
        if legal:
            return f"one of {', '.join(legal)}"
        found = re.match(r"Expected `([^`]*)`(?: (of length )?([<>]=?) (\S+))?", self.message)
        if found is None:
            return f"otherwise ({self.message})"
        names = [name for name in found[1].split(" | ") if name != "null"]
        if WHOLE_AND_REAL <= set(names):
            names.remove("int")
        kind = " or ".join(KINDS.get(name, name) for name in names)
        return f"{kind} {found[2] or ''}{found[3]} {found[4]}" if found[3] else kind


def _legal_values(kind: inspect.Type, parent: inspect.Type, steps: list[Any]) -> list[Any]:
    """The values of a literal, or the tags where a tag stands; [] where any value may stand."""
    made = [one for part in _alternatives(kind) for one in getattr(part, "values", ())]
    for one in _alternatives(parent):
        if isinstance(one, inspect.StructType) and steps and one.tag_field == steps[-1]:
            made.append(one.tag)
    return made


def _keys(struct: inspect.StructType) -> list[str]:
    return [one.encode_name for one in struct.fields]


def _split_path(path: str) -> list[Any]:
    """ ".STEPS[0].SET[...]" as ["STEPS", 0, "SET", None]; None is a key msgspec does not tell."""
    found = re.findall(r"\.([^.\[]+)|\[(\d+)\]|\[(\.\.\.)\]", path)
    return [name or (int(number) if number else None) for name, number, _ in found]


def _find_key(values: Any, kind: type[Spec], steps: list[Any], message: str) -> list[Any]:
    """The steps with the names of mappings' keys: tried one by one which gives the same message."""
    made: list[Any] = []
    for step in steps:
        made.append(step if step is not None else _wrong_key(values, kind, made, message))
    return made


def _wrong_key(values: Any, kind: type[Spec], above: list[Any], message: str) -> str:
    mapping = values
    for step in above:
        mapping = mapping[step]
    for key, value in mapping.items():
        try:
            msgspec.convert(_replace(values, above, {key: value}), kind)
        except msgspec.ValidationError as error:
            if str(error) == message:
                return str(key)
    return str(next(iter(mapping)))


def _replace(values: Any, steps: list[Any], value: Any) -> Any:
    """A copy of nested values with another one at a place."""
    if not steps:
        return value
    copied = values.copy()
    copied[steps[0]] = _replace(values[steps[0]], steps[1:], value)
    return copied


def _inner_type(kind: inspect.Type, step: Any, value: Any) -> inspect.Type:
    """The type of a field, an entry or a value of a mapping."""
    struct = _struct_of(kind, value)
    if struct is not None:
        fields = {one.encode_name: one.type for one in struct.fields}
        return fields.get(step, inspect.AnyType())
    for one in _alternatives(kind):
        if isinstance(step, int) and isinstance(one, inspect.CollectionType):
            return one.item_type
        if isinstance(one, inspect.DictType):
            return one.value_type
    return inspect.AnyType()


def _struct_of(kind: inspect.Type, value: Any) -> inspect.StructType | None:
    """The spec a value should be; of several the one its tag names."""
    structs = [one for one in _alternatives(kind) if isinstance(one, inspect.StructType)]
    for one in structs:
        if one.tag_field and isinstance(value, Mapping) and value.get(one.tag_field) == one.tag:
            return one
    return structs[0] if structs else None


def _alternatives(kind: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(kind, inspect.Metadata):
        yield from _alternatives(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from _alternatives(one)
    else:
        yield kind
