"""Approximate engines: what they propose is scored exactly, and what they lack is found exactly."""

import errno

import faiss
import msgspec
import numpy as np
import pytest
from twin import Twin, answers, assert_holds, draw

from fastseek.errors import UsageError
from fastseek.index import Index, draft, engines, manifest, view
from fastseek.search import _faiss_library, _faiss_lists

ENGINES = ["hnsw", "ivf_rabitq"]


def clusters(count, seed=0, dim=16):
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(9).normal(size=(20, dim))
    noise = 0.4 * random.normal(size=(count, dim))
    return (centers[random.integers(0, 20, count)] + noise).astype(np.float32)


@pytest.fixture(scope="module", params=ENGINES)
def built(request, tmp_path_factory):
    """An index of 1,500 images with a structure of 1,200 of them, and its twin."""
    folder = tmp_path_factory.mktemp(request.param) / "i"
    index, twin = Index.create(folder, engine=request.param, flat_below=1000), Twin()
    names = [f"p{number:04d}" for number in range(1500)]
    told = {"price": list(range(1500))}
    for part in (slice(0, 1200), slice(1200, 1500)):
        metadata = {"price": told["price"][part]}
        index.add(names[part], clusters(1500)[part], metadata)
        twin.put(names[part], clusters(1500)[part], metadata)
    index.delete(names[5:25])
    twin.delete(names[5:25])
    return index, twin


def recall_of(found, expected):
    hits = sum(
        len({*dict(one)} & {*dict(other)}) for one, other in zip(found, expected, strict=True)
    )
    return hits / sum(map(len, expected))


def test_nearly_all_of_the_nearest_are_found_and_every_score_is_exact(built):
    index, twin = built
    queries = clusters(40, seed=3)
    ranking = index.search(queries, 10)
    expected, found = twin.search(queries, 10), answers(ranking)
    assert recall_of(found, expected) > 0.95
    exact = [dict(one) for one in twin.search(queries, 1500)]
    assert all(exact[row][name] == score for row, one in enumerate(found) for name, score in one)
    assert all(len(one) == 10 for one in found)
    told = ranking.provenance
    assert told["exact"] is False and told["engine"].startswith("faiss")
    assert told["recall"]["k"] == 10 and told["recall"]["value"] > 0.9
    assert index.info()["in use"] == index.info()["engine"]


@pytest.mark.parametrize("text", ["price < 40", "price >= 300", "price == 1300", "price < 0"])
def test_a_filter_holds_and_its_answers_are_as_many_as_there_can_be(built, text):
    index, twin = built
    queries = clusters(10, seed=4)
    kept = twin.search(queries, 10, lambda told: eval(text, {}, told))
    found = answers(index.search(queries, 10, text))
    assert [len(one) for one in found] == [len(one) for one in kept]
    names = {name for name, (_, told) in twin.rows.items() if eval(text, {}, told)}
    assert {name for one in found for name, _ in one} <= names
    assert not names or recall_of(found, kept) > 0.9


def test_all_that_is_there_can_be_asked_for(built):
    index, twin = built
    queries = clusters(2, seed=5)
    assert answers(index.search(queries, 2000)) == twin.search(queries, 2000)


def test_images_added_since_are_found_and_deleted_ones_are_not(built):
    index, twin = built
    state = index._view.manifest
    base = next(one for one in state.segments if one.number == state.structure.segment)
    assert (base.rows, base.dead) == (1200, 20) and len(state.segments) == 2
    for name in ("p1400", "p0003"):
        found = index.search(twin.rows[name][0][None], 1)
        assert found.gallery_ids.tolist() == [name]
    gone = clusters(1500)[7]
    assert "p0007" not in index.search(gone[None], 10).gallery_ids.tolist()


@pytest.mark.parametrize("fault", ["gone", "flipped"])
def test_without_its_structure_an_index_answers_exactly_and_the_next_change_builds_it(
    tmp_path, fault, caplog
):
    index, twin = Index.create(tmp_path / "i", engine="hnsw", flat_below=50), Twin()
    index.add([f"p{n}" for n in range(60)], draw(60))
    twin.put([f"p{n}" for n in range(60)], draw(60))
    path = next((tmp_path / "i" / "1").glob("*.faiss"))
    content = bytearray(path.read_bytes())
    content[-4] ^= 1
    path.unlink()
    if fault == "flipped":
        path.write_bytes(content)
    assert any(path.name in line for line in index.check())
    index = Index.open(tmp_path / "i")
    ranking = index.search(draw(3, seed=1), 5)
    assert answers(ranking) == twin.search(draw(3, seed=1), 5)
    assert ranking.provenance["exact"] is True and "all images are compared" in caplog.text
    index.add(["new"], draw(1, seed=2))
    twin.put(["new"], draw(1, seed=2))
    assert index.search(draw(3, seed=1), 5).provenance["exact"] is False
    assert_holds(index, twin)


def test_a_small_index_is_flat_whatever_is_named(tmp_path):
    index = Index.create(tmp_path / "i", engine="hnsw", flat_below=50)
    index.add([f"p{n}" for n in range(49)], draw(49))
    assert index.search(draw(1), 5).provenance["exact"] is True
    assert index.info()["in use"] == "flat (below 50 images no engine is faster)"
    index.add(["more"], draw(1))
    assert index.search(draw(1), 5).provenance["exact"] is False


def test_a_structure_is_built_anew_when_a_third_is_new_and_not_before(tmp_path, monkeypatch):
    built = []
    real = draft.build_structure
    monkeypatch.setattr(draft, "build_structure", lambda *a: built.append(1) or real(*a))
    index = Index.create(tmp_path / "i", engine="hnsw", flat_below=50)
    with index.batch():
        for number in range(0, 100, 10):
            index.add([f"p{number + n}" for n in range(10)], draw(10, seed=number))
        assert built == []
    assert len(built) == 1
    for number in range(100, 150, 10):
        index.add([f"p{number + n}" for n in range(10)], draw(10, seed=number))
    assert len(built) == 2 and index.check() == []


@pytest.mark.parametrize("place", ["build_structure", "write_manifest"])
def test_a_disk_that_is_full_when_the_structure_is_built_does_not_undo_the_change(
    tmp_path, monkeypatch, caplog, place
):
    index = Index.create(tmp_path / "i", engine="hnsw", flat_below=50)
    real = getattr(draft, place)

    def fill(*given):
        if place == "write_manifest" and given[1].structure is None:
            return real(*given)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draft, place, fill)
        assert index.add([f"p{n}" for n in range(60)], draw(60)) == 60
    assert "the change is made, but the structure of hnsw is not built (No space" in caplog.text
    assert len(index) == 60 == len(Index.open(tmp_path / "i")) and index.check() == []
    assert index.search(draw(1), 5).provenance["exact"] is True
    index.delete(["p0"])
    assert index.search(draw(1), 5).provenance["exact"] is False


def test_compacting_one_whole_segment_builds_its_structure_anew(tmp_path):
    index = Index.create(tmp_path / "i", engine="hnsw", flat_below=50)
    index.add([f"p{n}" for n in range(60)], draw(60))
    before = index._view.manifest.structure
    index.compact()
    after = index._view.manifest.structure
    assert before.file.name != after.file.name and before.segment == after.segment
    assert index.check() == [] and index.search(draw(1), 5).provenance["exact"] is False


@pytest.mark.parametrize("engine", ENGINES)
def test_a_reader_keeps_its_structure_also_when_it_first_searches_after_it_was_removed(
    tmp_path, engine, monkeypatch
):
    monkeypatch.setattr(manifest, "GRACE", 0.0)
    index = Index.create(tmp_path / "i", engine=engine, flat_below=50)
    index.add([f"p{n}" for n in range(60)], draw(60))
    reader, other = Index.open(tmp_path / "i"), Index.open(tmp_path / "i")
    expected = answers(other.search(draw(3, seed=1), 5))
    index.compact()
    index.delete(["nothing"])
    assert len(list((tmp_path / "i" / "1").glob("*.faiss"))) == 1
    ranking = reader.search(draw(3, seed=1), 5)
    assert ranking.provenance["exact"] is False and answers(ranking) == expected


def test_lists_stay_on_disk_and_the_manifest_tells_how_they_are_searched(built):
    index, _ = built
    index.search(clusters(1, seed=6), 5)
    told, structure = index.info(), index._view._structure
    if told["engine"] == "hnsw":
        assert told["probes"] is None
        return
    lists = _faiss_lists.lists_of(structure)
    assert isinstance(faiss.downcast_InvertedLists(lists.invlists), faiss.OnDiskInvertedLists)
    assert 1 <= told["probes"] <= lists.nlist and told["recall"]["value"] >= engines.RECALL


def test_the_lists_of_an_older_version_are_still_searched(tmp_path):
    index = Index.create(tmp_path / "i", engine="ivf_rabitq", flat_below=50)
    vectors = clusters(800)
    index.add([f"p{n:03d}" for n in range(800)], vectors)
    state, line = index._view.manifest, tmp_path / "i" / "1"
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    flat = faiss.IndexFlat(16, faiss.METRIC_INNER_PRODUCT)
    old = faiss.IndexIVFRaBitQ(flat, 16, 20, faiss.METRIC_INNER_PRODUCT, True, 4)
    old.train(unit)
    old.add(unit)
    path = line / "00000099.structure.faiss"
    faiss.write_index(old, str(path))
    number, recall = state.structure.segment, {"k": 10, "value": 1.0}
    entry = manifest.StructureEntry("ivf_rabitq", number, manifest.describe_file(path), recall)
    manifest.write_manifest(line, msgspec.structs.replace(state, structure=entry))
    index, twin = Index.open(tmp_path / "i"), Twin()
    twin.put([f"p{n:03d}" for n in range(800)], vectors)
    ranking = index.search(clusters(20, seed=3), 10)
    assert ranking.provenance["exact"] is False and index.check() == []
    assert recall_of(answers(ranking), twin.search(clusters(20, seed=3), 10)) > 0.95


def test_a_killed_build_of_lists_goes_on_and_leaves_nothing_behind(tmp_path, monkeypatch):
    learnt, usual = [], engines._learn_lists
    monkeypatch.setattr(engines, "_learn_lists", lambda *given: learnt.append(1) or usual(*given))
    index = Index.create(tmp_path / "i", engine="ivf_rabitq", flat_below=50)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(_faiss_lists, "_fill", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        index.add([f"p{n}" for n in range(60)], draw(60))
    index = Index.open(tmp_path / "i")
    assert len(index) == 60 and index.search(draw(1), 5).provenance["exact"] is True
    index.delete(["nothing", "p0"])
    index.add(["p0"], draw(1))
    assert index.search(draw(1), 5).provenance["exact"] is False
    assert not (tmp_path / "i" / "1" / ".structure.parts").exists()
    assert index.check() == []


def test_an_engine_that_faiss_lacks_is_refused_by_name(tmp_path, monkeypatch):
    class Old:
        __version__ = "1.9"

    monkeypatch.setattr(_faiss_library, "import_faiss", lambda: Old)
    with pytest.raises(UsageError, match=r"ivf_rabitq needs faiss 1.13.2 or newer, here is 1.9"):
        Index.create(tmp_path / "i", engine="ivf_rabitq")


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("engine", ENGINES)
def test_other_metrics_are_those_of_the_exact_search(tmp_path, engine, metric, monkeypatch):
    monkeypatch.setattr(view, "NARROW", 0.0)
    index = Index.create(tmp_path / "i", engine=engine, metric=metric, flat_below=50)
    twin, names = Twin(), [f"p{n}" for n in range(400)]
    index.add(names, clusters(400))
    twin.put(names, clusters(400))
    expected = twin.search(clusters(10, seed=2), 5, metric=metric)
    assert recall_of(answers(index.search(clusters(10, seed=2), 5)), expected) > 0.9
