"""super_global against loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.errors import UsageError
from fastseek.registry import RERANKERS, build
from fastseek.rerank.super_global import SuperGlobal
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings


def pair(seed, queries=4, gallery=30, dim=8):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(5, dim))
    vectors = centres[random.integers(0, 5, queries + gallery)] + 0.5 * random.normal(
        size=(queries + gallery, dim)
    )
    vectors = vectors.astype(np.float32)
    return (
        Embeddings([f"q{n:02d}" for n in range(queries)], vectors[:queries]),
        Embeddings([f"g{n:02d}" for n in range(gallery)], vectors[queries:]),
    )


def slow(query, images, k, beta):
    """The definition, image by image."""
    query = query / np.linalg.norm(query)
    images = [image / np.linalg.norm(image) for image in images]
    refined = []
    for one, image in enumerate(images):
        others = sorted(
            (other for other in range(len(images)) if other != one),
            key=lambda other: -float(image @ images[other]),
        )[:k]
        weights = [beta * max(float(image @ images[other]), 0) for other in others]
        total = image + sum(
            (weight * images[other] for weight, other in zip(weights, others, strict=True)),
            np.zeros_like(image),
        )
        refined.append(total / (1 + sum(weights)))
    first = [float(query @ image) for image in refined]
    best = sorted(range(len(images)), key=lambda one: -first[one])[: k + 1]
    expanded = np.array([max(refined[one][d] for one in best) for d in range(len(query))])
    return [(first[one] + float(expanded @ refined[one])) / 2 for one in range(len(images))]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 40),
    st.integers(0, 12),
    st.floats(0, 2),
    st.integers(1, 30),
)
def test_scores_are_those_of_loops(seed, m, k, beta, depth):
    """landmark row 50."""
    queries, gallery = pair(seed)
    ranking = Exact(k=depth)(queries, gallery)
    after = SuperGlobal(m, k, beta)(ranking, queries, gallery)
    head = min(m, depth)
    for row in range(len(queries)):
        best = ranking.indices[row, :m]
        expected = slow(
            queries.vectors[row].astype(np.float64),
            gallery.vectors[best].astype(np.float64),
            k,
            beta,
        )
        new = dict(zip(best.tolist(), expected, strict=True))
        np.testing.assert_allclose(
            after.scores[row, :head], [new[i] for i in after.indices[row, :head]], atol=1e-5
        )
        np.testing.assert_array_equal(after.indices[row, head:], ranking.indices[row, head:])


def test_images_beyond_the_best_keep_their_scores_when_there_is_room():
    queries, gallery = pair(1)
    ranking = Exact(k=30)(queries, gallery)
    after = SuperGlobal(m=3)(ranking, queries, gallery)
    room = ranking.scores[:, 3] < after.scores[:, 2]
    np.testing.assert_array_equal(after.scores[room, 3:], ranking.scores[room, 3:])


def test_without_neighbours_the_query_is_joined_by_its_best_image():
    queries, gallery = pair(2)
    ranking = Exact(k=30)(queries, gallery)
    after = SuperGlobal(k=0)(ranking, queries, gallery)
    unit = gallery.vectors / np.linalg.norm(gallery.vectors, axis=1, keepdims=True)
    for row in range(len(queries)):
        expected = (
            ranking.scores[row] + unit[ranking.indices[row]] @ unit[ranking.indices[row, 0]]
        ) / 2
        np.testing.assert_allclose(after.scores[row], -np.sort(-expected), atol=1e-6)


def test_re_ranking_helps_where_classes_are_noisy():
    random = np.random.default_rng(0)
    centres = random.normal(size=(12, 64))
    labels = np.arange(240) % 12
    vectors = (centres[labels] + 2.2 * random.normal(size=(240, 64))).astype(np.float32)
    queries = Embeddings([f"q{n:02d}" for n in range(24)], vectors[:24])
    gallery = Embeddings([f"g{n:03d}" for n in range(216)], vectors[24:])
    ranking = Exact(k=216)(queries, gallery)
    after = SuperGlobal(m=100, beta=1.0)(ranking, queries, gallery)
    right = [
        (labels[24:][one.indices[:, :18]] == labels[:24, None]).mean() for one in (ranking, after)
    ]
    assert right[1] > right[0] + 0.05


@pytest.mark.parametrize(
    "call", ["super_global(m=0)", "super_global(k=-1)", "super_global(beta=-0.1)"]
)
def test_impossible_settings_are_refused(call):
    with pytest.raises(UsageError):
        build(call, RERANKERS)
