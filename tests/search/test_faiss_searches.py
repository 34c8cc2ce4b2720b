"""Approximate searches: what they propose is scored exactly, what they miss is told, what they keep
is checked.
"""

import json

import numpy as np
import pytest

from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.registry import SEARCHERS, build
from fastseek.search import _faiss_index, _faiss_library
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings, Ranking

faiss = pytest.importorskip("faiss")
ON_DISK = ["faiss_ivf_rabitq", "faiss_ivf_pq"]
NAMES = ["faiss_ivf", "faiss_hnsw", "faiss_pq", "faiss_rabitq", *ON_DISK]
THOROUGH = {
    "faiss_ivf": "probes=10000",
    "faiss_hnsw": "ef=600, m=64",
    "faiss_pq": "refine=1000",
    "faiss_rabitq": "refine=1000",
    "faiss_ivf_rabitq": "bits=8, recall=1.0, sample=100",
    "faiss_ivf_pq": "bytes_=16, recall=1.0, sample=100",
}
POOR = {
    "faiss_ivf": "lists=60, probes=1",
    "faiss_hnsw": "m=2, build=1, ef=1",
    "faiss_pq": "bytes_=1, refine=1",
    "faiss_rabitq": "bits=1, refine=1",
    "faiss_ivf_rabitq": "bits=1, recall=0.01",
    "faiss_ivf_pq": "bytes_=1, recall=0.01",
}


def embeddings(vectors, prefix="", provenance=None):
    return Embeddings(
        [f"{prefix}{row:05d}" for row in range(len(vectors))],
        np.asarray(vectors, np.float32),
        provenance or {},
    )


def pair(seed=0, queries=30, gallery=500, dim=16, provenance=None):
    random = np.random.default_rng(seed)
    return (
        embeddings(random.normal(size=(queries, dim)), "q", provenance),
        embeddings(random.normal(size=(gallery, dim)), "g", provenance),
    )


def same(one, two):
    np.testing.assert_array_equal(one.indices, two.indices)
    np.testing.assert_array_equal(one.scores, two.scores)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("name", NAMES)
def test_a_thorough_search_is_the_exact_search_bit_by_bit(name, metric):
    queries, gallery = pair()
    ranking = build(f"{name}(k=9, metric={metric!r}, {THOROUGH[name]})", SEARCHERS)(
        queries, gallery
    )
    same(ranking, Exact(k=9, metric=metric)(queries, gallery))
    assert ranking.provenance["recall"] == {"k": 9, "value": 1.0, "queries": 30, "seed": 0}


@pytest.mark.parametrize("name", NAMES)
def test_the_recall_told_is_that_of_the_answer(name):
    queries, gallery = pair(queries=40, gallery=900, dim=32)
    ranking = build(f"{name}(k=20, sample=25, seed=3, {POOR[name]})", SEARCHERS)(queries, gallery)
    exact = Exact(k=20)(queries, gallery)
    chosen = np.random.default_rng(3).permutation(40)[:25]
    hits = sum(len(set(ranking.indices[row]) & set(exact.indices[row])) for row in chosen)
    told = ranking.provenance["recall"]
    assert told == {"k": 20, "value": round(hits / (25 * 20), 6), "queries": 25, "seed": 3}
    assert told["value"] < 0.9 and ranking.provenance["exact"] is False
    assert ranking.provenance["engine"] == f"faiss {faiss.__version__}"


@pytest.mark.parametrize("name", NAMES)
def test_the_provenance_holds_a_call_that_searches_the_same_again(name):
    queries, gallery = pair(gallery=300)
    ranking = build(f"{name}(k=7, {POOR[name]}, seed=5)", SEARCHERS)(queries, gallery)
    again = build(ranking.provenance["search"], SEARCHERS)(queries, gallery)
    same(ranking, again)
    assert again.provenance["search"] == ranking.provenance["search"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_found_has_the_score_of_the_exact_search(name):
    queries, gallery = pair(queries=5, gallery=400)
    ranking = build(f"{name}(k=12, {POOR[name]})", SEARCHERS)(queries, gallery)
    every = Exact(k=400)(queries, gallery)
    for row in range(5):
        right = dict(zip(every.indices[row], every.scores[row], strict=True))
        for index, score in zip(ranking.indices[row], ranking.scores[row], strict=True):
            assert score == (right[index] if index >= 0 else -np.inf)


def test_lists_with_too_few_images_leave_the_end_of_a_row_empty():
    queries, gallery = pair(gallery=200)
    ranking = build("faiss_ivf(k=50, lists=40, probes=1)", SEARCHERS)(queries, gallery)
    assert (ranking.indices == -1).any() and ranking.indices.shape == (30, 50)
    assert np.isneginf(ranking.scores[ranking.indices == -1]).all()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("name", NAMES)
def test_galleries_of_any_size_are_searched(name, size):
    queries, gallery = pair(queries=4, gallery=size)
    ranking = build(f"{name}(k=5, {THOROUGH[name]})", SEARCHERS)(queries, gallery)
    same(ranking, Exact(k=5)(queries, gallery))


@pytest.mark.parametrize("name", NAMES)
def test_no_queries_give_an_empty_ranking(name):
    queries, gallery = pair(queries=0, gallery=20)
    assert build(f"{name}(k=5)", SEARCHERS)(queries, gallery).indices.shape == (0, 5)


@pytest.mark.parametrize("name", NAMES)
def test_equal_images_stand_in_the_order_of_their_ids(name):
    gallery = Embeddings(
        [f"{(7 * row) % 30:02d}" for row in range(30)], np.ones((30, 4), np.float32)
    )
    queries = embeddings(np.ones((2, 4)))
    ranking = build(f"{name}(k=30, {THOROUGH[name]})", SEARCHERS)(queries, gallery)
    assert gallery.ids[ranking.indices].tolist() == [sorted(gallery.ids.tolist())] * 2


@pytest.mark.parametrize("name", NAMES)
def test_an_index_on_disk_gives_the_answer_of_the_one_in_memory(name, tmp_path):
    queries, gallery = pair()
    call = f"{name}(k=9, {POOR[name]}, file={str(tmp_path / 'i.faiss')!r})"
    first = build(call, SEARCHERS)(queries, gallery)
    kept = (tmp_path / "i.faiss").read_bytes()
    second = build(call, SEARCHERS)(queries, gallery)
    same(first, second)
    same(first, build(f"{name}(k=9, {POOR[name]})", SEARCHERS)(queries, gallery))
    assert (tmp_path / "i.faiss").read_bytes() == kept
    assert second.provenance == first.provenance
    more = ["i.faiss.rows.npy"] if name in ON_DISK else []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i.faiss", "i.faiss.json", *more]


def test_an_index_on_disk_is_read_not_built(tmp_path, monkeypatch):
    queries, gallery = pair()
    call = f"faiss_ivf(k=3, file={str(tmp_path / 'i')!r})"
    searcher = build(call, SEARCHERS)
    searcher(queries, gallery)
    monkeypatch.setattr(type(searcher), "_build", lambda *_: pytest.fail("built anew"))
    build(call, SEARCHERS)(queries, gallery)


def test_an_index_is_built_once_for_a_gallery_and_anew_for_another(monkeypatch):
    queries, gallery = pair()
    other, made = pair(1)[1], []
    searcher = build("faiss_ivf(k=9, probes=10000)", SEARCHERS)
    usual = type(searcher)._build
    monkeypatch.setattr(
        type(searcher), "_build", lambda self, side: made.append(side) or usual(self, side)
    )
    same(searcher(queries, gallery), searcher(queries, gallery))
    same(searcher(queries, other), Exact(k=9)(queries, other))
    assert [side is gallery for side in made] == [True, False]


def test_an_index_whose_page_was_never_written_is_built_anew(tmp_path):
    queries, gallery = pair()
    call = f"faiss_ivf(k=3, file={str(tmp_path / 'i')!r})"
    first = build(call, SEARCHERS)(queries, gallery)
    (tmp_path / "i").write_bytes(b"half")
    (tmp_path / "i.json").unlink()
    same(first, build(call, SEARCHERS)(queries, gallery))


@pytest.mark.parametrize("name", ["i", "i.json"])
@pytest.mark.parametrize(
    "content", [b"id,label\n", b'["mine"]', b'{"mine": 1}', b"IxFI" + bytes(40)]
)
def test_a_file_that_is_no_index_of_ours_is_not_written_over(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((UsageError, DataError), match=f"{name}"):
        build(f"faiss_hnsw(k=3, file={str(tmp_path / 'i')!r})", SEARCHERS)(*pair())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: content}


@pytest.mark.parametrize("lost", ["i", "i.json"])
@pytest.mark.parametrize("name", NAMES)
def test_one_file_of_our_pair_is_enough_to_go_on_to_the_same_bytes(tmp_path, name, lost):
    call = f"{name}(k=3, file={str(tmp_path / 'i')!r})"
    first = build(call, SEARCHERS)(*pair())
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / lost).unlink()
    same(first, build(call, SEARCHERS)(*pair()))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "version", "no page"])
def test_a_damaged_index_is_refused(harm, tmp_path):
    queries, gallery = pair()
    call = f"faiss_hnsw(k=3, file={str(tmp_path / 'i')!r})"
    build(call, SEARCHERS)(queries, gallery)
    data, page = (
        bytearray((tmp_path / "i").read_bytes()),
        json.loads((tmp_path / "i.json").read_text()),
    )
    if harm == "version":
        (tmp_path / "i.json").write_text(json.dumps(page | {"format": 99}))
    elif harm == "no page":
        (tmp_path / "i.json").write_text("[]")
    else:
        data[100] ^= 1
        (tmp_path / "i").write_bytes({"cut": data[:-9], "flipped": data, "empty": b""}[harm])
    with pytest.raises(ArtefactError, match="delete it|format"):
        build(call, SEARCHERS)(queries, gallery)


def test_an_index_of_another_gallery_model_or_kind_is_refused(tmp_path):
    file = str(tmp_path / "i")
    queries, gallery = pair(provenance={"model": "one"})
    build(f"faiss_ivf(k=3, file={file!r})", SEARCHERS)(queries, gallery)
    changed = gallery.vectors.copy()
    changed[7, 3] += 1e-3
    other = Embeddings(gallery.ids, changed, gallery.provenance)
    renamed = Embeddings([f"x{name}" for name in gallery.ids], gallery.vectors, gallery.provenance)
    for gone in (other, renamed):
        with pytest.raises(ArtefactError, match="another gallery"):
            build(f"faiss_ivf(k=3, file={file!r})", SEARCHERS)(queries, gone)
    bare, stranger = (
        Embeddings(gallery.ids, gallery.vectors),
        embeddings(queries.vectors, "q", {"model": "two"}),
    )
    with pytest.raises(ArtefactError, match="another model"):
        build(f"faiss_ivf(k=3, file={file!r})", SEARCHERS)(stranger, bare)
    with pytest.raises(ArtefactError, match="differ in model"):
        build(f"faiss_ivf(k=3, file={file!r})", SEARCHERS)(stranger, gallery)
    with pytest.raises(ArtefactError, match="faiss_ivf.*faiss_pq"):
        build(f"faiss_pq(k=3, file={file!r})", SEARCHERS)(queries, gallery)
    with pytest.raises(ArtefactError, match="name another file"):
        build(f"faiss_ivf(k=3, seed=1, file={file!r})", SEARCHERS)(queries, gallery)


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_scored_never_enters(name):
    queries, gallery = pair(gallery=60)
    for value, word in ((np.nan, "not finite"), (np.inf, "not finite")):
        vectors = gallery.vectors.copy()
        vectors[5, 2] = value
        with pytest.raises(DataError, match=f"'g00005' is {word}"):
            build(f"{name}(k=3)", SEARCHERS)(queries, Embeddings(gallery.ids, vectors))
        asked = queries.vectors.copy()
        asked[2, 0] = value
        with pytest.raises(DataError, match=f"'q00002' is {word}"):
            build(f"{name}(k=3)", SEARCHERS)(Embeddings(queries.ids, asked), gallery)
    with pytest.raises(DataError, match="stands 2 times"):
        Embeddings(["a", "a"], np.ones((2, 3), np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_two_dimensions_are_refused(name):
    with pytest.raises(ArtefactError, match="16 dimensions.*8"):
        build(f"{name}()", SEARCHERS)(pair()[0], pair(dim=8)[1])


@pytest.mark.parametrize(
    "call",
    [
        "faiss_ivf(k=0)",
        "faiss_ivf(lists=-1)",
        "faiss_ivf(probes=0)",
        "faiss_hnsw(m=1)",
        "faiss_hnsw(ef=0)",
        "faiss_pq(bytes_=0)",
        "faiss_pq(refine=0)",
        "faiss_pq(metric='manhattan')",
        "faiss_ivf(seed=-1)",
        "faiss_hnsw(train=5)",
    ],
)
def test_impossible_settings_are_refused(call):
    with pytest.raises(UsageError):
        build(call, SEARCHERS)


def test_without_faiss_one_line_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UsageError, match="pip install faiss-cpu"):
        _faiss_library.import_faiss()


class OnGpus:
    """Stands for an index on GPUs, of a build that has this GPU's kernels or lacks them."""

    def __init__(self, index, works):
        self.index, self.works, self.asked = index, works, []

    def search(self, vectors, depth):
        if not self.works:
            raise RuntimeError("no kernel image is available for execution\nat somewhere.cu:7")
        self.asked.append(len(vectors))
        return self.index.search(vectors, depth)


@pytest.mark.parametrize("works", [True, False])
def test_a_gpu_build_of_faiss_is_used_where_it_works(works, monkeypatch, caplog):
    queries, gallery = pair()
    moved = []
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(
        faiss,
        "index_cpu_to_all_gpus",
        lambda index: moved.append(OnGpus(index, works)) or moved[-1],
        raising=False,
    )
    ranking = build(f"faiss_ivf(k=9, {THOROUGH['faiss_ivf']})", SEARCHERS)(queries, gallery)
    same(ranking, Exact(k=9)(queries, gallery))
    assert moved[0].asked == ([1, 30] if works else [])
    assert ("no kernel image" in caplog.text) == (not works)
    build("faiss_ivf(k=3000)", SEARCHERS)(*pair(gallery=2100))
    build("faiss_hnsw(k=3)", SEARCHERS)(queries, gallery)
    assert len(moved) == 1


def test_inputs_are_left_alone_and_the_ranking_survives_the_disk(tmp_path):
    queries, gallery = pair()
    before = queries.vectors.copy(), gallery.vectors.copy()
    for name in NAMES:
        ranking = build(f"{name}(k=3)", SEARCHERS)(queries, gallery)
        ranking.save(tmp_path / "r.npz")
        assert Ranking.load(tmp_path / "r.npz").provenance["recall"] == ranking.provenance["recall"]
    np.testing.assert_array_equal(queries.vectors, before[0])
    np.testing.assert_array_equal(gallery.vectors, before[1])


@pytest.mark.parametrize("name", ["faiss_ivf", "faiss_ivf_pq"])
def test_how_many_queries_are_answered_at_once_changes_nothing(name, monkeypatch):
    queries, gallery = pair()
    call = f"{name}(k=7, {POOR[name]})"
    whole = build(call, SEARCHERS)(queries, gallery)
    monkeypatch.setattr(_faiss_index, "PROPOSED", 100)
    same(build(call, SEARCHERS)(queries, gallery), whole)
