import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek import compat  # noqa: F401  (before anything that imports fastreid)
from fastseek.errors import ArtefactError, DataError, RunError, UsageError
from fastseek.knn.scan.cuda import Cuda
from fastseek.knn.scan.distance import Distance
from fastseek.registry import RERANKERS, build
from fastseek.rerank import _k_reciprocal_encoding, _memory_plan
from fastseek.rerank import k_reciprocal as module
from fastseek.rerank.k_reciprocal import KReciprocal
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings, Ranking

oracle = pytest.importorskip("fastreid.evaluation.rerank")


def pair(seed, queries=13, gallery=77, dim=16, classes=9, spread=0.5):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(classes, dim))
    labels = random.integers(0, classes, queries + gallery)
    return sides(centres[labels] + spread * random.normal(size=(queries + gallery, dim)), queries)


def sides(vectors, queries):
    vectors = np.asarray(vectors, np.float32)
    return (
        Embeddings([f"{n:03d}" for n in range(queries)], vectors[:queries]),
        Embeddings([f"{n:03d}" for n in range(len(vectors) - queries)], vectors[queries:]),
    )


def distances(one, other, metric):
    one, other = (np.asarray(side.vectors, np.float64) for side in (one, other))
    if metric == "cosine":
        one, other = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (one, other))
    return np.sqrt(((one[:, None] - other[None]) ** 2).sum(axis=2))


def theirs(queries, gallery, k1, k2, lambda_, metric):
    three = [
        distances(a, b, metric)
        for a, b in ((queries, gallery), (queries, queries), (gallery, gallery))
    ]
    return oracle.re_ranking(*three, k1, k2, lambda_)


@pytest.mark.parametrize(
    ("k1", "k2", "lambda_"), [(20, 6, 0.3), (6, 3, 0.5), (27, 9, 0.0), (5, 1, 0.3), (50, 15, 1.0)]
)
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_distances_are_those_of_fastreid(k1, k2, lambda_, metric):
    """finegrained row 15; trap 6: the distance is squared once."""
    for seed in range(3):
        queries, gallery = pair(seed)
        ours = KReciprocal(k1, k2, lambda_, metric).matrix(queries, gallery)
        np.testing.assert_allclose(
            -ours, theirs(queries, gallery, k1, k2, lambda_, metric), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (200, 6), (20, 200)])
def test_neighbourhoods_larger_than_everything_there_is_are_those_of_fastreid(k1, k2):
    queries, gallery = pair(4, queries=3, gallery=15)
    ours = KReciprocal(k1, k2).matrix(queries, gallery)
    np.testing.assert_allclose(
        -ours, theirs(queries, gallery, k1, k2, 0.3, "cosine"), rtol=0, atol=1e-5
    )


def slow_encoding(neighbours, k1, k2, weights, more=1, share=2 / 3):
    """The seven lines of the paper with sets and loops."""
    count = len(neighbours)

    def mutual(i, k):
        return {j for j in neighbours[i, :k].tolist() if i in neighbours[j, :k]}

    encoded = np.zeros((count, count))
    for i in range(count):
        near, wide = mutual(i, k1 + more), set()
        for j in near:
            other = mutual(j, int(np.around(k1 / 2)) + 1)
            if len(other & near) > share * len(other):
                wide |= other
        chosen = sorted(near | wide)
        encoded[i, chosen] = weights[i, chosen] / weights[i, chosen].sum()
    return (
        np.array([encoded[neighbours[i, :k2]].mean(axis=0) for i in range(count)])
        if k2 > 1
        else encoded
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 7), st.sampled_from([1, 4, 4096]))
def test_sparse_encodings_are_those_of_sets_and_loops(seed, k1, k2, rows):
    """finegrained row 15."""
    random = np.random.default_rng(seed)
    points = random.normal(size=(30, 3))
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    neighbours = np.argsort(squared, axis=1)[:, : max(k1 + 1, k2)]
    usual, _k_reciprocal_encoding.ROWS = _k_reciprocal_encoding.ROWS, rows
    try:
        ours = _k_reciprocal_encoding.encode(neighbours, k1, k2, lambda i, j: squared[i, j])
    finally:
        _k_reciprocal_encoding.ROWS = usual
    np.testing.assert_allclose(
        ours.toarray(), slow_encoding(neighbours, k1, k2, np.exp(-squared)), rtol=0, atol=1e-6
    )


def test_two_thirds_is_counted_as_fastreid_counts_it():
    sizes = np.arange(1, 500)
    for size in sizes:
        overlaps = np.arange(size + 1)
        np.testing.assert_array_equal(
            overlaps > 2 / 3 * size, [n > 2.0 / 3 * int(size) for n in overlaps.tolist()]
        )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 90))
def test_every_query_keeps_its_images(seed, k):
    queries, gallery = pair(seed)
    ranking = Exact(k=k)(queries, gallery)
    after = KReciprocal()(ranking, queries, gallery)
    np.testing.assert_array_equal(np.sort(after.indices, axis=1), np.sort(ranking.indices, axis=1))


def test_scores_are_those_of_the_matrix_in_order():
    queries, gallery = pair(1)
    part = KReciprocal()
    after = part(Exact(k=20)(queries, gallery), queries, gallery)
    expected = np.take_along_axis(part.matrix(queries, gallery), after.indices, axis=1)
    np.testing.assert_array_equal(after.scores, expected)


@pytest.mark.parametrize("room", [0, 1 << 30])
@pytest.mark.parametrize("step", [1, 500, 1 << 21])
@pytest.mark.parametrize(
    ("k1", "k2", "metric"), [(20, 6, "cosine"), (5, 1, "l2"), (50, 15, "cosine")]
)
def test_short_lists_get_the_scores_of_the_matrix(room, step, k1, k2, metric, monkeypatch):
    """finegrained row 16: blocks of any size give the same."""
    monkeypatch.setattr(module, "ENTRIES", step)
    monkeypatch.setattr(_memory_plan, "SPARE", room)
    queries, gallery = pair(11, gallery=120)
    part = KReciprocal(k1, k2, 0.3, metric)
    after = part(Exact(k=9, metric=metric)(queries, gallery), queries, gallery)
    expected = np.take_along_axis(part.matrix(queries, gallery), after.indices, axis=1)
    np.testing.assert_allclose(after.scores, expected, rtol=0, atol=1e-6)
    assert (np.diff(after.scores) <= 0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 7), st.sampled_from([1, 4, 4096]))
def test_encodings_by_the_rule_of_digix_are_those_of_sets_and_loops(seed, k1, k2, rows):
    """finegrained row 17."""
    random = np.random.default_rng(seed)
    points = random.normal(size=(30, 3))
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    neighbours = np.argsort(squared, axis=1)[:, : max(k1 + 1, k2)]
    usual, _k_reciprocal_encoding.ROWS = _k_reciprocal_encoding.ROWS, rows
    try:
        ours = _k_reciprocal_encoding.encode(
            neighbours, k1, k2, lambda i, j: squared[i, j], _k_reciprocal_encoding.RULES["digix"]
        )
    finally:
        _k_reciprocal_encoding.ROWS = usual
    theirs = slow_encoding(neighbours, k1, k2, np.exp(-squared), more=0, share=2 / 5)
    np.testing.assert_allclose(ours.toarray(), theirs, rtol=0, atol=1e-6)


def test_the_digix_variant_is_another_re_ranking_and_says_so():
    """finegrained row 17; trap 7."""
    queries, gallery = pair(3)
    ranking = Exact(k=77)(queries, gallery)
    after = [
        build(f"k_reciprocal(25, 6, 0.5, variant={name!r})", RERANKERS)(ranking, queries, gallery)
        for name in ("paper", "digix")
    ]
    assert (after[0].scores != after[1].scores).any()
    assert after[1].provenance["rerank"] == [
        "k_reciprocal(k1=25, k2=6, lambda_=0.5, metric='cosine', variant='digix')"
    ]


def grown(count, k=10, dim=6):
    queries, gallery = pair(0, queries=count // 6, gallery=count, dim=dim, classes=count // 12)
    return Exact(k=k)(queries, gallery), queries, gallery


@pytest.mark.parametrize("depth", [10, 900])
@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (50, 15)])
def test_the_promise_of_memory_is_kept(depth, k1, k2, monkeypatch):
    """finegrained row 16."""
    import tracemalloc

    monkeypatch.setattr(_memory_plan, "BESIDE", 12 << 20)
    monkeypatch.setattr(module, "CELLS", 1 << 16)
    monkeypatch.setattr(module, "ENTRIES", 1 << 16)
    monkeypatch.setattr(_k_reciprocal_encoding, "ENTRIES", 1 << 16)
    monkeypatch.setattr("fastseek.knn.scan.Scan.tile", (128, 512))
    ranking, queries, gallery = grown(2000, depth)
    ended = []
    for part in (2, 5, 20, 100):
        most = (
            _memory_plan.Budget.plan(
                len(queries) + len(gallery), 6, k1, k2, depth == 900, None
            ).most
            * part
            / 100
        )
        tracemalloc.start()
        try:
            KReciprocal(k1, k2, max_ram=most / 1e9)(ranking, queries, gallery)
            ended.append("done")
        except RunError as error:
            assert "max_ram" in str(error)
            ended.append("refused")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak <= most
    assert ended[0] == "refused" and ended[-1] == "done"


def test_too_little_memory_is_refused_before_any_work(monkeypatch):
    """finegrained row 16."""
    ranking, queries, gallery = grown(600)
    monkeypatch.setattr(module, "nearest", None)
    with pytest.raises(
        RunError, match=r"takes at least 0\.17 GB, at most 0\.17: max_ram=0\.1 is too little"
    ):
        KReciprocal(max_ram=0.1)(ranking, queries, gallery)


def test_neighbourhoods_that_outgrow_the_memory_stop_the_work(monkeypatch):
    monkeypatch.setattr(_memory_plan.Budget, "entries", lambda self, max_ram: 3.0 * self.images)
    ranking, queries, gallery = grown(600)
    with pytest.raises(
        RunError, match=r"entries after \d+ of them, more than max_ram has room for"
    ):
        KReciprocal(max_ram=1)(ranking, queries, gallery)


def test_a_promise_of_memory_changes_no_score():
    ranking, queries, gallery = grown(600)
    one, two = (KReciprocal(max_ram=room)(ranking, queries, gallery) for room in (None, 0.2))
    np.testing.assert_array_equal(one.indices, two.indices)
    np.testing.assert_allclose(one.scores, two.scores, rtol=0, atol=1e-6)


def test_long_work_tells_its_time_and_memory_beforehand(monkeypatch, capsys):
    ranking, queries, gallery = grown(600)
    KReciprocal()(ranking, queries, gallery)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(_memory_plan, "TOLD", 0)
    monkeypatch.setattr(module, "encode", None)  # so that it ends when it would begin in earnest
    with pytest.raises(TypeError):
        KReciprocal()(ranking, queries, gallery)
    told = capsys.readouterr().err
    assert re.fullmatch(
        r"k-reciprocal re-ranking of 700 images: about \d+ s and 0\.2 GB \(at most 0\.2\)\n", told
    )


def test_re_ranking_helps_where_neighbourhoods_are_clean():
    random = np.random.default_rng(0)
    centres = random.normal(size=(20, 6))
    labels = np.repeat(np.arange(20), 12)
    vectors = centres[labels] + 0.55 * random.normal(size=(240, 6))
    queries, gallery = sides(
        np.concatenate([vectors[::12], np.delete(vectors, np.s_[::12], 0)]), 20
    )
    gallery_labels = np.delete(labels, np.s_[::12])
    before = Exact(k=11)(queries, gallery)
    full = Exact(k=220)(queries, gallery)
    after = KReciprocal(k1=12, k2=4)(full, queries, gallery)
    right = [
        (gallery_labels[ranking.indices[:, :11]] == np.arange(20)[:, None]).mean()
        for ranking in (before, after)
    ]
    assert right[1] > right[0]


def test_permuting_the_gallery_permutes_the_answer():
    for seed in range(5):
        queries, gallery = pair(seed)
        order = np.random.default_rng(seed).permutation(len(gallery))
        turned = Embeddings(gallery.ids[order], gallery.vectors[order])
        one, two = (
            KReciprocal()(Exact(k=30)(queries, side), queries, side) for side in (gallery, turned)
        )
        np.testing.assert_array_equal(gallery.ids[one.indices], turned.ids[two.indices])
        np.testing.assert_allclose(one.scores, two.scores, rtol=0, atol=1e-6)


def test_block_sizes_change_nothing(monkeypatch):
    queries, gallery = pair(2)
    whole = KReciprocal().matrix(queries, gallery)
    monkeypatch.setattr(module, "CELLS", 1)
    monkeypatch.setattr(_k_reciprocal_encoding, "ROWS", 7)
    np.testing.assert_allclose(KReciprocal().matrix(queries, gallery), whole, rtol=0, atol=1e-6)


def test_equal_gallery_images_keep_the_order_of_their_ids():
    random = np.random.default_rng(3)
    vectors = random.normal(size=(40, 129)).astype(np.float32)
    queries, gallery = sides(
        np.concatenate([random.normal(size=(4, 129)), vectors, vectors[:3], vectors[:3]]), 4
    )
    after = KReciprocal(k1=8, k2=3)(Exact(k=46)(queries, gallery), queries, gallery)
    for twin in range(3):
        places = np.stack(
            [np.argmax(after.indices == row, axis=1) for row in (twin, 40 + twin, 43 + twin)]
        )
        assert (np.diff(places, axis=0) > 0).all()


@pytest.mark.parametrize("vectors", [np.ones((9, 4)), np.repeat(np.eye(4)[:3], 3, axis=0)])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_identical_points_give_finite_scores_in_the_order_of_ids(vectors, metric):
    queries, gallery = sides(vectors, 2)
    after = KReciprocal(k1=3, k2=2, metric=metric)(
        Exact(k=7, metric=metric)(queries, gallery), queries, gallery
    )
    assert np.isfinite(after.scores).all()
    if (vectors == 1).all():
        np.testing.assert_array_equal(after.indices, Exact(k=7)(queries, gallery).indices)


def test_one_query_and_one_image_are_enough():
    queries, gallery = sides([[1, 0], [0, 1]], 1)
    after = KReciprocal()(Exact(k=5)(queries, gallery), queries, gallery)
    assert after.indices.tolist() == [[0]] and np.isfinite(after.scores).all()


def test_an_empty_ranking_stays_empty():
    queries, gallery = pair(1)
    none = Embeddings([], np.empty((0, 16), np.float32))
    for asked, found in ((queries, none), (none, gallery)):
        ranking = Exact(k=5)(asked, found)
        assert KReciprocal()(ranking, asked, found).indices.shape == ranking.indices.shape


def test_empty_places_stay_at_the_end():
    queries, gallery = pair(6)
    full = Exact(k=6)(queries, gallery)
    indices, scores = full.indices.copy(), full.scores.copy()
    indices[3, 2:], scores[3, 2:], indices[5], scores[5] = -1, -np.inf, -1, -np.inf
    after = KReciprocal()(
        Ranking(full.query_ids, full.gallery_ids, indices, scores), queries, gallery
    )
    assert (after.indices[3, 2:] == -1).all() and (after.indices[5] == -1).all()
    assert set(after.indices[3, :2]) == set(indices[3, :2])
    np.testing.assert_array_equal(
        after.indices[[0, 12]], KReciprocal()(full, queries, gallery).indices[[0, 12]]
    )


def test_half_precision_and_shards_on_disk_are_read(tmp_path):
    """finegrained row 16."""
    queries, gallery = pair(7)
    gallery.save(tmp_path / "g", rows=10)
    expected = KReciprocal().matrix(queries, gallery)
    np.testing.assert_array_equal(
        KReciprocal().matrix(queries, Embeddings.load(tmp_path / "g")), expected
    )


def test_what_was_passed_in_is_not_changed():
    queries, gallery = pair(8)
    ranking = Exact(k=9)(queries, gallery)
    before = [
        array.copy()
        for array in (queries.vectors, gallery.vectors, ranking.indices, ranking.scores)
    ]
    KReciprocal()(ranking, queries, gallery)
    for old, new in zip(
        before, (queries.vectors, gallery.vectors, ranking.indices, ranking.scores), strict=True
    ):
        np.testing.assert_array_equal(old, new)


def test_the_provenance_lists_the_steps_in_order():
    queries, gallery = pair(9)
    ranking = Exact(k=9)(queries, gallery)
    for _ in range(2):
        ranking = build("k_reciprocal(k1=4)", RERANKERS)(ranking, queries, gallery)
    assert (
        ranking.provenance["rerank"]
        == ["k_reciprocal(k1=4, k2=6, lambda_=0.3, metric='cosine', variant='paper')"] * 2
    )
    assert ranking.provenance["search"].startswith("exact(")


def test_embeddings_that_are_not_the_rankings_are_refused():
    queries, gallery = pair(1)
    other = Embeddings([f"x{name}" for name in gallery.ids], gallery.vectors)
    with pytest.raises(ArtefactError, match="gallery"):
        KReciprocal()(Exact(k=3)(queries, gallery), queries, other)


def test_a_vector_that_is_not_finite_is_named():
    queries, gallery = pair(1)
    ranking = Exact(k=3)(queries, gallery)
    vectors = gallery.vectors.copy()
    vectors[5] = np.nan
    with pytest.raises(DataError, match="005"):
        KReciprocal()(ranking, queries, Embeddings(gallery.ids, vectors))


@pytest.mark.parametrize(
    "call",
    [
        "k_reciprocal(k1=0)",
        "k_reciprocal(k2=0)",
        "k_reciprocal(lambda_=1.5)",
        "k_reciprocal(metric='ip')",
        "k_reciprocal(k3=1)",
        "k_reciprocal(variant='fast')",
        "k_reciprocal(max_ram=0)",
    ],
)
def test_impossible_settings_are_refused(call):
    with pytest.raises(UsageError):
        build(call, RERANKERS)


def test_memory_does_not_grow_with_the_square():
    """finegrained row 16."""
    import tracemalloc

    def peak(count):
        queries, gallery = pair(0, queries=count // 6, gallery=count, dim=4, classes=count // 10)
        ranking = Exact(k=10)(queries, gallery)
        tracemalloc.start()
        KReciprocal()(ranking, queries, gallery)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    from fastseek.knn.scan import Scan

    usual = Scan.tile, module.CELLS
    Scan.tile, module.CELLS = (128, 512), 1 << 16
    try:
        small, large = peak(1000), peak(4000)
    finally:
        Scan.tile, module.CELLS = usual
    assert large < 6 * small


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_neighbors_that_torch_finds_on_its_device_give_the_very_same_scores(metric, monkeypatch):
    """The device is a CPU here; where torch has a GPU a large work takes that by itself."""
    queries, gallery = pair(0, queries=8, gallery=60, dim=4, classes=6)
    ranking, part = Exact(k=10)(queries, gallery), KReciprocal(metric=metric)
    wanted, asked = part(ranking, queries, gallery), []

    def choose(name, metric, work=0):
        asked.append(name)
        return Distance(Cuda("cpu")) if metric == "l2" else Cuda("cpu")

    monkeypatch.setattr("fastseek.knn.nearest.choose", choose)
    found = part(ranking, queries, gallery)
    assert asked == ["auto"]
    assert (found.indices == wanted.indices).all() and (found.scores == wanted.scores).all()
