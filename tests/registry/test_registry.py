import inspect
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastseek import enhance, fuse, metrics, rerank, search  # noqa: F401  (so that every part is in its registry)
from fastseek.errors import UsageError
from fastseek.registry import (
    ENHANCERS,
    FUSERS,
    METRICS,
    RERANKERS,
    SEARCHERS,
    Registry,
    build,
    parse,
    recipe_name,
    registries,
    unparse,
)

LITERALS = st.recursive(
    st.one_of(
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.booleans(),
        st.none(),
        st.text(),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.tuples(inner, inner)),
    max_leaves=5,
)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name.isidentifier()
)


def registry():
    made = Registry("toy", "Made for a test.")

    @made.register()
    class KReciprocal:
        def __init__(self, k1=20, *, labels=None):
            if k1 < 1:
                raise ValueError("k1 must be 1 or more")
            self.k1, self.labels = k1, labels

    @made.register()
    class Map:
        def __init__(self, *ks, **options):
            self.ks, self.options = ks, options

    return made


@given(
    NAMES.filter(lambda n: n not in __import__("keyword").kwlist),
    st.lists(LITERALS, max_size=3),
    st.dictionaries(
        NAMES.filter(lambda n: n not in __import__("keyword").kwlist), LITERALS, max_size=3
    ),
)
def test_any_call_with_literals_is_read_back(name, args, kwargs):
    inside = [repr(value) for value in args] + [f"{key}={value!r}" for key, value in kwargs.items()]
    assert parse(f" {name}({', '.join(inside)}) ") == (name, args, kwargs)


def test_a_bare_name_is_a_call_without_arguments():
    assert parse("gap") == parse("gap()") == ("gap", [], {})


@pytest.mark.parametrize(
    "call",
    [
        "",
        "(",
        "map(100",
        "1",
        "a.b()",
        "map(k)",
        "map(1 + 1)",
        "map(len('x'))",
        "map(*[1])",
        "map(**{'k': 1})",
        "a(); b()",
        "map(x for x in [])",
        "__import__('os').system('true')",
        "map(__import__('os'))",
        "map(f'{1}')",
        "lambda: 1",
        "map(100)(3)",
        "\0",
        "exact(k={[1]: 2})",
        "exact(k={{}})",
        "exact(k=5, k=6)",
        5,
        None,
        pytest.param(f"exact(k={'1+' * 3000}1)", id="sum"),
        pytest.param(f"exact(k={'-' * 50000}1)", id="signs"),
        pytest.param(f"exact(k={'[' * 5000}1)", id="brackets"),
    ],
)
def test_whatever_is_not_one_call_with_literals_is_refused(call):
    with pytest.raises(UsageError) as error:
        parse(call)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        ("KReciprocal", "k_reciprocal"),
        ("Map", "map"),
        ("Hflip", "hflip"),
        ("SubcenterArcface", "subcenter_arcface"),
    ],
)
def test_a_class_is_known_by_its_snake_case_name(cls, name):
    assert recipe_name(cls) == name


def test_build_gives_the_part_with_its_arguments():
    assert build("k_reciprocal(k1=7)", registry()).k1 == 7
    assert build("map(1, 5)", registry()).ks == (1, 5)


def test_runtime_arguments_reach_those_who_name_them():
    assert build("k_reciprocal()", registry(), labels="L", counts="C").labels == "L"
    assert build("map()", registry(), labels="L").options == {"labels": "L"}


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("k_reciprocl()", "did you mean 'k_reciprocal'.*Known: k_reciprocal, map"),
        ("zzz()", r"'zzz'\. Known: k_reciprocal, map"),
        ("k_reciprocal(k3=1)", r"k3.*takes \(k1=20"),
        ("k_reciprocal(1, 2)", "too many"),
        ("k_reciprocal(k1=0)", "k1 must be 1 or more"),
        ("k_reciprocal(k1='a')", "k_reciprocal"),
        ("k_reciprocal(labels=1)", "labels cannot be set by a recipe"),
    ],
)
def test_a_wrong_call_says_what_would_be_right(call, told):
    with pytest.raises(UsageError, match=told):
        build(call, registry(), labels=None)


def test_two_parts_of_one_name_are_refused():
    made = registry()
    with pytest.raises(AssertionError):

        @made.register()
        class Map:
            pass


def test_every_registry_states_its_contract():
    from fastseek import registry as module

    all_of_them = [value for value in vars(module).values() if isinstance(value, Registry)]
    assert len(all_of_them) >= 11
    assert all(len(made.__doc__) > 60 for made in all_of_them)


@pytest.mark.parametrize(
    "call", ["map(100)", "dolg(local='s3', dilations=(6, 12, 18), pointwise=True)", "gap()"]
)
def test_unparsing_what_was_parsed_gives_the_call_string_back(call):
    assert unparse(*parse(call)) == call


def whole_numbers():
    """(registry, member, parameter) wherever a part of the seek half says int or has a whole number
    by default.
    """
    for members in (SEARCHERS, RERANKERS, METRICS, FUSERS, ENHANCERS):
        for name in members.names():
            for parameter in inspect.signature(members.get(name)).parameters.values():
                told = str(parameter.annotation)
                if (
                    told in ("int", "int | None")
                    or type(parameter.default) is int
                    and "float" not in told
                ):
                    yield pytest.param(members, name, parameter, id=f"{name}-{parameter.name}")


@pytest.mark.parametrize("value", [1.5, 2.0, float("nan"), "3", True])
@pytest.mark.parametrize(("members", "name", "parameter"), whole_numbers())
def test_where_a_part_wants_a_whole_number_nothing_else_is_taken(members, name, parameter, value):
    part = members.get(name)
    needed = {
        other.name: "x"
        for other in inspect.signature(part).parameters.values()
        if other.default is other.empty and other.kind is not other.VAR_POSITIONAL
    }
    several = parameter.kind is parameter.VAR_POSITIONAL
    with pytest.raises(
        ValueError,
        match=rf"{parameter.name} must be a whole number.*, got {re.escape(repr(value))}",
    ):
        part(1, value) if several else part(**needed | {parameter.name: value})
    given = (
        f"1, {value!r}"
        if several
        else ", ".join(
            f"{key}={what!r}" for key, what in (needed | {parameter.name: value}).items()
        )
    )
    if value == value:  # NaN is no literal
        with pytest.raises(UsageError, match="must be a whole number"):
            build(f"{name}({given})", members)


def test_whole_numbers_of_numpy_and_none_where_it_is_told_are_taken():
    made = Registry("toy", "Made for a test.")

    @made.register()
    class Part:
        def __init__(
            self, k: "int" = 3, dim: "int | None" = None, *rest: int, share: float = 1
        ) -> None:
            self.got = k, dim, rest, share

    assert Part().got == (3, None, (), 1)
    assert Part(np.int64(4), None, 5, 6, share=0.5).got == (4, None, (5, 6), 0.5)
    for wrong in ((None,), (1.0,), (1, "2"), (1, 2, 3, 4.5)):
        with pytest.raises(ValueError, match="whole number"):
            Part(*wrong)
    assert str(inspect.signature(Part)).startswith(
        "(k: 'int' = 3, dim:"
    ) and Part.__init__.__qualname__.endswith("Part.__init__")


@pytest.mark.parametrize(
    ("members", "call", "told"),
    [
        (SEARCHERS, "quantized(k=5, rescore=1, seed=-1)", "seed must be 0 or more, got -1"),
        (SEARCHERS, "sharded(search=5)", "search must be text, got 5"),
        (SEARCHERS, "sharded(folder=None)", "folder must be text, got None"),
        (SEARCHERS, "faiss_hnsw(file=-1)", "file must be text"),
        (SEARCHERS, f"faiss_hnsw(build={2**31})", "above"),
        (SEARCHERS, f"faiss_hnsw(m={2**30})", "m must be 2 to"),
        (SEARCHERS, f"faiss_hnsw(seed={2**31})", "above"),
        (SEARCHERS, f"exact(k={2**63})", "k must be a whole number of at most 64 bits"),
        (METRICS, f"map({10**23})", "k must be a whole number"),
        (METRICS, f"cmc(1, {10**23})", "ks must be a whole"),
        (ENHANCERS, "center(fit=None)", "fit must be text"),
        (ENHANCERS, "center(save=-1)", "save must be text"),
        (RERANKERS, "hard_insert(reference=None, labels='x')", "reference must be text"),
        (RERANKERS, "k_reciprocal_query(graph=-1)", "graph must be text"),
        (RERANKERS, f"k_reciprocal(max_ram={10**400})", "max_ram must be a number"),
        (RERANKERS, "diffusion(alpha='x')", "alpha must be a number"),
        (RERANKERS, "k_reciprocal(lambda_=True)", "number"),
    ],
)
def test_a_value_that_could_not_be_used_is_refused_before_the_work(members, call, told):
    with pytest.raises(UsageError, match=told):
        build(call, members)


def _yes_or_no_arguments():
    """(registry, part, argument) of every part's yes/no arguments."""
    for name, members in registries().items():
        for part, made in members:
            for parameter in inspect.signature(made).parameters.values():
                if str(parameter.annotation) in ("bool", "<class 'bool'>", "bool | None"):
                    yield name, part, made, parameter.name


def test_F09_numpy_may_say_yes_or_no():
    from fastseek.registry.arguments import _CHECKS

    legal = _CHECKS["bool"][1]
    assert legal(np.bool_(True)) and legal(False)
    assert not any(legal(value) for value in (1, 0, np.int64(1), "True", None))


def test_F09_no_part_takes_a_number_or_a_text_for_yes_or_no():
    cases = list(_yes_or_no_arguments())
    assert len(cases) > 20
    taken = []
    for name, part, made, argument in cases:
        for wrong in (64, 0, "no"):
            signature = inspect.signature(made)
            needed = {
                key: {"int": 1, "float": 1.0, "str": "x"}.get(str(value.annotation))
                for key, value in signature.parameters.items()
                if value.default is value.empty
                and value.kind in (value.POSITIONAL_OR_KEYWORD, value.KEYWORD_ONLY)
            }
            try:
                made(**{**needed, argument: wrong})
            except Exception as error:
                if f"{argument} must be True or False" in str(error):
                    continue
            taken.append(f"{name} {part}({argument}={wrong!r})")
    assert taken == []
