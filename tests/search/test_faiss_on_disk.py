"""Inverted lists on disk: built in parts, killed and gone on, brought up to date, mapped."""

import json
import logging
import pathlib

import numpy as np
import pytest

from fastseek.errors import ArtefactError, DataError, RunError, UsageError
from fastseek.io.locks import hold_folder
from fastseek.registry import SEARCHERS, build
from fastseek.search import _faiss_kept, _faiss_library, _faiss_lists, _faiss_probes
from fastseek.search._row_digests import digest_rows, match_rows
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings

faiss = pytest.importorskip("faiss")
DIM = 16
MAKE = {
    "rabitq": lambda: _faiss_lists.make_rabitq(DIM, 12, faiss.METRIC_L2, 4, 0),
    "pq": lambda: faiss.IndexIVFPQ(faiss.IndexFlat(DIM), DIM, 12, 4, 4),
}


def draw(count, seed=0):
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(9).normal(size=(20, DIM))
    noise = 0.4 * random.normal(size=(count, DIM))
    return (centers[random.integers(0, 20, count)] + noise).astype(np.float32)


def embed(vectors, prefix="g"):
    return Embeddings([f"{prefix}{row:05d}" for row in range(len(vectors))], vectors)


def train(kind, vectors):
    index = MAKE[kind]()
    _faiss_lists.train_lists(index, vectors, 0, False)
    return index


def write(path, vectors, trained, key="k"):
    source = _faiss_lists.Source(embed(vectors), "l2", key)
    with _faiss_lists.hold_work_folder(path) as work:
        _faiss_lists.write_lists(path, work, source, lambda: trained)


def contents(index):
    """Rows and codes of every list."""
    part = _faiss_lists.Part(index)
    lists = range(_faiss_lists.lists_of(index).nlist)
    read = [_faiss_lists._read_list(part, number) for number in lists]
    return [(rows.tolist(), codes.tolist()) for rows, codes in read]


def test_the_file_of_many_parts_is_the_one_faiss_writes_of_one(tmp_path, monkeypatch):
    vectors = draw(600)
    trained = train("pq", vectors)
    trained.add(vectors)
    whole = faiss.serialize_index(trained).tobytes()
    for part in (1 << 28, 1000):
        monkeypatch.setattr(_faiss_lists, "PART", part)
        write(tmp_path / "i", vectors, trained)
        assert (tmp_path / "i").read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["i"]
    index = _faiss_lists.open_lists(tmp_path / "i")
    assert isinstance(faiss.downcast_InvertedLists(index.invlists), faiss.OnDiskInvertedLists)


def test_a_build_that_is_killed_goes_on_and_leaves_nothing(tmp_path, monkeypatch):
    vectors, learnt = draw(600), []
    trained = train("pq", vectors)
    source = _faiss_lists.Source(embed(vectors), "l2", "k")
    monkeypatch.setattr(_faiss_lists, "PART", 1000)
    usual, filled = _faiss_lists._fill, []

    def fill(index, source, first, stop):
        if len(filled) == 3:
            raise KeyboardInterrupt
        filled.append(first)
        usual(index, source, first, stop)

    def make():
        learnt.append(1)
        return trained

    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(KeyboardInterrupt),
        _faiss_lists.hold_work_folder(tmp_path / "i") as work,
    ):
        patch.setattr(_faiss_lists, "_fill", fill)
        _faiss_lists.write_lists(tmp_path / "i", work, source, make)
    assert not (tmp_path / "i").exists()
    monkeypatch.setattr(
        _faiss_lists, "_fill", lambda *given: filled.append(given[2]) or usual(*given)
    )
    with _faiss_lists.hold_work_folder(tmp_path / "i") as work:
        _faiss_lists.write_lists(tmp_path / "i", work, source, make)
    assert learnt == [1] and len(filled) == len(set(filled)) == 6
    gone_on = (tmp_path / "i").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["i"]
    write(tmp_path / "whole", vectors, trained)
    assert (tmp_path / "whole").read_bytes() == gone_on


def test_the_parts_of_another_gallery_are_not_gone_on_with(tmp_path):
    work = tmp_path / ".i.parts"
    work.mkdir()
    (work / "key.json").write_text('"other"')
    (work / "trained.faiss").write_bytes(b"of another")
    (work / "000000000000.faiss").write_bytes(b"of another")
    write(tmp_path / "i", draw(50), train("pq", draw(300)))
    assert _faiss_lists.open_lists(tmp_path / "i").ntotal == 50


@pytest.mark.parametrize("kind", MAKE)
def test_rows_put_in_and_taken_out_leave_the_index_of_what_is_there(tmp_path, kind):
    random = np.random.default_rng(4)
    old, trained = draw(400), train(kind, draw(400))
    write(tmp_path / "old", old, trained)
    for trial in range(5):
        kept = random.permutation(400)[: random.integers(0, 401)]
        now = np.concatenate([old[kept], draw(random.integers(1, 60), seed=10 + trial)])
        now = now[random.permutation(len(now))]
        rows = match_rows(digest_rows(old), digest_rows(now))
        fresh = np.setdiff1d(np.arange(len(now)), rows)
        write(tmp_path / "new", now[fresh], trained)
        parts = [
            _faiss_lists.Part(_faiss_lists.open_lists(tmp_path / "old"), rows),
            _faiss_lists.Part(_faiss_lists.open_lists(tmp_path / "new"), fresh),
        ]
        with open(tmp_path / "both", "wb") as file:
            _faiss_lists.merge_lists(file, _faiss_lists.empty_lists(tmp_path / "old"), parts)
        write(tmp_path / "anew", now, trained)
        mine, right = (_faiss_lists.open_lists(tmp_path / name) for name in ("both", "anew"))
        assert mine.ntotal == len(now)
        pairs = list(zip(contents(mine), contents(right), strict=True))
        assert all(one[0] == other[0] for one, other in pairs)
        if kind == "pq":  # rotation rounds otherwise where other vectors are rotated with it
            assert all(one[1] == other[1] for one, other in pairs)


def test_rows_are_matched_as_a_search_of_all_for_each_would():
    random = np.random.default_rng(1)
    for _ in range(30):
        old, new = (
            random.integers(0, 6, random.integers(0, 12)).astype(np.uint64) for _ in range(2)
        )
        left = {number: list(np.flatnonzero(new == number)) for number in range(6)}
        right = [left[number].pop(0) if left[number] else -1 for number in old.tolist()]
        assert match_rows(old, new).tolist() == right


def test_a_row_has_another_digest_when_any_bit_of_it_changes():
    for dtype in (np.float32, np.float16):
        vectors = draw(40).astype(dtype)
        before = digest_rows(vectors)
        for row, column in ((0, 0), (7, DIM - 1), (39, 3)):
            changed = vectors.copy()
            changed[row, column] = np.nextafter(changed[row, column], dtype(9))
            assert np.flatnonzero(digest_rows(changed) != before).tolist() == [row]
        assert len(np.unique(before)) == 40


@pytest.fixture
def searched(tmp_path):
    """A gallery whose index lies in a file, and the call that made it."""
    call = f"faiss_ivf_rabitq(k=5, file={str(tmp_path / 'i')!r})"
    gallery = embed(draw(900))
    build(call, SEARCHERS)(embed(draw(20, 1), "q"), gallery)
    return call, gallery, tmp_path


def test_an_index_whose_gallery_has_changed_is_brought_up_to_date(searched, monkeypatch, caplog):
    call, gallery, folder = searched
    queries = embed(draw(20, 1), "q")
    rows = np.r_[5:900]
    vectors = np.concatenate([draw(30, seed=2), gallery.vectors[rows]])
    now = Embeddings([f"n{row:04d}" for row in range(len(vectors))], vectors)
    monkeypatch.setattr(_faiss_kept, "_learn", lambda *_: pytest.fail("learnt anew"))
    ranking = build(call, SEARCHERS)(queries, now)
    assert "30 images are new and 5 gone" in caplog.text
    exact = Exact(k=5)(queries, now)
    hits = [len(np.intersect1d(*pair)) for pair in zip(ranking.indices, exact.indices, strict=True)]
    assert sum(hits) >= 0.9 * exact.indices.size
    assert sorted(path.name for path in folder.iterdir()) == ["i", "i.json", "i.rows.npy"]
    caplog.clear()
    build(call, SEARCHERS)(queries, now)
    assert caplog.text == ""


def test_a_gallery_in_another_order_is_told_as_such(searched, caplog):
    call, gallery, _ = searched
    turned = Embeddings(gallery.ids[::-1], np.asarray(gallery.vectors)[::-1])
    found = build(call, SEARCHERS)(embed(draw(20, 1), "q"), turned)
    assert "the gallery is in another order: it is brought up" in caplog.text
    fresh = build(call.replace("/i'", "/j'"), SEARCHERS)(embed(draw(20, 1), "q"), gallery)
    np.testing.assert_allclose(found.scores[:, 0], fresh.scores[:, 0], rtol=1e-5)


def test_an_index_of_a_quite_other_gallery_is_made_anew(searched):
    call, gallery, folder = searched
    other = embed(draw(700, seed=5))
    queries = embed(draw(20, 1), "q")
    ranking = build(call, SEARCHERS)(queries, other)
    fresh = build(call.replace(str(folder / "i"), str(folder / "j")), SEARCHERS)(queries, other)
    np.testing.assert_array_equal(ranking.indices, fresh.indices)
    assert (folder / "i").read_bytes() == (folder / "j").read_bytes()


def test_ids_alone_change_nothing(searched):
    call, gallery, folder = searched
    before = (folder / "i").stat().st_mtime_ns
    renamed = Embeddings([f"x{name}" for name in gallery.ids], gallery.vectors)
    build(call, SEARCHERS)(embed(draw(20, 1), "q"), renamed)
    assert (folder / "i").stat().st_mtime_ns == before


def test_without_its_rows_an_index_of_another_gallery_is_made_anew(searched):
    call, gallery, folder = searched
    (folder / "i.rows.npy").unlink()
    more = embed(np.concatenate([gallery.vectors, draw(3, seed=8)]))
    ranking = build(call, SEARCHERS)(embed(more.vectors[-3:], "q"), more)
    assert ranking.indices[:, 0].tolist() == [900, 901, 902]


def test_an_index_that_was_changed_since_is_refused_and_one_that_was_touched_is_not(searched):
    call, gallery, folder = searched
    queries, path = embed(draw(20, 1), "q"), folder / "i"
    path.touch()
    build(call, SEARCHERS)(queries, gallery)
    content = bytearray(path.read_bytes())
    content[-4] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="the bytes are not those"):
        build(call, SEARCHERS)(queries, gallery)


def test_two_do_not_build_one_file(tmp_path):
    with hold_folder(tmp_path / ".i.parts"), pytest.raises(RunError, match="writing here"):
        call = f"faiss_ivf_pq(k=5, file={str(tmp_path / 'i')!r})"
        build(call, SEARCHERS)(embed(draw(5), "q"), embed(draw(50)))


def test_a_stranger_s_rows_are_not_written_over(tmp_path):
    (tmp_path / "i.rows.npy").write_bytes(b"mine")
    with pytest.raises(UsageError, match="rows.npy"):
        call = f"faiss_ivf_pq(k=5, file={str(tmp_path / 'i')!r})"
        build(call, SEARCHERS)(embed(draw(5), "q"), embed(draw(50)))
    assert (tmp_path / "i.rows.npy").read_bytes() == b"mine"


@pytest.mark.parametrize("vector", [np.nan, 0])
def test_a_vector_that_cannot_be_scored_is_named_and_nothing_is_there(tmp_path, vector):
    vectors = draw(60)
    vectors[7] = vector
    call = f"faiss_ivf_pq(k=5, file={str(tmp_path / 'i')!r})"
    with pytest.raises(DataError, match="g00007"):
        build(call, SEARCHERS)(embed(draw(5), "q"), embed(vectors))
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]


def test_the_recall_that_was_asked_for_is_reached_with_few_lists(tmp_path):
    gallery = embed(draw(4000))
    queries = embed(draw(50, seed=3), "q")
    probes = []
    for recall in (0.5, 0.9, 0.99):
        file = str(tmp_path / "i")
        call = f"faiss_ivf_rabitq(k=10, recall={recall}, sample=50, file={file!r})"
        told = build(call, SEARCHERS)(queries, gallery).provenance
        assert told["recall"]["value"] >= recall - 0.05 and told["recall"]["queries"] == 50
        probes.append(told["index"]["probes"] * told["index"]["candidates"])
    assert probes == sorted(probes) and probes[0] < probes[-1]
    settings = json.loads((tmp_path / "i.json").read_text())["settings"]
    assert {row["k"] for row in settings} == {10, 100}


def test_without_a_sample_the_recall_is_that_of_stored_images(tmp_path):
    gallery, queries = embed(draw(600)), embed(draw(5), "q")
    told = build("faiss_ivf_pq(k=10)", SEARCHERS)(queries, gallery).provenance["recall"]
    assert told["of"] == "stored images" and told["k"] == 10 and 0.9 < told["value"] <= 1


def test_the_recall_of_a_setting_is_counted_as_one_would_by_hand():
    found = np.array([[3, 0, 5, 1, -1], [2, 1, 9, 8, 7]])
    right = [np.array([1, 5, 4]), np.array([9, 8, 7])]
    places = _faiss_probes._find_places(found, np.array([0, 1]), right)
    none = np.iinfo(np.int64).max
    assert places.tolist() == [[2, 1, none], [1, 2, 3]]
    told = {row["candidates"]: row["recall"] for row in _faiss_probes._tell(places, 2, 1)}
    assert told[2] == 0.5 and told[4] == 1.0


def test_a_recall_out_of_reach_is_told(caplog):
    told = [{"k": 10, "probes": 4, "candidates": 320, "recall": 0.8}]
    assert _faiss_probes.choose_setting(told, 10, 0.9, 50).recall == 0.8
    assert "0.9 was asked for: the most that this index reaches is 0.8" in caplog.text


def test_few_training_vectors_give_a_warning(caplog):
    with caplog.at_level(logging.WARNING, "fastseek"):
        build("faiss_ivf_pq(k=5, train=60)", SEARCHERS)(embed(draw(5), "q"), embed(draw(3000)))
    assert "60 vectors for the 60 lists of an index are few" in caplog.text


def test_an_old_faiss_is_refused_by_name(monkeypatch):
    class Old:
        __version__ = "1.12.0"
        RaBitQuantizer = object

    monkeypatch.setattr(_faiss_library, "import_faiss", lambda: Old)
    with pytest.raises(UsageError, match=r"1.13.2 or newer, here is 1.12.0.*faiss_ivf_pq"):
        build("faiss_ivf_rabitq()", SEARCHERS)


def test_a_faiss_that_writes_otherwise_is_refused_and_not_misread(monkeypatch):
    trained = train("pq", draw(300))
    usual = faiss.serialize_index
    monkeypatch.setattr(faiss, "serialize_index", lambda index: np.append(usual(index), 0))
    with pytest.raises(RunError, match="in another form"):
        _faiss_lists._head(trained, np.zeros(12, np.uint64))


def test_the_number_of_threads_changes_nothing(tmp_path):
    files = []
    for count in (1, 3):
        faiss.omp_set_num_threads(count)
        try:
            write(tmp_path / str(count), draw(800), train("rabitq", draw(800)))
        finally:
            faiss.omp_set_num_threads(1)
        files.append((tmp_path / str(count)).read_bytes())
    assert files[0] == files[1]


class OnGpus:
    """Stands for a flat index on GPUs."""

    def __init__(self, index, asked):
        self.index, self.asked = index, asked

    def search(self, vectors, depth):
        self.asked.append(len(vectors))
        return self.index.search(vectors, depth)


def test_lists_are_found_on_gpus_where_there_are_some(tmp_path, monkeypatch):
    vectors = draw(500)
    trained = train("rabitq", vectors)
    write(tmp_path / "cpu", vectors, trained)
    asked: list[int] = []
    monkeypatch.setattr(_faiss_lists, "move_to_gpus", lambda index, depth: OnGpus(index, asked))
    write(tmp_path / "gpu", vectors, trained)
    assert asked == [500]
    assert (tmp_path / "cpu").read_bytes() == (tmp_path / "gpu").read_bytes()


def test_the_index_of_no_file_leaves_none(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    searcher = build("faiss_ivf_rabitq(k=3)", SEARCHERS)
    gallery, queries = embed(draw(200)), embed(draw(5), "q")
    first = searcher(queries, gallery)
    assert list(pathlib.Path(tmp_path).iterdir()) == []
    np.testing.assert_array_equal(first.indices, searcher(queries, gallery).indices)


def test_a_folder_keeps_an_index_for_every_run_of_a_sharded_search(tmp_path, monkeypatch):
    inner = f"faiss_ivf_rabitq(k=5, recall=1.0, bits=8, file={f'{tmp_path}/kept/'!r})"
    call = f"sharded(search={inner!r}, rows=150)"
    gallery, queries = embed(draw(400)), embed(draw(20, 1), "q")
    ranking = build(call, SEARCHERS)(queries, gallery)
    np.testing.assert_array_equal(ranking.indices, Exact(k=5)(queries, gallery).indices)
    assert len(list((tmp_path / "kept").glob("*.faiss"))) == 3
    monkeypatch.setattr(_faiss_kept, "_learn", lambda *_: pytest.fail("learnt anew"))
    np.testing.assert_array_equal(build(call, SEARCHERS)(queries, gallery).indices, ranking.indices)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04"])
def test_rows_that_a_full_disk_cut_off_are_none(content, tmp_path):
    path = tmp_path / "i.rows.npy"
    path.write_bytes(content)
    assert _faiss_kept._read_rows(path) is None
    if not content:
        _faiss_kept._check_rows(path)  # nothing would be lost


def test_what_another_process_has_built_while_the_folder_was_waited_for_is_taken(
    searched, monkeypatch
):
    call, gallery, _ = searched
    real, looks = _faiss_kept._read_page, []

    def late(kept, provenance):
        looks.append(1)
        return None if len(looks) == 1 else real(kept, provenance)

    monkeypatch.setattr(_faiss_kept, "_read_page", late)
    monkeypatch.setattr(_faiss_kept, "_build", lambda *given: pytest.fail("it was built again"))
    build(call, SEARCHERS)(embed(draw(20, 1), "q"), gallery)
    assert len(looks) == 2
