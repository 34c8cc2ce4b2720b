"""k_reciprocal_query against sets and loops, and the file that keeps the gallery's graph."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.errors import ArtefactError, UsageError
from fastseek.knn import nearest as nearest_module
from fastseek.knn import vectors
from fastseek.knn.graph import build as build_module
from fastseek.registry import RERANKERS, build
from fastseek.rerank import _gallery_graph as graph_module
from fastseek.rerank import k_reciprocal_query as module
from fastseek.rerank.k_reciprocal import KReciprocal
from fastseek.rerank.k_reciprocal_query import KReciprocalQuery
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings
from fastseek.structures.arrays import Lazy


def pair(seed, queries=7, gallery=50, dim=8, classes=6, spread=0.5):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(classes, dim))
    labels = np.arange(queries + gallery) % classes
    vectors = (centres[labels] + spread * random.normal(size=(queries + gallery, dim))).astype(
        np.float32
    )
    return (
        Embeddings([f"q{n:02d}" for n in range(queries)], vectors[:queries]),
        Embeddings([f"g{n:02d}" for n in range(gallery)], vectors[queries:]),
    )


def slow(queries, gallery, k1, k2, lambda_, metric):
    """Distances [Q, G] by the definition, with sets."""
    q, g = (side.vectors.astype(np.float64) for side in (queries, gallery))
    if metric == "cosine":
        q, g = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (q, g))
    among = ((g[:, None] - g[None]) ** 2).sum(axis=2)
    between = ((q[:, None] - g[None]) ** 2).sum(axis=2)
    count = len(g)
    order = [sorted(range(count), key=lambda j: (j != i, among[i, j])) for i in range(count)]
    asked = [sorted(range(count), key=lambda j: between[i, j]) for i in range(len(q))]

    def mutual(i, k):
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    half = [mutual(i, int(np.around(k1 / 2))) for i in range(count)]

    def encoding(near, squares):
        wide = set(near)
        for j in near:
            if len(half[j] & near) > 2 / 3 * len(half[j]):
                wide |= half[j]
        weights = {j: np.exp(-squares[j] / squares.max()) for j in wide}
        return np.array(
            [weights.get(j, 0) / max(sum(weights.values()), 1e-300) for j in range(count)]
        )

    raw = np.array([encoding(mutual(i, k1), among[i]) for i in range(count)])
    images = np.array([raw[order[i][:k2]].mean(axis=0) for i in range(count)])
    final = np.zeros(between.shape)
    for i in range(len(q)):
        near = {
            j
            for j in asked[i][:k1]
            if len(order[j]) <= k1 or between[i, j] <= among[j, order[j][k1]]
        }
        mine = np.mean([encoding(near, between[i])] + [raw[j] for j in asked[i][: k2 - 1]], axis=0)
        for j in range(count):
            jaccard = 1 - np.minimum(mine, images[j]).sum() / np.maximum(mine, images[j]).sum()
            final[i, j] = (1 - lambda_) * jaccard + lambda_ * between[i, j] / between[i].max()
    return final


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 12),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from(["cosine", "l2"]),
    st.integers(1, 40),
)
def test_distances_are_those_of_sets_and_loops(seed, k1, k2, lambda_, metric, depth):
    queries, gallery = pair(seed, gallery=40)
    ranking = Exact(k=depth, metric=metric)(queries, gallery)
    after = KReciprocalQuery(k1, k2, lambda_, metric)(ranking, queries, gallery)
    expected = slow(queries, gallery, k1, k2, lambda_, metric)
    np.testing.assert_allclose(
        -after.scores, np.take_along_axis(expected, after.indices, axis=1), atol=1e-5
    )


@pytest.mark.parametrize("k2", [1, 2, 6])
def test_a_query_that_no_image_has_among_its_nearest_has_the_distance_of_the_definition_too(k2):
    places = np.array([[0], [0.1], [0.25], [0.45], [0.7], [1], [1.4], [2]], np.float32)
    line = Embeddings([f"g{n}" for n in range(8)], places)
    far = Embeddings(["q"], np.array([[-3.0]], np.float32))
    after = KReciprocalQuery(2, k2, 0.3, "l2")(Exact(8, "l2")(far, line), far, line)
    expected = slow(far, line, 2, k2, 0.3, "l2")
    np.testing.assert_allclose(
        -after.scores, np.take_along_axis(expected, after.indices, axis=1), atol=1e-5
    )


@pytest.mark.parametrize(("k1", "k2"), [(50, 6), (20, 50), (20, 6)])
def test_neighbourhoods_larger_than_the_gallery_take_all_of_it(k1, k2):
    queries, gallery = pair(1, gallery=9)
    after = KReciprocalQuery(k1, k2)(Exact(k=9)(queries, gallery), queries, gallery)
    expected = slow(queries, gallery, k1, k2, 0.3, "cosine")
    np.testing.assert_allclose(
        -after.scores, np.take_along_axis(expected, after.indices, axis=1), atol=1e-5
    )


def test_order_is_nearly_that_of_k_reciprocal_of_one_query():
    agree = []
    for seed in range(5):
        queries, gallery = pair(seed, queries=1, gallery=120)
        ranking = Exact(k=120)(queries, gallery)
        one, two = (
            part(ranking, queries, gallery)
            for part in (KReciprocal(12, 4), KReciprocalQuery(12, 4))
        )
        agree.append(len(set(one.indices[0, :20]) & set(two.indices[0, :20])) / 20)
    assert np.mean(agree) > 0.85


def test_re_ranking_helps_where_neighbourhoods_are_clean():
    queries, gallery = pair(0, queries=20, gallery=220, dim=6, classes=20, spread=0.55)
    labels = np.arange(240) % 20
    ranking = Exact(k=220)(queries, gallery)
    after = KReciprocalQuery(k1=12, k2=4)(ranking, queries, gallery)
    right = [
        (labels[20:][one.indices[:, :11]] == labels[:20, None]).mean() for one in (ranking, after)
    ]
    assert right[1] > right[0] + 0.02


def test_lambda_1_keeps_the_order_of_the_search():
    queries, gallery = pair(2)
    ranking = Exact(k=50)(queries, gallery)
    np.testing.assert_array_equal(
        KReciprocalQuery(lambda_=1)(ranking, queries, gallery).indices, ranking.indices
    )


def test_block_sizes_change_nothing(monkeypatch):
    queries, gallery = pair(3)
    ranking = Exact(k=20)(queries, gallery)
    whole = KReciprocalQuery()(ranking, queries, gallery)
    monkeypatch.setattr(module, "ROWS", 2)
    np.testing.assert_array_equal(
        KReciprocalQuery()(ranking, queries, gallery).scores, whole.scores
    )


def test_a_kept_graph_gives_the_same_to_new_queries_and_is_written_once(tmp_path):
    file = tmp_path / "graph.npz"
    queries, gallery = pair(4)
    part = KReciprocalQuery(8, 3, graph=str(file))
    first = part(Exact(k=20)(queries, gallery), queries, gallery)
    written = file.read_bytes(), file.stat().st_mtime_ns
    other = Embeddings(["new"], queries.vectors[:1])
    again = part(Exact(k=20)(other, gallery), other, gallery)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == written
    np.testing.assert_array_equal(again.indices[0], first.indices[0])
    plain = KReciprocalQuery(8, 3)(Exact(k=20)(queries, gallery), queries, gallery)
    np.testing.assert_array_equal(plain.scores, first.scores)
    file.unlink()
    part(Exact(k=20)(queries, gallery), queries, gallery)
    assert file.read_bytes() == written[0]


class Guarded(Lazy):
    """Vectors of which never many are read at once."""

    def __init__(self, vectors, most):
        self.held, self.most = vectors, most
        self.shape, self.dtype = vectors.shape, vectors.dtype

    def __getitem__(self, rows):
        found = self.held[rows]
        assert found.size <= self.most * self.shape[1], "more vectors were read than may be"
        return found


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("k2", [1, 3])
def test_a_folder_gives_the_same_to_the_last_bit(tmp_path, monkeypatch, metric, k2):
    monkeypatch.setattr(module, "FEW_ROWS", 3)
    queries, gallery = pair(6)
    ranking = Exact(k=20, metric=metric)(queries, gallery)
    plain = KReciprocalQuery(8, k2, metric=metric)(ranking, queries, gallery)
    part = KReciprocalQuery(8, k2, metric=metric, graph=str(tmp_path / "kept"))
    for _ in range(2):
        found = part(ranking, queries, gallery)
        np.testing.assert_array_equal(found.scores, plain.scores)
        np.testing.assert_array_equal(found.indices, plain.indices)
    with pytest.raises(ArtefactError, match="the graph of another k1"):
        KReciprocalQuery(9, k2, metric=metric, graph=str(tmp_path / "kept"))(
            ranking, queries, gallery
        )


def test_with_a_folder_the_gallery_is_never_read_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "PAIR_CELLS", 8 * 40)
    monkeypatch.setattr(nearest_module.nearest, "__defaults__", ("cosine", 40, "auto", True))
    queries, gallery = pair(7, gallery=400)
    ranking = Exact(k=20)(queries, gallery)
    part = KReciprocalQuery(8, 3, graph=str(tmp_path / "kept"))
    right = part(ranking, queries, gallery)
    monkeypatch.setattr(graph_module, "fingerprint", lambda _: graph_of(tmp_path / "kept"))
    guarded = Embeddings(gallery.ids, Guarded(gallery.vectors, 40))
    found = part(ranking, queries, guarded)
    np.testing.assert_array_equal(found.scores, right.scores)


def test_files_of_others_are_left_alone_and_a_changed_byte_is_found(tmp_path, monkeypatch):
    queries, gallery = pair(6)
    ranking = Exact(k=20)(queries, gallery)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "weights.npy").write_bytes(b"years of work")
    with pytest.raises(ArtefactError, match=r"holds weights\.npy, and no graph"):
        KReciprocalQuery(8, 3, graph=str(tmp_path / "mine"))(ranking, queries, gallery)
    assert (tmp_path / "mine" / "weights.npy").read_bytes() == b"years of work"
    # A build that dies is done again in the same folder.
    part = KReciprocalQuery(8, 3, graph=str(tmp_path / "kept"))
    with monkeypatch.context() as patched:
        patched.setattr(graph_module, "_hash_files", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            part(ranking, queries, gallery)
    right = part(ranking, queries, gallery)
    np.testing.assert_array_equal(part(ranking, queries, gallery).scores, right.scores)
    content = bytearray((tmp_path / "kept" / "weights.npy").read_bytes())
    content[-1] ^= 1
    (tmp_path / "kept" / "weights.npy").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"weights\.npy: the bytes are not"):
        part(ranking, queries, gallery)


def graph_of(folder):
    return json.loads((folder / "gallery.json").read_text())["gallery"]


def test_a_large_gallery_is_searched_cell_by_cell_with_nearly_the_same_answer(
    tmp_path, monkeypatch
):
    queries, gallery = pair(8, gallery=600, classes=30, spread=0.3)
    ranking = Exact(k=40)(queries, gallery)
    plain = KReciprocalQuery(10, 3)(ranking, queries, gallery)
    monkeypatch.setattr(graph_module, "EXACT_ROWS", 500)
    monkeypatch.setattr(build_module, "EXACT_ROWS", 500)
    part = KReciprocalQuery(10, 3, graph=str(tmp_path / "kept"))
    found = part(ranking, queries, gallery)
    same = [
        np.isin(a[:10], b[:10]).mean() for a, b in zip(found.indices, plain.indices, strict=True)
    ]
    assert np.mean(same) > 0.9
    np.testing.assert_allclose(np.sort(found.scores), np.sort(plain.scores), atol=0.05)


def test_a_graph_of_photos_whose_names_are_no_utf8_is_kept(tmp_path):
    queries, gallery = pair(4)
    gallery = Embeddings(["x\udcff.jpg", *gallery.ids[1:]], gallery.vectors)
    ranking, part = (
        Exact(k=20)(queries, gallery),
        KReciprocalQuery(8, 3, graph=str(tmp_path / "graph.npz")),
    )
    np.testing.assert_array_equal(
        part(ranking, queries, gallery).scores, part(ranking, queries, gallery).scores
    )


def test_a_graph_of_another_gallery_or_other_settings_is_refused(tmp_path):
    file = str(tmp_path / "graph.npz")
    queries, gallery = pair(5)
    ranking = Exact(k=20)(queries, gallery)
    KReciprocalQuery(8, 3, graph=file)(ranking, queries, gallery)
    with pytest.raises(ArtefactError, match="the graph of another k1 and k2"):
        KReciprocalQuery(9, 4, graph=file)(ranking, queries, gallery)
    changed = gallery.vectors.copy()
    changed[3, 0] += 1e-3
    for other in (Embeddings(gallery.ids, changed), Embeddings(gallery.ids[::-1], gallery.vectors)):
        with pytest.raises(ArtefactError, match="the graph of another gallery"):
            KReciprocalQuery(8, 3, graph=file)(Exact(k=20)(queries, other), queries, other)
    (tmp_path / "graph.npz").write_bytes((tmp_path / "graph.npz").read_bytes()[:300])
    with pytest.raises(ArtefactError, match="not a whole"):
        KReciprocalQuery(8, 3, graph=file)(ranking, queries, gallery)


@pytest.mark.parametrize(
    "call",
    [
        "k_reciprocal_query(k1=0)",
        "k_reciprocal_query(k2=0)",
        "k_reciprocal_query(lambda_=2)",
        "k_reciprocal_query(metric='ip')",
    ],
)
def test_impossible_settings_are_refused(call):
    with pytest.raises(UsageError):
        build(call, RERANKERS)
