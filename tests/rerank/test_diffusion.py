"""diffusion against a dense solution in float64."""

import numpy as np
import pytest

from fastseek.errors import UsageError
from fastseek.registry import RERANKERS, build
from fastseek.rerank import diffusion as module
from fastseek.rerank.diffusion import Diffusion
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings


def pair(seed, queries=4, gallery=30, dim=6):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(5, dim))
    vectors = centres[random.integers(0, 5, queries + gallery)] + 0.4 * random.normal(
        size=(queries + gallery, dim)
    )
    return sides(vectors[:queries], vectors[queries:])


def sides(queries, gallery):
    return (
        Embeddings([f"q{n:02d}" for n in range(len(queries))], np.asarray(queries, np.float32)),
        Embeddings([f"g{n:02d}" for n in range(len(gallery))], np.asarray(gallery, np.float32)),
    )


def dense(query, images, k, seeds, alpha, gamma):
    """f by the definition, with a dense inverse; and which images a chain of joints leads to."""
    query, images = (
        query / np.linalg.norm(query),
        images / np.linalg.norm(images, axis=1, keepdims=True),
    )
    count, near = len(images), images @ images.T
    best = [
        sorted((j for j in range(count) if j != i), key=lambda j: -near[i, j])[:k]
        for i in range(count)
    ]
    joined = np.zeros((count, count))
    for i in range(count):
        for j in best[i]:
            if i in best[j]:
                joined[i, j] = max(near[i, j], 0) ** gamma
    roots = np.array([1 / np.sqrt(total) if total else 0 for total in joined.sum(axis=1)])
    normal = roots[:, None] * joined * roots
    start = np.zeros(count)
    for j in sorted(range(count), key=lambda j: -float(query @ images[j]))[:seeds]:
        start[j] = max(float(query @ images[j]), 0) ** gamma
    reached, more = start > 0, start > 0
    while more.any():
        more = (joined[reached].sum(axis=0) > 0) & ~reached
        reached = reached | more
    return np.linalg.solve(np.eye(count) - alpha * normal, (1 - alpha) * start), reached


@pytest.mark.parametrize("over", ["gallery", "list"])
@pytest.mark.parametrize(
    ("k", "seeds", "alpha", "gamma"),
    [(5, 3, 0.99, 3.0), (50, 10, 0.9, 1.0), (2, 1, 0.5, 3.0), (1, 2, 0.99, 0.0), (4, 2, 0.0, 2.0)],
)
def test_scores_are_those_of_a_dense_inverse(over, k, seeds, alpha, gamma):
    for seed in range(3):
        queries, gallery = pair(seed)
        ranking = Exact(k=20)(queries, gallery)
        after = Diffusion(k, seeds, alpha, gamma, over, 1e-10)(ranking, queries, gallery)
        for row in range(len(queries)):
            rows = np.arange(30) if over == "gallery" else ranking.indices[row]
            walked, reached = dense(
                queries.vectors[row].astype(np.float64),
                gallery.vectors[rows].astype(np.float64),
                k,
                seeds,
                alpha,
                gamma,
            )
            old = dict(
                zip(ranking.indices[row].tolist(), ranking.scores[row].tolist(), strict=True)
            )
            new = {
                int(i): walked[n] if reached[n] else old[int(i)] - max(old.values()) - 1
                for n, i in enumerate(rows)
                if int(i) in old
            }
            np.testing.assert_allclose(
                after.scores[row], [new[int(i)] for i in after.indices[row]], atol=1e-6
            )


def test_over_the_list_is_over_the_gallery_when_everything_is_listed():
    queries, gallery = pair(5)
    ranking = Exact(k=30)(queries, gallery)
    one, two = (
        Diffusion(6, 3, over=over, tolerance=1e-10)(ranking, queries, gallery)
        for over in ("gallery", "list")
    )
    np.testing.assert_array_equal(one.indices, two.indices)
    np.testing.assert_allclose(one.scores, two.scores, atol=1e-6)


def test_the_walk_follows_a_bent_class_past_a_nearer_stranger():
    angles = np.radians(np.arange(0, 100, 7))
    bent = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    strangers = [
        [np.cos(1), 0, np.sin(1)],
        [np.cos(1), -0.1, np.sin(1)],
        [np.cos(1), 0.1, np.sin(1)],
    ]
    queries, gallery = sides(bent[:1], np.concatenate([bent[1:], strangers]))
    ranking = Exact(k=len(gallery))(queries, gallery)
    assert not (ranking.indices[0, -3:] >= 14).all()
    after = Diffusion(k=2, seeds=2)(ranking, queries, gallery)
    assert (after.indices[0, -3:] >= 14).all()


def test_images_out_of_reach_keep_their_order_at_the_end():
    queries, gallery = sides(
        [[1, 0.1, 0, 0]],
        [[1, 0, 0, 0], [0.99, 0.1, 0, 0], [0, 1, 0.9, 0], [0, 1, 1, 0], [-1, -1, 0, 0]],
    )
    ranking = Exact(k=5)(queries, gallery)
    after = Diffusion(k=1, seeds=1)(ranking, queries, gallery)
    assert set(after.indices[0, :2].tolist()) == {0, 1} and (after.scores[0, :2] > 0).all()
    assert (
        after.indices[0, 2:].tolist() == ranking.indices[0, 2:].tolist()
        and (after.scores[0, 2:] <= -1).all()
    )


def test_a_query_like_nothing_changes_nothing():
    queries, gallery = sides([[-1, -1]], np.abs(np.random.default_rng(0).normal(size=(8, 2))))
    ranking = Exact(k=8)(queries, gallery)
    for over in ("gallery", "list"):
        np.testing.assert_array_equal(
            Diffusion(over=over)(ranking, queries, gallery).indices, ranking.indices
        )


def test_a_walk_that_does_not_settle_is_told(monkeypatch, caplog):
    monkeypatch.setattr(module, "STEPS", 1)
    queries, gallery = pair(1)
    Diffusion(k=5)(Exact(k=20)(queries, gallery), queries, gallery)
    assert "did not settle" in caplog.text


@pytest.mark.parametrize(
    "call",
    [
        "diffusion(k=0)",
        "diffusion(seeds=0)",
        "diffusion(alpha=1)",
        "diffusion(alpha=-0.1)",
        "diffusion(gamma=-1)",
        "diffusion(over='all')",
        "diffusion(tolerance=0)",
    ],
)
def test_impossible_settings_are_refused(call):
    with pytest.raises(UsageError):
        build(call, RERANKERS)
