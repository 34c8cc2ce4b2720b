"""What every enhancer promises."""

import numpy as np
import pytest

from fastseek import enhance  # noqa: F401  (registers the parts)
from fastseek.enhance._fits import Fit
from fastseek.registry import ENHANCERS, build
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings


def pair(seed=0, queries=9, gallery=50, dim=6):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(queries + gallery, dim)).astype(np.float32) + 1
    return (
        Embeddings([f"q{n}" for n in range(queries)], vectors[:queries], {"model": "m"}),
        Embeddings([f"g{n}" for n in range(gallery)], vectors[queries:], {"model": "m"}),
    )


@pytest.fixture(autouse=True)
def folder_of_an_adapter(tmp_path, monkeypatch):
    """`adapter` alone cannot do without a file; it lies in the working folder."""
    random = np.random.default_rng(1)
    arrays = {"mean": random.normal(size=6), "directions": random.normal(size=(4, 6))}
    arrays["blend"] = np.array([0.5])
    fit = Fit("adapter", arrays, {"rows": 3, "source": {"model": "m"}})
    fit.save(tmp_path / "a.safetensors")
    monkeypatch.chdir(tmp_path)


def call_of(name):
    needed = {"adapter": "'a.safetensors'", "truncate": "4"}
    return f"{name}({needed.get(name, '')})"


@pytest.mark.parametrize("name", ENHANCERS.names())
def test_ids_stay_what_was_given_stays_and_both_sides_tell_the_same(name):
    queries, gallery = pair()
    before = queries.vectors.copy(), gallery.vectors.copy()
    after = build(call_of(name), ENHANCERS)(queries, gallery)
    for side, old, new in zip((queries, gallery), before, after, strict=True):
        np.testing.assert_array_equal(side.ids, new.ids)
        np.testing.assert_array_equal(side.vectors, old)
        assert np.isfinite(new.vectors).all() and new.vectors.dtype == np.float32
        assert side.provenance == {"model": "m"}
    assert (
        after[0].provenance["enhance"] == after[1].provenance["enhance"]
        and len(after[0].provenance["enhance"]) == 1
    )
    Exact(k=3)(*after)


@pytest.mark.parametrize("name", ENHANCERS.names())
def test_a_second_step_is_told_after_the_first(name):
    steps = build(call_of(name), ENHANCERS)(*build("l2()", ENHANCERS)(*pair()))[0].provenance[
        "enhance"
    ]
    assert (
        len(steps) == 2
        and steps[0] == "l2()"
        and steps[1].startswith(f"{name.replace('whiten', 'pca')}(")
    )


@pytest.mark.parametrize("name", ENHANCERS.names())
def test_the_same_work_gives_the_same_bytes(name):
    one, two = (build(call_of(name), ENHANCERS)(*pair()) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert (
            np.asarray(a.vectors).tobytes() == np.asarray(b.vectors).tobytes()
            and a.provenance == b.provenance
        )


@pytest.mark.parametrize("name", ENHANCERS.names())
def test_an_empty_side_stays_empty(name):
    queries, gallery = pair()
    if name != "quantile":  # learns from the queries
        none = Embeddings([], np.empty((0, 6), np.float32))
        assert len(build(call_of(name), ENHANCERS)(none, gallery)[0]) == 0
