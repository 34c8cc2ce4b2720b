"""graph_convolution against matrices written out."""

import numpy as np
import pytest

from fastseek.errors import UsageError
from fastseek.registry import RERANKERS, build
from fastseek.rerank.graph_convolution import GraphConvolution
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings


def pair(seed, queries=4, gallery=30, dim=8, noise=0.5):
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(5, dim))
    labels = random.integers(0, 5, queries + gallery)
    vectors = centres[labels] + noise * random.normal(size=(queries + gallery, dim))
    vectors = vectors.astype(np.float32)
    return (
        Embeddings([f"q{n:02d}" for n in range(queries)], vectors[:queries]),
        Embeddings([f"g{n:02d}" for n in range(gallery)], vectors[queries:]),
        labels,
    )


def unit(vectors):
    vectors = vectors.astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def slow(query, images, k1, k2, alpha, layers):
    """The definition with whole matrices, image by image."""
    count, near, asked = len(images), images @ images.T, images @ query
    lists = [sorted(range(count), key=lambda j, i=i: -near[i, j]) for i in range(count)]
    mine = sorted(range(count), key=lambda j: -asked[j])
    is_near = np.array([[j in lists[i][:k1] for j in range(count)] for i in range(count)])
    features = (is_near + is_near.T.astype(float)) / 2
    feature = np.zeros(count)
    for j in mine[:k1]:
        back = k1 >= count or asked[j] >= near[j, lists[j][k1 - 1]]
        feature[j] = 1 if back else 0.5
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    feature = feature / np.linalg.norm(feature)
    for _ in range(layers):
        new = features.copy()
        for i in range(count):
            for j in lists[i][1:k2]:
                new[i] += max(near[i, j], 0) ** alpha * features[j]
        told = [max(asked[j], 0) ** alpha * features[j] for j in mine[: k2 - 1]]
        feature = feature + np.sum(told, axis=0) if told else feature
        features = new / np.linalg.norm(new, axis=1, keepdims=True)
        feature = feature / np.linalg.norm(feature)
    return features @ feature


@pytest.mark.parametrize("over", ["gallery", "list"])
@pytest.mark.parametrize(
    "k1, k2, alpha, layers",
    [(6, 3, 2.0, 2), (1, 1, 2.0, 1), (4, 7, 0.0, 3), (30, 2, 1.0, 1), (9, 4, 2.0, 0)],
)
def test_scores_are_those_of_whole_matrices(over, k1, k2, alpha, layers):
    queries, gallery, _ = pair(k1)
    ranking = Exact(k=12)(queries, gallery)
    after = GraphConvolution(k1, k2, alpha, layers, over)(ranking, queries, gallery)
    for row, query in enumerate(unit(queries.vectors)):
        listed = ranking.indices[row]
        graph = np.arange(len(gallery)) if over == "gallery" else listed
        known = slow(query, unit(gallery.vectors[graph]), k1, k2, alpha, layers)
        new = dict(zip(graph.tolist(), known.tolist(), strict=True))
        expected = np.array([new[one] for one in after.indices[row]])
        reached = expected > 0
        np.testing.assert_allclose(after.scores[row, reached], expected[reached], atol=1e-5)
        assert reached.tolist() == sorted(reached.tolist(), reverse=True)
        old = [one for one in listed.tolist() if new[one] == 0]
        assert after.indices[row, ~reached].tolist() == old
        assert (after.scores[row, ~reached] <= -1).all()


def test_the_gallery_may_be_smaller_than_the_neighborhoods():
    queries, gallery, _ = pair(3, gallery=3)
    after = GraphConvolution(k1=26, k2=7)(Exact(k=100)(queries, gallery), queries, gallery)
    np.testing.assert_array_equal(np.sort(after.indices, axis=1), [[0, 1, 2]] * 4)


@pytest.mark.parametrize("over", ["gallery", "list"])
def test_it_helps_where_classes_are_noisy(over):
    queries, gallery, labels = pair(0, 20, 150, 32, 1.8)
    ranking = Exact(k=150)(queries, gallery)
    after = GraphConvolution(over=over)(ranking, queries, gallery)
    right = [
        (labels[20:][one.indices[:, :20]] == labels[:20, None]).mean() for one in (ranking, after)
    ]
    assert right[1] > right[0] + 0.02


@pytest.mark.parametrize("wrong", ["k1=0", "k2=0", "alpha=-1", "layers=-1", "over='all'"])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(UsageError):
        build(f"graph_convolution({wrong})", RERANKERS)
