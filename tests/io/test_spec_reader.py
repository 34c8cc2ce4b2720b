"""Specs: what is wrong with a file is said at the line of the very key."""

from typing import Annotated, Any, ClassVar, Literal

import pytest
from msgspec import Meta, field

from fastseek.errors import UsageError
from fastseek.io.spec_reader import Spec, check_calls, check_name, read_spec
from fastseek.registry import ENHANCERS, METRICS, RERANKERS


class Train(Spec, tag_field="DO", tag="train"):
    NOUN: ClassVar[str] = "a step"
    name: str
    epochs: int = 1


class Embed(Spec, tag_field="DO", tag="embed"):
    NOUN: ClassVar[str] = "a step"
    name: str
    size: int = 0


class Step(Spec):
    NOUN: ClassVar[str] = "a step"
    name: str
    source: str = field(default="", name="FROM")
    drop: tuple[str, ...] = ()
    take: Literal["final", "best"] = "final"
    count: Annotated[int, Meta(ge=1)] = 1
    rate: float | tuple[float, ...] = 1.0
    weights: dict[str, float] = {}
    fuser: Annotated[str, Meta(description="a call string")] = ""


class Recipe(Spec):
    name: str = ""
    set: dict[str, Any] = {}
    steps: tuple[Step, ...] = ()
    work: tuple[Train | Embed, ...] = ()


@pytest.fixture
def read(tmp_path):
    """Read a text as a recipe."""

    def one(text):
        path = tmp_path / "x.yml"
        path.write_text(text)
        return read_spec(path, Recipe)

    return one


def test_keys_become_typed_fields_and_those_that_are_absent_their_defaults(read):
    spec, document = read(
        """
NAME: a
SET: {SOLVER: {BASE_LR: 1e-3}}
STEPS:
  - {NAME: b, FROM: c, DROP: [heads.], RATE: 2, WEIGHTS: {x: 1}}
WORK:
  - {NAME: d, DO: embed, SIZE: 3}
"""
    )
    step = spec.steps[0]
    assert (step.source, step.drop, step.rate, step.weights) == ("c", ("heads.",), 2, {"x": 1})
    assert (step.take, step.count) == ("final", 1) and spec.set == {"SOLVER": {"BASE_LR": "1e-3"}}
    assert spec.work == (Embed(name="d", size=3),)
    assert document.where("STEPS[0].FROM").endswith("x.yml:5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("STEPS: [x]", ":1: a step is a mapping with a NAME, got 'x'"),
        ("STEPS:\n- {FROM: x}", ":2: a step is a mapping with a NAME, got {'FROM': 'x'}"),
        ("STEPS:\n- NAME: x\n  FORM: y", ":3: there is no key STEPS[0].FORM; known: NAME, FROM"),
        ("STEPS:\n- NAME: x\n  FORM: y", "did you mean FROM?"),
        ("STEPS:\n- NAME: x\n  DROP: heads", ":3: STEPS[0].DROP must be a list, got 'heads'"),
        ("STEPS:\n- NAME: x\n  DROP:\n  - 3", ":4: STEPS[0].DROP[0] must be text, got 3"),
        ("STEPS:\n- NAME: x\n  TAKE: last", ":3: STEPS[0].TAKE must be one of best, final"),
        ("STEPS:\n- NAME: x\n  COUNT: 0", ":3: STEPS[0].COUNT must be a whole number >= 1, got 0"),
        ("STEPS:\n- NAME: x\n  RATE: y", ":3: STEPS[0].RATE must be a number or a list, got 'y'"),
        ("STEPS:\n- NAME: x\n  FUSER: 2", ":3: STEPS[0].FUSER must be a call string, got 2"),
        (
            "STEPS:\n- NAME: x\n  WEIGHTS:\n    a: 1\n    b: c\n    d: 2",
            ":5: STEPS[0].WEIGHTS.b must be a number, got 'c'",
        ),
        ("WORK:\n- NAME: x\n  DO: tran", ":3: WORK[0].DO must be one of train, embed, got 'tran'"),
        ("WORK: [{NAME: x}]", ":1: a step is a mapping with a NAME and a DO"),
        ("WORK:\n- {NAME: x, DO: embed,\n   EPOCHS: 2}", ":3: there is no key WORK[0].EPOCHS"),
        (
            "WORK:\n- {NAME: x, DO: embed,\n   SIZE: true}",
            ":3: WORK[0].SIZE must be a whole number",
        ),
        ("NAME: 3", ":1: NAME must be text, got 3"),
        ("\nSTEPS: {}", ":2: STEPS must be a list, got {}"),
        ("STPES: []", ":1: there is no key STPES; known: NAME, SET, STEPS, WORK"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_the_line_of_the_key(read, text, message):
    with pytest.raises(UsageError) as error:
        read(text)
    assert message in str(error.value) and "x.yml:" in str(error.value)
    assert "\n" not in str(error.value)


class Renamed(Spec):
    RENAMED: ClassVar[dict[str, str]] = {"FIGURES": "METRICS"}
    metrics: tuple[str, ...] = ()


def test_a_key_by_its_old_name_is_read_with_a_warning_and_keeps_its_line(tmp_path):
    path = tmp_path / "x.yml"
    path.write_text("\nFIGURES:\n- a")
    with pytest.warns(DeprecationWarning, match="x.yml:2: the key FIGURES is called METRICS now"):
        spec, document = read_spec(path, Renamed)
    assert spec.metrics == ("a",) and document.where("METRICS[0]") == f"{path}:3"
    path.write_text("FIGURES: [3]")
    with (
        pytest.warns(DeprecationWarning),
        pytest.raises(UsageError, match=":1: METRICS.0. must be"),
    ):
        read_spec(path, Renamed)
    path.write_text("METRICS: [a]\nFIGURES: [a]")
    with pytest.raises(UsageError, match=":2: FIGURES is the old name of METRICS: keep one"):
        read_spec(path, Renamed)


def test_a_file_that_lacks_a_key_says_which_and_a_misspelled_one_what_is_meant(tmp_path):
    path = tmp_path / "x.yml"
    path.write_text("FROM: x")
    with pytest.raises(UsageError, match="x.yml: NAME is missing: a step needs NAME"):
        read_spec(path, Step)
    path.write_text("NAEM: x")
    with pytest.raises(UsageError, match=":1: there is no key NAEM; .*did you mean NAME"):
        read_spec(path, Step)


def test_names_are_a_folders_and_stand_once(read):
    spec, document = read("NAME: ab\nSTEPS:\n- {NAME: a/b}")
    check_name(document, "NAME", spec.name)
    with pytest.raises(UsageError, match="x.yml:1: NAME 'ab': expected a name of its own"):
        check_name(document, "NAME", spec.name, ["ab"])
    with pytest.raises(UsageError, match="x.yml:3: NAME 'a/b' names a folder"):
        check_name(document, "STEPS[0].NAME", spec.steps[0].name)


def test_calls_are_checked_where_they_stand(read):
    _, document = read('STEPS:\n- NAME: x\n  DROP:\n  - "map(3)"\n  - gap')
    check_calls(document, "STEPS[0].DROP", ["map(3)", "gap"], METRICS)
    check_calls(document, "STEPS[0].DROP", ["aqe", "hard_rank()"], ENHANCERS, RERANKERS)
    with pytest.raises(UsageError, match=":5: no metric is called 'gapp'; did you mean 'gap'"):
        check_calls(document, "STEPS[0].DROP", ["map(3)", "gapp"], METRICS)
    with pytest.raises(UsageError, match=":4: .*k"):
        check_calls(document, "STEPS[0].DROP", ["map(depth=3)"], METRICS)
    with pytest.raises(UsageError, match=":3: no part is called 'aqee'.*did you mean aqe"):
        check_calls(document, "STEPS[0].DROP", ["l2", "l2", "aqee"], ENHANCERS, RERANKERS)
