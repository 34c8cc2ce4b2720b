import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.knn import nearest as kernel
from fastseek.knn.scan import Scan
from fastseek.registry import SEARCHERS, build
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings


def embeddings(vectors, prefix="", provenance=None, ids=None):
    ids = [f"{prefix}{row:05d}" for row in range(len(vectors))] if ids is None else ids
    return Embeddings(ids, np.asarray(vectors, np.float32), provenance or {})


def random_pair(seed, queries=7, gallery=40, dim=6, distinct=None):
    """Vectors of small integers: plenty of ties, and scores that float32 holds exactly."""
    random = np.random.default_rng(seed)
    q, g = (
        random.integers(-2, 3, (queries, dim)),
        random.integers(-2, 3, (distinct or gallery, dim)),
    )
    g = g[random.integers(0, len(g), gallery)]
    q[:, 0], g[:, 0] = 3, random.integers(1, 3, gallery)
    return embeddings(q, "q"), embeddings(g, "g")


def slow_twin(queries, gallery, k, metric):
    """Double loop, full sort by (score, id)."""
    rows, scores = [], []
    for q in np.asarray(queries.vectors, np.float64):
        pairs = []
        for number, g in enumerate(np.asarray(gallery.vectors, np.float64)):
            score = {
                "ip": q @ g,
                "l2": -((q - g) ** 2).sum(),
                "cosine": q @ g / (np.sqrt(q @ q) * np.sqrt(g @ g)) if metric == "cosine" else 0,
            }[metric]
            pairs.append((-np.float32(score), str(gallery.ids[number]), number))
        best = sorted(pairs)[:k]
        rows.append([number for _, _, number in best])
        scores.append([-score for score, _, _ in best])
    return np.array(rows), np.array(scores, np.float32)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 50),
    st.sampled_from(["ip", "l2"]),
    st.sampled_from([1, 7, 40, 1000]),
)
def test_search_is_the_double_loop_also_among_ties(seed, k, metric, block):
    """landmark row 40."""
    queries, gallery = random_pair(seed)
    ranking = Exact(k=k, metric=metric, block=block)(queries, gallery)
    rows, scores = slow_twin(queries, gallery, k, metric)
    np.testing.assert_array_equal(ranking.indices, rows)
    np.testing.assert_array_equal(ranking.scores, scores)


def test_cosine_is_the_double_loop_on_vectors_of_any_length():
    random = np.random.default_rng(3)
    queries = embeddings(random.normal(size=(9, 33)) * 10.0 ** random.integers(-18, 18, (9, 1)))
    gallery = embeddings(random.normal(size=(300, 33)) * 10.0 ** random.integers(-25, 25, (300, 1)))
    ranking = Exact(k=20)(queries, gallery)
    rows, scores = slow_twin(queries, gallery, 20, "cosine")
    np.testing.assert_array_equal(ranking.indices, rows)
    np.testing.assert_allclose(ranking.scores, scores, rtol=0, atol=2e-7)


def test_the_proposal_by_groups_of_columns_loses_nothing():
    random = np.random.default_rng(5)
    queries, gallery = (
        embeddings(random.normal(size=(5, 8))),
        embeddings(random.normal(size=(9000, 8))),
    )
    ranking = Exact(k=3, metric="l2")(queries, gallery)
    rows, _ = slow_twin(queries, gallery, 3, "l2")
    np.testing.assert_array_equal(ranking.indices, rows)


@pytest.mark.parametrize("metric", kernel.METRICS)
def test_block_size_changes_nothing(metric, monkeypatch):
    random = np.random.default_rng(1)
    queries, gallery = (
        embeddings(random.normal(size=(60, 37))),
        embeddings(random.normal(size=(501, 37))),
    )
    whole = Exact(k=12, metric=metric)(queries, gallery)
    for block, tile, rows in ((17, 1, 31), (13, 5, 60), (500, 501, 7), (501, 40, 59)):
        monkeypatch.setattr(Scan, "tile", (rows, tile))
        part = Exact(k=12, metric=metric, block=block)(queries, gallery)
        np.testing.assert_array_equal(part.indices, whole.indices)
        np.testing.assert_array_equal(part.scores, whole.scores)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(kernel.METRICS))
def test_permuting_the_gallery_permutes_the_answer(seed, metric):
    queries, gallery = random_pair(seed, gallery=50, distinct=8)
    order = np.random.default_rng(seed).permutation(50)
    turned = Embeddings(gallery.ids[order], gallery.vectors[order])
    one, two = (Exact(k=11, metric=metric, block=9)(queries, side) for side in (gallery, turned))
    np.testing.assert_array_equal(one.gallery_ids[one.indices], two.gallery_ids[two.indices])
    np.testing.assert_array_equal(one.scores, two.scores)


def test_equal_vectors_get_equal_scores_wherever_they_stand():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(700, 129))
    vectors[::7] = vectors[0]
    ranking = Exact(k=100)(embeddings(vectors[:1]), embeddings(vectors))
    assert len(np.unique(ranking.scores)) == 1
    np.testing.assert_array_equal(ranking.indices[0], np.arange(0, 700, 7))


def test_when_all_tie_the_ids_decide():
    gallery = embeddings(np.ones((30, 4)), ids=[f"{(7 * row) % 30:02d}" for row in range(30)])
    ranking = Exact(k=5)(embeddings(np.ones((2, 4))), gallery)
    assert gallery.ids[ranking.indices].tolist() == [["00", "01", "02", "03", "04"]] * 2


def test_a_query_finds_itself_first_with_cosine_one():
    vectors = np.random.default_rng(2).normal(size=(50, 64))
    ranking = Exact(k=2)(embeddings(vectors), embeddings(vectors))
    np.testing.assert_array_equal(ranking.indices[:, 0], np.arange(50))
    assert (ranking.scores <= 1).all() and np.allclose(ranking.scores[:, 0], 1, atol=1e-7)


def test_a_gallery_smaller_than_k_gives_what_there_is():
    queries, gallery = random_pair(4, gallery=3)
    assert Exact(k=100)(queries, gallery).indices.shape == (7, 3)


def test_an_empty_side_gives_an_empty_ranking():
    some, none = embeddings(np.ones((3, 4))), embeddings(np.empty((0, 4)))
    assert Exact(k=5)(some, none).indices.shape == (3, 0)
    assert Exact(k=5)(none, some).indices.shape == (0, 3)


def test_shards_on_disk_give_the_answer_of_the_array_in_memory(tmp_path):
    random = np.random.default_rng(9)
    queries, gallery = (
        embeddings(random.normal(size=(6, 16))),
        embeddings(random.normal(size=(230, 16))),
    )
    gallery.save(tmp_path / "g", rows=50)
    one, two = (
        Exact(k=9)(queries, gallery),
        Exact(k=9, block=64)(queries, Embeddings.load(tmp_path / "g")),
    )
    np.testing.assert_array_equal(one.indices, two.indices)
    np.testing.assert_array_equal(one.scores, two.scores)


def test_the_gallery_is_never_held_whole():
    """landmark row 40."""

    class Watched:
        """An array that tells the largest piece anyone asked for."""

        def __init__(self, vectors):
            self.vectors, self.shape, self.dtype, self.largest = (
                vectors,
                vectors.shape,
                vectors.dtype,
                0,
            )

        def __len__(self):
            return len(self.vectors)

        def __getitem__(self, rows):
            piece = self.vectors[rows]
            self.largest = max(self.largest, len(piece))
            return piece

    watched = Watched(np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32))
    Exact(k=3, block=32)(
        embeddings(np.ones((2, 4))), Embeddings(np.arange(300).astype(str), watched)
    )
    assert watched.largest == 32


def test_half_precision_is_read_as_it_is():
    vectors = np.random.default_rng(8).normal(size=(40, 12)).astype(np.float16)
    half, single = (
        Embeddings(np.arange(40).astype(str), vectors),
        embeddings(vectors, ids=np.arange(40).astype(str)),
    )
    np.testing.assert_array_equal(Exact(k=7)(half, half).scores, Exact(k=7)(single, single).scores)


def test_what_was_passed_in_is_not_changed():
    queries, gallery = random_pair(6)
    before = queries.vectors.copy(), gallery.vectors.copy()
    for metric in kernel.METRICS:
        Exact(k=4, metric=metric)(queries, gallery)
    np.testing.assert_array_equal(queries.vectors, before[0])
    np.testing.assert_array_equal(gallery.vectors, before[1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_a_vector_that_is_not_finite_is_named(value, side):
    pair = list(random_pair(7))
    vectors = pair[side].vectors.copy()
    vectors[2, 1] = value
    pair[side] = Embeddings(pair[side].ids, vectors)
    with pytest.raises(DataError, match="00002"):
        Exact(k=3, metric="l2")(*pair)


def test_a_zero_vector_has_no_cosine_and_is_named_but_is_a_point_otherwise():
    vectors = np.ones((4, 3))
    vectors[2] = 0
    with pytest.raises(DataError, match="'g00002' is zero"):
        Exact(k=2)(embeddings(vectors[:1]), embeddings(vectors, "g"))
    assert Exact(k=1, metric="l2")(
        embeddings(np.zeros((1, 3))), embeddings(vectors)
    ).indices.tolist() == [[2]]


@pytest.mark.parametrize(
    "call",
    [
        "exact(k=0)",
        "exact(metric='manhattan')",
        "exact(block=0)",
        "exact(depth=3)",
        "exact(k='many')",
    ],
)
def test_impossible_settings_are_refused(call):
    with pytest.raises(UsageError):
        build(call, SEARCHERS)


def test_the_provenance_tells_search_engine_and_both_parents():
    queries, gallery = random_pair(1)
    queries = Embeddings(queries.ids, queries.vectors, {"model": "abc", "root": "/x"})
    provenance = build("exact(k=3, metric='ip')", SEARCHERS)(queries, gallery).provenance
    assert provenance["search"] == "exact(k=3, metric='ip')"
    assert provenance["queries"] == {"model": "abc", "root": "/x"} and provenance["gallery"] == {}
    assert provenance["exact"] is True and provenance["engine"].startswith("numpy")


@pytest.mark.parametrize("key", ["model", "preprocessing", "views", "enhance"])
def test_embeddings_made_differently_are_not_compared(key):
    same = embeddings(np.ones((2, 4)), provenance={key: ["one", {"size": (224, 224)}]})
    as_loaded = embeddings(np.ones((2, 4)), provenance={key: ["one", {"size": [224, 224]}]})
    other = embeddings(np.ones((2, 4)), provenance={key: ["two"]})
    Exact()(same, as_loaded)
    Exact()(same, embeddings(np.ones((2, 4))))
    with pytest.raises(ArtefactError, match=f"{key}.*one.*two"):
        Exact()(same, other)


def test_two_dimensions_are_refused_with_both_numbers():
    with pytest.raises(ArtefactError, match="512.*256"):
        Exact()(embeddings(np.ones((2, 512))), embeddings(np.ones((2, 256))))


@pytest.mark.filterwarnings("error")
def test_a_vector_beyond_float32_is_told_without_a_warning_of_numpy():
    far = Embeddings(["a", "b"], np.array([[1.0], [1e300]]))
    with pytest.raises(DataError, match="'b'"):
        Exact(k=1)(far, far)
