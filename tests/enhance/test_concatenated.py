"""Several models as one: concatenated and the recipe step concat."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.enhance import _concatenated as module
from fastseek.enhance._concatenated import concatenate
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.registry import ENHANCERS, build
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings


def model(seed, count=12, dim=6, name=None, prefix="i"):
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32) * (seed + 1)
    return Embeddings(
        [f"{prefix}{n:02d}" for n in range(count)], vectors, {"model": name or f"m{seed}"}
    )


def unit(rows):
    return rows / np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1, keepdims=True))


def test_eight_models_of_three_types_become_1536_dimensions():
    """landmark row 46."""
    members = [model(seed, dim=512) for seed in range(8)]
    types = ["dolg"] * 3 + ["hybrid"] * 3 + ["efficientnet"] * 2
    whole = concatenate(members, types)
    assert whole.dim == 1536
    for place, (first, last) in enumerate([(0, 3), (3, 6), (6, 8)]):
        expected = unit(sum(unit(member.vectors) for member in members[first:last])) / np.sqrt(3)
        np.testing.assert_allclose(
            whole.vectors[:, 512 * place : 512 * (place + 1)], expected, atol=1e-6
        )


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=4), st.integers(0, 1000))
def test_the_cosine_is_the_weighted_mean_of_the_models_cosines(weights, seed):
    """finegrained row 50."""
    members = [model(seed + n, dim=3 + n) for n in range(len(weights))]
    whole = concatenate(members, weights=weights).vectors.astype(np.float64)
    cosines = [unit(member.vectors) @ unit(member.vectors).T for member in members]
    np.testing.assert_allclose(
        whole @ whole.T, np.average(cosines, axis=0, weights=weights), atol=1e-5
    )


def test_weights_within_a_type_weigh_its_mean():
    a, b, c = model(0), model(1), model(2)
    whole = concatenate([a, b, c], ["x", "y", "x"], [3, 5, 1]).vectors
    mixed = unit(3 * unit(a.vectors) + unit(c.vectors)) * np.sqrt(2 / 7)
    np.testing.assert_allclose(
        whole, np.concatenate([mixed, unit(b.vectors) * np.sqrt(5 / 7)], axis=1), atol=1e-6
    )


def test_a_model_beside_itself_ranks_as_alone():
    queries, gallery = model(3, prefix="q", name="m"), model(4, count=30, name="m")
    alone = Exact(k=30)(queries, gallery)
    twice = Exact(k=30)(concatenate([queries, queries]), concatenate([gallery, gallery]))
    np.testing.assert_array_equal(alone.indices, twice.indices)
    np.testing.assert_allclose(alone.scores, twice.scores, atol=1e-6)


def test_images_are_matched_by_id_and_not_by_place(monkeypatch):
    a, b = model(0), model(1)
    order = np.random.default_rng(0).permutation(12)
    monkeypatch.setattr(module, "ROWS", 5)
    turned = concatenate([a, Embeddings(b.ids[order], b.vectors[order])])
    np.testing.assert_array_equal(turned.ids, a.ids)
    np.testing.assert_array_equal(turned.vectors, concatenate([a, b]).vectors)


def test_a_scale_of_a_models_vectors_changes_nothing():
    """finegrained row 50; trap 16."""
    a, b = model(0), model(1)
    one, two = (
        concatenate([a, Embeddings(b.ids, b.vectors * factor)]).vectors for factor in (1, 1000)
    )
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_members_with_other_images_are_named():
    a, fewer, more = model(0), model(1, count=11), model(2, count=13)
    with pytest.raises(
        ArtefactError, match="b.npy does not fit a.npy: it lacks 1 images, the first is 'i11'"
    ):
        concatenate([a, fewer], names=["a.npy", "b.npy"])
    with pytest.raises(ArtefactError, match="it has, unlike a.npy, 1 images, the first is 'i12'"):
        concatenate([a, more], names=["a.npy", "b.npy"])


def test_members_that_cannot_be_averaged_are_named():
    with pytest.raises(ArtefactError, match="member 2 has 7 dimensions, member 1 has 6"):
        concatenate([model(0), model(1, dim=7)], ["x", "x"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"types": ["x"]},
        {"weights": [1.0]},
        {"weights": [1, 0]},
        {"weights": [1, np.nan]},
        {"names": ["a"]},
    ],
)
def test_types_and_weights_must_be_one_a_member(wrong):
    with pytest.raises(UsageError):
        concatenate([model(0), model(1)], **wrong)
    with pytest.raises(UsageError):
        concatenate([])


def test_a_zero_vector_is_named():
    vectors = model(1).vectors.copy()
    vectors[4] = 0
    with pytest.raises(DataError, match="i04"):
        concatenate([model(0), Embeddings(model(1).ids, vectors)])


def test_only_concatenations_of_the_same_models_meet():
    made = [
        concatenate([model(0, name="a"), model(1, name=name)], **more)
        for name, more in (("b", {}), ("b", {}), ("c", {}), ("b", {"weights": [1, 2]}))
    ]
    Exact(k=1)(*made[:2])
    for other, key in ((made[2], "model"), (made[3], "enhance"), (model(5, dim=12), "model")):
        with pytest.raises(ArtefactError, match=f"differ in {key}"):
            Exact(k=1)(made[0], other)
    untold = concatenate([model(0, name="a"), Embeddings(model(1).ids, model(1).vectors)])
    assert untold.provenance["model"] == ["a", None]


def test_the_step_of_a_recipe_reads_the_other_models(tmp_path):
    queries, gallery = (
        [model(n, prefix="q", name=f"m{n}") for n in range(3)],
        [model(n, count=20) for n in range(3)],
    )
    for n in (1, 2):
        queries[n].save(tmp_path / f"q{n}")
        gallery[n].save(tmp_path / f"g{n}", rows=6)
    q1, q2, g1, g2 = (str(tmp_path / name) for name in ("q1", "q2", "g1", "g2"))
    part = build(
        f"concat(queries={(q1, q2)!r}, gallery={(g1, g2)!r}, types=('a', 'a', 'b'), weights=(1,"
        " 1, 2))",
        ENHANCERS,
    )
    for members, after in zip((queries, gallery), part(queries[0], gallery[0]), strict=True):
        np.testing.assert_array_equal(
            after.vectors, concatenate(members, ["a", "a", "b"], [1, 1, 2]).vectors
        )
    Exact(k=3)(*part(queries[0], gallery[0]))


def test_the_step_without_other_models_only_normalises():
    queries, gallery = model(0, prefix="q"), model(1)
    after = build("concat()", ENHANCERS)(queries, gallery)
    np.testing.assert_allclose(after[0].vectors, unit(queries.vectors), atol=1e-6)
    assert after[1].provenance == {"model": "m1", "enhance": ["concat()"]}


@pytest.mark.parametrize(
    "call",
    [
        "concat(queries=('a',))",
        "concat(queries='a', gallery='b', types=('x',))",
        "concat(weights=(1, 2))",
    ],
)
def test_impossible_settings_are_refused(call):
    with pytest.raises(UsageError):
        build(call, ENHANCERS)
