"""What every re-ranker promises."""

import dataclasses
import inspect

import numpy as np
import pytest

from fastseek import rerank  # noqa: F401  (registers the parts)
from fastseek.errors import ArtefactError, DataError
from fastseek.registry import RERANKERS, build
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings, Ranking, embeddings
from fastseek.structures.listed_ids import ListedIds
from fastseek.structures.local_embeddings import LocalEmbeddings, Tokens

NEEDS = {
    "label_rank": "reference='R', labels='L'",
    "hard_rank": "reference='R', labels='L'",
    "hard_insert": "reference='R', labels='L'",
    "non_landmark": "reference='R'",
    "chamfer": "locals='S'",
    "mutual_matches": "locals='S'",
    "transport": "locals='S'",
}
LOCAL = ("chamfer", "mutual_matches", "transport")  # which read no vectors
READS_ALL = ("k_reciprocal", "non_landmark")  # which name the images of both sides
KEEPING = [name for name in RERANKERS.names() if not getattr(RERANKERS.get(name), "inserts", False)]


def vectors(seed, count, dim=12):
    """Eight classes with some spread."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(8, dim))
    return (centres[np.arange(count) % 8] + 0.6 * random.normal(size=(count, dim))).astype(
        np.float32
    )


def pair(seed=0, queries=9, gallery=60):
    return (
        Embeddings([f"q{n:02d}" for n in range(queries)], vectors(seed, queries), {"model": "m"}),
        Embeddings(
            [f"g{n:02d}" for n in range(gallery)], vectors(seed + 1, gallery), {"model": "m"}
        ),
    )


def save_locals(folder):
    """Local features of every image of this page; those with numbers of one digit are alike."""
    random = np.random.default_rng(7)
    ids = [f"{side}{n:02d}" for side, count in (("q", 9), ("g", 60)) for n in range(count)]
    alike = [f"{side}{n}" for side in "qg" for n in range(9)]
    count = len(ids) + len(alike)
    tokens = Tokens(
        random.normal(size=(count, 5, 8)), random.random((count, 5, 2)), np.ones((count, 5))
    )
    for part in tokens[:2]:
        part[len(ids) :] = part[0]
    LocalEmbeddings.of_tokens(ids + alike, tokens, "fp16", {"model": "m"}).save(folder, rows=30)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Called with a name and further arguments, builds that re-ranker with a reference of 40
    labelled images.
    """
    folder = tmp_path_factory.mktemp("reference")
    Embeddings([f"r{n}" for n in range(40)], vectors(50, 40), {"model": "m"}).save(
        folder / "R", rows=7
    )
    save_locals(folder / "S")
    (folder / "L").write_text("id,label\n" + "".join(f"r{n},class {n % 8}\n" for n in range(40)))

    def build_with(name, *more):
        call = ", ".join(
            [
                NEEDS.get(name, "")
                .replace("'R'", repr(str(folder / "R")))
                .replace("'L'", repr(str(folder / "L")))
                .replace("'S'", repr(str(folder / "S"))),
                *more,
            ]
        ).strip(", ")
        return build(f"{name}({call})", RERANKERS)

    return build_with


@pytest.mark.parametrize("name", KEEPING)
@pytest.mark.parametrize("depth", [1, 10, 60])
def test_every_query_keeps_its_images(name, depth, made):
    queries, gallery = pair()
    ranking = Exact(k=depth)(queries, gallery)
    after = made(name)(ranking, queries, gallery)
    np.testing.assert_array_equal(np.sort(after.indices, axis=1), np.sort(ranking.indices, axis=1))
    assert np.isfinite(after.scores).all()


@pytest.mark.parametrize("name", RERANKERS.names())
def test_permuting_the_gallery_permutes_the_answer(name, made):
    queries, gallery = pair(3)
    order = np.random.default_rng(0).permutation(len(gallery))
    turned = Embeddings(gallery.ids[order], gallery.vectors[order], gallery.provenance)
    one, two = (made(name)(Exact(k=20)(queries, side), queries, side) for side in (gallery, turned))
    np.testing.assert_array_equal(gallery.ids[one.indices], turned.ids[two.indices])
    np.testing.assert_allclose(one.scores, two.scores, atol=1e-5)


@pytest.mark.parametrize("name", RERANKERS.names())
def test_permuting_the_queries_permutes_the_answer(name, made):
    queries, gallery = pair(4)
    order = np.random.default_rng(0).permutation(len(queries))
    turned = Embeddings(queries.ids[order], queries.vectors[order], queries.provenance)
    one, two = (made(name)(Exact(k=20)(side, gallery), side, gallery) for side in (queries, turned))
    np.testing.assert_array_equal(one.indices[order], two.indices)
    np.testing.assert_allclose(one.scores[order], two.scores, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in RERANKERS.names() if name != "k_reciprocal"])
def test_a_query_gets_the_same_alone_and_among_others(name, made):
    queries, gallery = pair(5)
    alone = Embeddings(queries.ids[2:3], queries.vectors[2:3], queries.provenance)
    one, two = (made(name)(Exact(k=20)(side, gallery), side, gallery) for side in (queries, alone))
    np.testing.assert_array_equal(one.indices[2], two.indices[0])
    np.testing.assert_allclose(one.scores[2], two.scores[0], atol=1e-5)


@pytest.mark.parametrize("name", RERANKERS.names())
def test_the_same_work_gives_the_same_bytes(name, made, tmp_path):
    queries, gallery = pair(6)
    for file in ("a", "b"):
        made(name)(Exact(k=20)(queries, gallery), queries, gallery).save(tmp_path / file)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("name", RERANKERS.names())
def test_what_was_passed_in_is_not_changed(name, made):
    queries, gallery = pair(7)
    ranking = Exact(k=9)(queries, gallery)
    given = (queries.vectors, gallery.vectors, ranking.indices, ranking.scores)
    before, provenance = [array.copy() for array in given], dict(ranking.provenance)
    made(name)(ranking, queries, gallery)
    for old, new in zip(before, given, strict=True):
        np.testing.assert_array_equal(old, new)
    assert ranking.provenance == provenance


@pytest.mark.parametrize("name", KEEPING)
def test_empty_places_stay_at_the_end(name, made):
    queries, gallery = pair(8)
    full = Exact(k=6)(queries, gallery)
    indices, scores = full.indices.copy(), full.scores.copy()
    indices[3, 2:], scores[3, 2:], indices[5], scores[5] = -1, -np.inf, -1, -np.inf
    short = Ranking(full.query_ids, full.gallery_ids, indices, scores)
    after = made(name)(short, queries, gallery)
    assert (after.indices[3, 2:] == -1).all() and (after.indices[5] == -1).all()
    assert set(after.indices[3, :2]) == set(indices[3, :2])
    np.testing.assert_array_equal(after.indices[0], made(name)(full, queries, gallery).indices[0])


@pytest.mark.parametrize("name", RERANKERS.names())
def test_no_query_or_no_gallery_gives_an_empty_ranking(name, made):
    queries, gallery = pair()
    none = Embeddings([], np.empty((0, 12), np.float32), {"model": "m"})
    for asked, found in ((queries, none), (none, gallery)):
        ranking = Exact(k=5)(asked, found)
        assert made(name)(ranking, asked, found).indices.shape == ranking.indices.shape


@pytest.mark.parametrize("name", RERANKERS.names())
def test_shards_on_disk_give_the_same(name, made, tmp_path):
    queries, gallery = pair(9)
    gallery.save(tmp_path / "g", rows=11)
    stored = Embeddings.load(tmp_path / "g")
    one, two = (made(name)(Exact(k=20)(queries, side), queries, side) for side in (gallery, stored))
    np.testing.assert_array_equal(one.indices, two.indices)
    np.testing.assert_array_equal(one.scores, two.scores)


@pytest.mark.parametrize("name", RERANKERS.names())
def test_the_provenance_lists_the_step_as_a_call_that_can_be_built_again(name, made):
    queries, gallery = pair(1)
    ranking = Exact(k=9)(queries, gallery)
    once = made(name)(ranking, queries, gallery)
    (call,) = once.provenance["rerank"]
    again = build(call, RERANKERS)(ranking, queries, gallery)
    np.testing.assert_array_equal(once.indices, again.indices)
    np.testing.assert_array_equal(once.scores, again.scores)
    twice = made(name)(once, queries, gallery)
    assert (
        twice.provenance["rerank"] == [call, call]
        and twice.provenance["search"] == ranking.provenance["search"]
    )


@pytest.mark.parametrize("name", RERANKERS.names())
def test_embeddings_that_are_not_the_rankings_are_refused(name, made):
    queries, gallery = pair(1)
    ranking = Exact(k=3)(queries, gallery)
    with pytest.raises(ArtefactError, match="gallery"):
        made(name)(
            ranking, queries, Embeddings([f"x{name}" for name in gallery.ids], gallery.vectors)
        )
    with pytest.raises(ArtefactError, match="queries"):
        made(name)(
            ranking, Embeddings([f"x{name}" for name in queries.ids], queries.vectors), gallery
        )


@pytest.mark.parametrize("name", [name for name in RERANKERS.names() if name not in LOCAL])
def test_a_vector_that_is_not_finite_is_named(name, made):
    queries, gallery = pair(1)
    ranking = Exact(k=60)(queries, gallery)
    broken = gallery.vectors.copy()
    broken[5] = np.nan
    with pytest.raises(DataError, match="g05"):
        made(name)(ranking, queries, Embeddings(gallery.ids, broken))


@pytest.mark.parametrize("name", RERANKERS.names())
def test_identical_images_give_finite_scores(name, made):
    queries = Embeddings([f"q{n}" for n in range(3)], np.ones((3, 12), np.float32))
    gallery = Embeddings([f"g{n}" for n in range(9)], np.ones((9, 12), np.float32))
    after = made(name)(Exact(k=9)(queries, gallery), queries, gallery)
    assert np.isfinite(after.scores).all()
    np.testing.assert_array_equal(after.indices, np.tile(np.arange(9), (3, 1)))


@pytest.mark.parametrize("name", RERANKERS.names())
def test_every_reranker_is_described_and_names_its_source(name):
    told = inspect.getdoc(RERANKERS.get(name))
    assert "Args:" in told and "20" in told


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("key", ["model", "preprocessing", "views"])
def test_a_ranking_takes_no_vectors_of_another_model(side, key, made):
    told = {"model": "m", "preprocessing": {"size": 224}, "views": ["id"]}
    sides = [Embeddings(one.ids, one.vectors, told) for one in pair()]
    ranking = Exact(k=9)(*sides)
    other = {**told, key: "another"}
    sides[side] = Embeddings(sides[side].ids, sides[side].vectors, other)
    with pytest.raises(ArtefactError, match=f"{key}.*another"):
        made("k_reciprocal")(ranking, *sides)
    both = [Embeddings(one.ids, one.vectors, other) for one in sides]
    with pytest.raises(ArtefactError, match=f"of another {key}"):
        made("k_reciprocal")(ranking, *both)


def test_a_search_may_have_enhanced_the_vectors_further_but_not_otherwise(made):
    def enhanced(*steps):
        return [
            Embeddings(one.ids, one.vectors, {"model": "m", "enhance": list(steps)})
            for one in pair()
        ]

    ranking = Exact(k=9)(*enhanced("l2()", "aqe()"))
    for given in (enhanced("l2()"), enhanced("l2()", "aqe()"), pair()):
        made("k_reciprocal")(ranking, *given)
    with pytest.raises(ArtefactError, match="of another enhance"):
        made("k_reciprocal")(ranking, *enhanced("aqe()"))


@pytest.mark.parametrize("name", KEEPING)
def test_embeddings_of_more_images_in_another_order_are_taken_by_id(name, made):
    root = {"model": "m", "root": "/images"}
    queries, gallery = (Embeddings(one.ids, one.vectors, root) for one in pair())
    order = np.random.default_rng(5).permutation(len(gallery))
    few = Embeddings(gallery.ids[order[:40]], gallery.vectors[order[:40]], root)
    ranking = Exact(k=9)(queries, few)
    expected = made(name)(ranking, queries, few)
    everything = Embeddings(
        np.concatenate([gallery.ids, queries.ids[::-1]]),
        np.concatenate([gallery.vectors, queries.vectors[::-1]]),
        root,
    )
    after = made(name)(ranking, everything, everything)
    np.testing.assert_array_equal(after.indices, expected.indices)
    np.testing.assert_allclose(after.scores, expected.scores, rtol=1e-5)
    with pytest.raises(ArtefactError, match="not over this gallery"):
        made(name)(ranking, queries, Embeddings(few.ids[1:], few.vectors[1:], root))


def test_row_numbers_of_another_file_are_not_taken_for_those_of_the_ranking(made):
    queries, gallery = (
        Embeddings([str(n) for n in range(len(one))], one.vectors, {"root": "/one.npy"})
        for one in pair()
    )
    ranking = Exact(k=9)(queries, gallery)
    for root in ({"root": "/other.npy"}, {}):
        longer = Embeddings([str(n) for n in range(61)], vectors(9, 61), root)
        with pytest.raises(ArtefactError, match="not over this gallery"):
            made("k_reciprocal")(ranking, queries, longer)


def test_bare_vectors_of_another_content_are_refused_and_of_another_file_told(caplog):
    def bare(seed, count, root):
        return Embeddings(np.arange(count).astype(str), vectors(seed, count), {"root": root})

    queries, gallery = bare(0, 9, "array aa"), bare(1, 60, "/x/g.npy")
    ranking, part = Exact(20)(queries, gallery), build("k_reciprocal(k1=4, k2=2)", RERANKERS)
    expected = part(ranking, queries, gallery)
    assert caplog.text == ""
    with pytest.raises(ArtefactError, match="searched with other queries: the arrays differ"):
        part(ranking, bare(7, 9, "array bb"), gallery)
    again = part(ranking, queries, bare(1, 60, "/y/g.npy"))  # perhaps the same file, moved
    assert np.array_equal(again.indices, expected.indices)
    assert "gallery of /x/g.npy, these are of /y/g.npy: compared by their ids" in caplog.text


@pytest.mark.parametrize("name", KEEPING)
def test_of_a_large_gallery_no_strings_are_made_of_all_ids(name, made, tmp_path, monkeypatch):
    queries, gallery = pair()
    gallery.save(tmp_path / "g")
    ranking = Exact(k=20)(queries, gallery)
    wanted = made(name)(ranking, queries, gallery)
    monkeypatch.setattr(embeddings, "FEW", 4)
    stored = Embeddings.load(tmp_path / "g")
    listed = ListedIds.pick(stored.known_ids, ranking.indices)
    found = made(name)(dataclasses.replace(ranking, gallery_ids=listed), queries, stored)
    assert (found.indices == wanted.indices).all() and (found.scores == wanted.scores).all()
    if name not in READS_ALL:
        assert "ids" not in vars(stored)
