"""All our registries with their contracts, and `build`, which turns a call string into a part."""

from __future__ import annotations

import ast
import contextlib
import difflib
import functools
import importlib
import importlib.util
import inspect
import numbers
import os
import pathlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from fvcore.common.registry import Registry as FvcoreRegistry

from .errors import UsageError, shorten, shorten_value

if TYPE_CHECKING:
    import numpy as np

    from .structures import Embeddings, GroundTruth, Ranking, Score

Part = TypeVar("Part")


class Enhancer(Protocol):
    """What ENHANCERS builds."""

    call: str

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> tuple[Embeddings, Embeddings]:
        """Better embeddings of the same images."""
        ...


class Searcher(Protocol):
    """What SEARCHERS builds; `searcher` is the search it holds, where it holds one."""

    call: str
    k: int
    searcher: Searcher | None

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """The gallery's best images for every query."""
        ...


class Reranker(Protocol):
    """What RERANKERS builds; `inserts` says whether it may list other images than it was given."""

    call: str
    inserts: bool

    def __call__(self, ranking: Ranking, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """The same images in a better order."""
        ...


class Fuser(Protocol):
    """What FUSERS builds."""

    call: str

    def __call__(self, members: Sequence[Ranking], names: Sequence[str] | None = None) -> Ranking:
        """One ranking of several; errors call them by `names`."""
        ...


class Metric(Protocol):
    """What METRICS builds."""

    call: str

    def __call__(self, ranking: Ranking, truth: GroundTruth) -> list[Score]:
        """The scores of a ranking."""
        ...


class ClassMetric(Protocol):
    """What CLASS_METRICS builds."""

    call: str

    def __call__(
        self, probabilities: np.ndarray, truth: np.ndarray, counts: np.ndarray
    ) -> list[Score]:
        """The scores of class probabilities."""
        ...


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
    """

    def __init__(
        self,
        name: str,
        contract: str,
        package: str = "",
        framed: bool = False,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name)
        self.package = f"{__package__}.{package}" if package else ""
        self.frame = f"{self.package}._frame" if framed else ""
        self.defaults = dict(defaults or {})
        self.__doc__ = contract
        self._complete = not package  # whether every file of the package was imported

    def _do_register(self, name: str, obj: Any) -> None:
        super()._do_register(recipe_name(name), obj)
        if not inspect.isclass(obj):
            return
        _check_constructor_arguments(obj)
        for attribute, value in self.defaults.items():
            if not hasattr(obj, attribute):
                setattr(obj, attribute, value)
        if self.frame:
            _stamp_when_built(obj)
            _run_in_frame(obj, self.frame)

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
                f"no {self._name} is called {shorten_value(name)}{_suggest(name, self.names())}"
            )
        return super().get(name)

    def names(self) -> list[str]:
        """The recipe names of all members, sorted."""
        return sorted(name for name, _ in self)

    def _import_all(self) -> None:
        if not self._complete:
            self._complete = True  # before the imports: a member may list its fellows
            import_parts(self.package)


def recipe_name(class_name: str) -> str:
    """`KReciprocal` -> `k_reciprocal`, the name used in recipes and for the file."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", class_name).lower()


def _suggest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{hint} Known: {', '.join(known) or 'none'}"


def parse(call: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Split a call string into name, positional and keyword arguments.

    Only literals are accepted as arguments, so that no code ever runs from a recipe.

    Args:
        call: such as "map(100)", "k_reciprocal(k1=20, k2=6)" or a bare "gap".

    Raises:
        UsageError: the text is not one call of a name with literal arguments.
    """
    refused = f'{shorten_value(call)} is not a call string such as "map(100)"'
    if not isinstance(call, str):
        raise UsageError(refused)
    try:
        node = ast.parse(call.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"{refused}: {error or 'it is nested too deeply'}") from error
    if isinstance(node, ast.Name):
        return node.id, [], {}
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise UsageError(refused)
    names = [_read_keyword(keyword, call) for keyword in node.keywords]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"{shorten_value(call)}: {twice[0]} is given twice")
    try:
        args = [ast.literal_eval(value) for value in node.args]
        kwargs = {
            name: ast.literal_eval(keyword.value)
            for name, keyword in zip(names, node.keywords, strict=True)
        }
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise UsageError(
            f"{shorten_value(call)}: arguments must be plain literals (numbers, strings, tuples …)"
        ) from error
    return node.func.id, args, kwargs


def unparse(name: str, args: Iterable[Any], kwargs: Mapping[str, Any]) -> str:
    """The call string that `parse` splits into these."""
    given = [*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())]
    return f"{name}({', '.join(given)})"


def _read_keyword(keyword: ast.keyword, call: str) -> str:
    if keyword.arg is None:
        raise UsageError(f"{shorten_value(call)}: ** is not allowed in a recipe")
    return keyword.arg


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


def spell_call(
    name: str,
    signature: inspect.Signature,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    left_out: Sequence[str] = (),
    unnamed: Sequence[str] = (),
) -> str:
    """The call string of a member with all its arguments, those it was not given too.

    Args:
        name: the member's recipe name.
        signature: what it can be given.
        args, kwargs: what it was given.
        left_out: parameters that are not told.
        unnamed: parameters that are told without their names; none stands behind a named one.
    """
    bound = signature.bind_partial(*args, **kwargs)
    bound.apply_defaults()
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for parameter, value in bound.arguments.items():
        if parameter in left_out:
            continue
        kind = signature.parameters[parameter].kind
        if kind is inspect.Parameter.VAR_POSITIONAL and value:
            positional += [*named.values(), *value]  # what stands before it has to be positional
            named = {}
        elif kind is inspect.Parameter.VAR_KEYWORD:
            named |= value
        elif kind is inspect.Parameter.POSITIONAL_ONLY or parameter in unnamed:
            positional.append(value)
        elif kind is not inspect.Parameter.VAR_POSITIONAL:
            named[parameter] = value
    literals = {key: _to_literal(value) for key, value in named.items()}
    return unparse(name, map(_to_literal, positional), literals)


def _to_literal(value: Any) -> Any:
    """Paths as text and numbers of numpy as Python's, so that `parse` reads the call string."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, numbers.Number) and hasattr(value, "item"):
        return value.item()
    if type(value) in (list, tuple):
        return type(value)(map(_to_literal, value))
    return value


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


def takes(signature: inspect.Signature, key: str) -> bool:
    """Whether a keyword argument may be given."""
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    return key in signature.parameters or inspect.Parameter.VAR_KEYWORD in kinds


def load_plugins(names: Sequence[str]) -> list[ModuleType]:
    """Import plugins, so that the parts they register can be named in call strings.

    This runs the plugins' code. Neither torch nor fast-reid is needed; a plugin's `register(cfg)`
    is not called, as that is a recipe's affair (`config.plugins`).

    Args:
        names: dotted modules, such as "orchard.parts", or paths that end in ".py".

    Returns:
        the modules.

    Raises:
        UsageError: one cannot be imported; says which and why.
    """
    return [import_plugin(name) for name in names]


def import_plugin(name: str) -> ModuleType:
    """Import one plugin, a dotted module or a path that ends in ".py", once in a process.

    Raises:
        UsageError: it cannot be imported; says why.
    """
    try:
        return _import_file(name) if name.endswith(".py") else importlib.import_module(name)
    except Exception as error:  # the plugin's own code runs here, and may fail in any way
        raise UsageError(
            f"plugin {shorten_value(name)} cannot be imported ({type(error).__name__}:"
            f" {shorten(str(error))}); install it or mend its name"
        ) from error


def _import_file(name: str) -> ModuleType:
    path = pathlib.Path(name).resolve()
    known = f"fastseek_plugin_{path.as_posix().encode().hex()}"  # of one path, one module
    if known in sys.modules:
        return sys.modules[known]
    if not path.is_file():
        raise FileNotFoundError("no such file")
    spec = importlib.util.spec_from_file_location(known, path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = sys.modules[known] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[known]
        raise
    return module


def part_files(package: str) -> list[str]:
    """The names of the modules of a package that are parts: those without an underscore."""
    path = importlib.import_module(package).__path__
    return [module.name for module in pkgutil.iter_modules(path) if module.name[0] != "_"]


def import_parts(package: str) -> None:
    """Import every part of a package, so that it registers itself."""
    for name in part_files(package):
        importlib.import_module(f"{package}.{name}")


def _check_constructor_arguments(part: type) -> None:
    """Let the constructor look at what it is given for its `int`, `float` and `str` parameters."""
    constructor: Callable[..., None] = inspect.getattr_static(part, "__init__")
    signature = inspect.signature(constructor)
    said = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if _read_annotation(parameter)[0] in _CHECKS
    }
    if not said:
        return

    @functools.wraps(constructor)
    def check_then_build(self: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs).arguments
        for name in said.keys() & given.keys():
            several = said[name].kind is inspect.Parameter.VAR_POSITIONAL
            for value in given[name] if several else (given[name],):
                _check(name, value, *_read_annotation(said[name]))
        constructor(self, *args, **kwargs)

    type.__setattr__(part, "__init__", check_then_build)


def _stamp_when_built(part: type) -> None:
    """Let the constructor end with writing the call string of what it built.

    Where the base of a class is registered too, the class's own call is written last and stays;
    one that only presets arguments of its base, `keeps_base_call = True`, has the base's.
    """
    constructor: Callable[..., None] = inspect.getattr_static(part, "__init__")
    if constructor is object.__init__:
        constructor = _take_nothing
    signature, name = inspect.signature(part), recipe_name(part.__name__)
    left_out: Sequence[str] = getattr(part, "not_in_call", ())
    unnamed: Sequence[str] = getattr(part, "unnamed_in_call", ())
    keeps_base_call: bool = getattr(part, "keeps_base_call", False)

    @functools.wraps(constructor)
    def build_then_stamp(self: Any, *args: Any, **kwargs: Any) -> None:
        constructor(self, *args, **kwargs)
        if not keeps_base_call:
            call = spell_call(name, signature, args, kwargs, left_out, unnamed)
            object.__setattr__(self, "call", call)  # a frozen part is stamped too

    type.__setattr__(part, "__init__", build_then_stamp)


def _take_nothing(self: Any) -> None:
    """The constructor of a class that has none."""


def _run_in_frame(part: type, frame: str) -> None:
    """Let the module `frame` stand between the caller and the part."""
    compute: Callable[..., Any] = inspect.getattr_static(part, "__call__")
    if getattr(compute, "runs_in_frame", False):
        return  # it is the base's, which is registered too

    @functools.wraps(compute)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        return importlib.import_module(frame).run(self, compute, *args, **kwargs)

    run.runs_in_frame = True  # type: ignore[attr-defined]
    type.__setattr__(part, "__call__", run)


def _read_annotation(parameter: inspect.Parameter) -> tuple[str, bool]:
    """What the annotation says, such as "int", and whether None may stand for it."""
    said = parameter.annotation
    kind, *rest = (said.__name__ if isinstance(said, type) else str(said)).split(" | ")
    return ("", False) if rest not in ([], ["None"]) else (kind, bool(rest))


def _check(name: str, value: Any, kind: str, optional: bool) -> None:
    wanted, legal = _CHECKS[kind]
    if not (value is None and optional) and not legal(value):
        raise ValueError(
            f"{name} must be {wanted}{' or None' if optional else ''}, got {shorten_value(value)}"
        )
    if name == "seed" and kind == "int" and value is not None and value < 0:
        raise ValueError(f"seed must be 0 or more, got {value}")


def _is_whole(value: Any) -> bool:
    return (
        isinstance(value, numbers.Integral)
        and not isinstance(value, bool)
        and -(2**63) <= int(value) < 2**63
    )


def _is_real(value: Any) -> bool:
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, numbers.Integral)
        or _is_whole(value)
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))


_CHECKS = {
    "int": ("a whole number of at most 64 bits", _is_whole),
    "float": ("a number (a whole one of at most 64 bits)", _is_real),
    "str": ("text", _is_text),
}


DATASETS: Registry[Any] = Registry(
    "dataset",
    """Where images come from.

Built with the recipe's arguments; has `.items`, a list of `Item` or `Items` (splits "train",
"query", "gallery"). `folder('/my/images')` in `DATASETS.NAMES` reaches it; names fast-reid knows
reach fast-reid's own.
""",
    "data.datasets",
)

TRANSFORMS: Registry[Any] = Registry(
    "transform",
    """One image before it becomes a batch.

Built with the recipe's arguments; called with a PIL RGB image, or a float32 tensor [3, H, W] in
0..255, and returns one of the two. Draws random numbers from torch's global generator only (the
loader seeds it per sample). What it is given is not changed.
""",
    "data.transforms",
)

SAMPLERS: Registry[Any] = Registry(
    "sampler",
    """Which images stand together in a batch.

Built with `labels` (int64 [N], class of each image), `groups` (int64 [N], camera or session),
`batch_size` (all processes together), `world_size` and `seed`; `epoch(n)` returns int64 [batches,
batch_size], row numbers, a function of seed and n alone, with as many batches in every epoch.
Cutting every row into `world_size` equal runs must be legal. Impossible settings raise ValueError
when built.
""",
    "data.samplers",
)

CROPS: Registry[Any] = Registry(
    "crop",
    """Where the second view of an image is cut.

Built with the recipe's arguments; called with items it returns float32 [N, 4], left, top, right
and bottom as shares of width and height, NaN where the whole image is taken. `digest` tells what
else its answer depends on, as a string.
""",
    "data.crops",
)

BACKBONES: Registry[Any] = Registry(
    "backbone",
    """Images to feature maps.

Built with the recipe's arguments; `channels` is a dict name -> channels; called with a normalized
float tensor [B, 3, H, W] it returns a dict of the same names -> [B, C, h, w].
""",
    "modeling.backbones",
)

BLOCKS: Registry[Any] = Registry(
    "block",
    """What is put into a backbone: attention, another normalization.

Built with the recipe's arguments; called with a backbone of ours whose weights are loaded, it
returns the backbone with the block in its place; `channels` stays what the maps have. A name the
backbone does not have is a ValueError.
""",
    "modeling.blocks",
)

BRANCHES: Registry[Any] = Registry(
    "branch",
    """Feature maps to embeddings.

Built with `channels` (the backbone's); called with the dict of maps it returns a dict name -> [B,
D] that holds at least its own recipe name, the vector used for retrieval unless `tested` names
another; `dims` tells D of every name. Where a batch tells more, the maps hold "places" float32
[B, 4] and "crops", the maps of a second view.
""",
    "modeling.branches",
)

LOSSES: Registry[Any] = Registry(
    "loss",
    """Named embeddings to one scalar.

Built with `dims` (name -> D, from the branches) and `counts` (int64 [classes], training images a
class); has `on`, the name of the embedding it wants; called with (embedding [B, D], targets int64
[B]) it returns a scalar, its weight already applied. One that classifies has `logits`, [B, D] to
[B, C]. A module of the model with `at_step(step)` is told the number of every training step
before it.
""",
    "modeling.losses",
)

SCHEDULES: Registry[Any] = Registry(
    "schedule",
    """The learning rate over a training.

Built with the recipe's arguments, `iters_per_epoch`, `max_epoch` and `base_lr`; `factor(step)` is
what the learning rate of every group is multiplied with in step `step` (from 0), a function of
the step alone. A step is an update of the weights, with SEEK.ACCUMULATE that of several batches.
`corners`, where there, are the steps a table must show.
""",
    "schedules",
)

VIEWS: Registry[Any] = Registry(
    "view",
    """Test-time views.

Called with a batch [B, 3, H, W] it returns a list of batches, the given one included. The
features of all views are brought to length 1 and added; with a member whose `raw` is True they
are added as they are.
""",
    "views",
)

ENHANCERS: Registry[Enhancer] = Registry(
    "enhancer",
    """Embeddings to better embeddings.

Called with (queries, gallery), both `Embeddings` of one model, a member returns new vectors of
both, two arrays [N, D], or two `Embeddings` with the same ids in the same order. What it is given
may lie on disk: `side.vectors[rows]` reads it. The frame writes the provenance and gives the caller
`Embeddings`. What the frame cannot know a member says in the provenance of what it returns:
{"fit": digest} of what it learned, or the whole of it, with "parents", where it joins the
embeddings of other models.
""",
    "enhance",
    framed=True,
)

SEARCHERS: Registry[Searcher] = Registry(
    "searcher",
    """Embeddings x Embeddings to a ranking.

Called with (queries, gallery), both `Embeddings` of one model, a member returns a `Ranking`, or
(indices, scores), both [Q, K] with -1 and -inf at the end of a short row. The frame writes its
provenance: call and parents, and what the member's own ranking says besides (engine, exact,
recall). `k` says how many images a query gets, 0 where that is not known; a search that holds
another has it as `searcher`.
""",
    "search",
    framed=True,
    defaults={"k": 0, "searcher": None},
)

RERANKERS: Registry[Reranker] = Registry(
    "reranker",
    """A ranking to a better ranking.

Called with (ranking, queries, gallery) that belong together, a member returns new scores [Q, K] of
the answers as the ranking lists them; the frame puts them in order. Or it returns (indices,
scores), best first, or a `Ranking`: the same gallery ids for every query. Only a member whose
`inserts` is True may put other images in their place; lists do not grow longer. The frame writes
the provenance: that of the ranking, and one more call.
""",
    "rerank",
    framed=True,
    defaults={"inserts": False},
)

FUSERS: Registry[Fuser] = Registry(
    "fuser",
    """Many rankings to one.

Built with the recipe's arguments; called with a list of `Ranking` over the same queries, matched
by id, and, where it takes them, with the names that errors call them by, a member returns one
`Ranking` in the first one's order, or (indices, scores) over the first one's queries and gallery.
Fusing a ranking with itself leaves its order as it is. The frame writes the provenance: the call,
and those of the members.
""",
    "fuse",
    framed=True,
)

METRICS: Registry[Metric] = Registry(
    "metric",
    """A ranking and the truth to scores.

Called with (ranking, truth) it returns a list of `Score`.
""",
    "metrics",
)

FIGURES: Registry[ClassMetric] = Registry(
    "figure",
    """Class probabilities and the true classes to scores.

Called with (probabilities [N, C] float32, truth int64 [N] with -1 where the true class is none of
the C, counts int64 [C], training images a class) it returns a list of `Score` whose `per_query`
are the N images.
""",
    "classification",
)


def registries() -> dict[str, Registry]:
    """Every registry by the name of the folder that holds its members, such as "rerank"."""
    found = [value for value in globals().values() if isinstance(value, Registry)]
    return {members.package.rpartition(".")[2]: members for members in found}
