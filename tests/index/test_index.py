"""An index against its slow twin: a dict."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twin import Twin, answers, assert_holds, draw

from fastseek.errors import ArtefactError, DataError, RunError, UsageError
from fastseek.index import Index, draft, manifest
from fastseek.io.locks import hold_folder
from fastseek.structures import Embeddings

NAMES = [*(f"a/{n}.jpg" for n in range(9)), "é.jpg", "\U0001f41f.jpg", "\udc80x.jpg", "b", "b "]
MODEL = {"model": "m1", "views": ["hflip()"], "root": "/pictures"}


@pytest.fixture
def small_steps(monkeypatch):
    """Segments that become many, and one, after a few images."""
    monkeypatch.setattr(draft, "SMALL", 4)
    monkeypatch.setattr(draft, "MOST_SMALL", 3)


def few(names=NAMES):
    return st.lists(st.sampled_from(names), unique=True, max_size=6)


STEP = st.one_of(
    st.tuples(st.sampled_from(("add", "upsert", "delete")), few(), st.integers(0, 99)),
    st.tuples(st.sampled_from(("compact", "reopen")), st.just([]), st.just(0)),
)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(STEP, max_size=12),
    metric=st.sampled_from(("cosine", "ip", "l2")),
    k=st.integers(1, 20),
)
def test_any_sequence_of_changes_leaves_what_a_dict_holds(tmp_path_factory, steps, metric, k):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draft, "SMALL", 4)
        patch.setattr(draft, "MOST_SMALL", 3)
        folder = tmp_path_factory.mktemp("index") / "i"
        index, twin = Index.create(folder, metric=metric), Twin()
        for verb, names, seed in steps:
            index = apply(index, twin, verb, names, seed)
        assert_holds(index, twin)
        queries = draw(3, seed=5)
        if twin.rows:
            assert answers(index.search(queries, k)) == twin.search(queries, k, metric=metric)


def apply(index, twin, verb, names, seed):
    # Coarse numbers, so that there are ties.
    vectors = np.round(draw(len(names), dim=3, seed=seed)) + np.float32(0.5)
    vectors = np.concatenate([vectors, vectors[:, :3]], axis=1)
    metadata = {"price": [seed + row for row in range(len(names))], "shop": ["s"] * len(names)}
    if verb == "reopen":
        return Index.open(index.folder)
    if verb == "compact":
        index.compact()
    elif verb == "delete":
        assert index.delete(names) == len(set(names) & set(twin.rows))
        twin.delete(names)
    elif verb == "add" and set(names) & set(twin.rows):
        with pytest.raises(DataError, match="there already"):
            index.add(names, vectors, metadata)
    else:
        getattr(index, verb)(names, vectors, metadata)
        twin.put(names, vectors, metadata)
    return index


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_index_of_many_segments_answers_as_an_exact_search_over_what_is_live(tmp_path, dtype):
    random = np.random.default_rng(0)
    index, twin = Index.create(tmp_path / "i", dtype=dtype), Twin()
    vectors = draw(900, dim=16).astype(dtype)
    names = np.array([f"p{number}" for number in random.permutation(900)])
    for start, stop in ((0, 500), (500, 501), (501, 700), (700, 900)):
        index.add(names[start:stop], vectors[start:stop])
    twin.put(names.tolist(), vectors)
    gone = names[::3].tolist()
    assert index.delete(gone) == 300 == index.delete(gone) + 300
    twin.delete(gone)
    queries = draw(40, dim=16, seed=1)
    expected = twin.search(queries, 25)
    ranking = index.search(queries, 25)
    assert answers(ranking) == expected
    assert ranking.provenance["exact"] is True and ranking.provenance["images"] == 600
    # Once more, from the vectors that are in memory now, and from a file that was just opened.
    assert answers(index.search(queries, 25)) == expected
    assert answers(Index.open(tmp_path / "i").search(queries, 25)) == expected


def test_many_single_adds_make_few_segments(tmp_path, small_steps):
    index = Index.create(tmp_path / "i")
    for number in range(60):
        index.add([f"p{number:03d}"], draw(1, seed=number))
    assert len(index) == 60 and index.info()["segments"] <= 9


def test_what_is_deleted_leaves_the_disk_when_it_is_more_than_half(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "GRACE", 0.0)
    index = Index.create(tmp_path / "i")
    index.add([f"p{n}" for n in range(400)], draw(400))
    index.delete([f"p{n}" for n in range(300)])
    index.add(["new"], draw(1))
    index.delete(["nothing"])
    assert index.info()["deleted"] == 0 and index.info()["segments"] == 1
    assert sum(path.stat().st_size for path in (tmp_path / "i" / "1").iterdir()) < 101 * 100


def test_an_answer_refers_to_the_images_it_lists_only(tmp_path):
    index = Index.create(tmp_path / "i")
    index.add([f"p{n:04d}" for n in range(1000)], draw(1000))
    ranking = index.search(draw(2, seed=3), 5)
    assert ranking.indices.shape == (2, 5) and len(ranking.gallery_ids) <= 10
    assert ranking.gallery_ids.tolist() == sorted(ranking.gallery_ids.tolist())


def test_an_empty_index_gives_empty_answers(tmp_path):
    index = Index.create(tmp_path / "i")
    assert index.search(draw(3), 5).indices.shape == (3, 0)
    assert index.info()["images"] == 0 and index.check() == [] and index.delete(["a"]) == 0
    index.add(["a"], draw(1))
    assert index.delete(["a", "a"]) == 1 and len(index) == 0
    assert index.search(draw(3), 5).indices.shape == (3, 0)


def test_images_of_another_model_are_refused_as_queries_and_as_images(tmp_path):
    index = Index.create(tmp_path / "i")
    index.add(["a", "b"], draw(2), provenance=MODEL)
    other = {**MODEL, "model": "m2"}
    with pytest.raises(ArtefactError, match="queries and index differ in model: m2 and m1"):
        index.search(Embeddings(["q"], draw(1), other))
    with pytest.raises(ArtefactError, match="differ in model"):
        index.add(["c"], draw(1), provenance=other)
    with pytest.raises(ArtefactError, match="have 5 dimensions"):
        index.search(draw(1, dim=5))
    assert len(Index.open(tmp_path / "i")) == 2


def test_the_ranking_tells_what_made_both_sides(tmp_path):
    index = Index.create(tmp_path / "i")
    index.add(["a", "b"], draw(2), provenance=MODEL)
    told = index.search(Embeddings(["q"], draw(1), {"model": "m1"}), 1).provenance
    assert told["gallery"] == MODEL and told["queries"] == {"model": "m1"}
    index.add(["c"], draw(1), provenance={**MODEL, "root": "/elsewhere"})
    assert "root" not in index.search(draw(1), 1).provenance["gallery"]


def test_an_index_of_bare_vectors_is_of_the_first_model_that_is_told(tmp_path):
    index = Index.create(tmp_path / "i")
    index.add(["a"], draw(1))
    index.add(["b"], draw(1), provenance={**MODEL, "name": "one"})
    told = {key: value for key, value in MODEL.items() if key != "root"}
    assert index.provenance == {**told, "name": "one"}
    with pytest.raises(ArtefactError, match="differ in model"):
        index.add(["c"], draw(1), provenance={**MODEL, "model": "m2"})


def test_an_index_made_for_a_model_takes_images_of_no_other(tmp_path):
    index = Index.create(tmp_path / "i", provenance={"name": "default"})
    for provenance in ({"name": "timm:other"}, {"name": "timm:other", "model": "m2"}):
        with pytest.raises(ArtefactError, match="made for the model default, and .* timm:other"):
            index.add(["a"], draw(1), provenance=provenance)
    index.add(["a"], draw(1))
    with pytest.raises(ArtefactError, match="made for the model default"):
        index.add(["b"], draw(1), provenance={"name": "timm:other", "model": "m2"})
    index.add(["b"], draw(1), provenance={"name": "default", "model": "m1"})
    assert index.provenance == {"name": "default", "model": "m1"}
    made = Index.create(tmp_path / "j", provenance={"model": "m1"})
    with pytest.raises(ArtefactError, match="differ in model: m2 and m1"):
        made.add(["a"], draw(1), provenance={"model": "m2"})


def test_a_model_by_a_relative_path_is_the_one_by_the_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("timm:net@{}w.pt", "run:{}outputs", "{}w.onnx")):
        index = Index.create(tmp_path / str(number), provenance={"name": name.format("")})
        whole = name.removeprefix("run:").format(f"{tmp_path}/")
        index.add(["a"], draw(1), provenance={"name": whole, "model": "m"})
        assert index.provenance["name"] == whole


def test_other_vectors_of_an_image_forget_its_file_and_content(tmp_path):
    index = Index.create(tmp_path / "i")
    told = {"path": ["/a.jpg"], "content": ["h1"], "price": [3]}
    index.add(["a"], draw(1), told)
    index.upsert(["a"], draw(1, seed=1))
    assert index.metadata(["a"]) == {"path": [None], "content": [None], "price": [3]}


def test_metadata_is_updated_beside_the_vectors_that_are_there_now(tmp_path):
    index = Index.create(tmp_path / "i")
    told = {"path": ["/a", "/b", "/c"], "price": [1, 2, 3]}
    index.add(["a", "b", "c"], draw(3), told, MODEL)
    stale = Index.open(tmp_path / "i")
    index.upsert(["b"], draw(1, seed=7), {"path": ["/new"]}, MODEL)
    assert stale.update(["c", "b"], {"price": [None, 20], "shop": ["north", None]}) == 2
    index.refresh()
    assert index.metadata(["a", "b", "c"]) == {
        "path": ["/a", "/new", "/c"],
        "price": [1, 20, None],
        "shop": [None, None, "north"],
    }
    expected = np.stack([draw(3)[0], draw(1, seed=7)[0], draw(3)[2]])
    np.testing.assert_array_equal(index.vectors(["a", "b", "c"]).vectors, expected)
    assert index.provenance == MODEL and index.check() == [] and index.update([], {}) == 0
    with pytest.raises(DataError, match="1 of 2 images are not there, such as 'z'"):
        index.update(["a", "z"], {"price": [1, 2]})


@pytest.mark.parametrize(
    "ids, vectors, told",
    [
        (["a", "a"], draw(2), "stands 2 times"),
        (["a"], draw(2), "1 ids for 2 vectors"),
        (["a", "b"], np.array([[1, 2], [np.nan, 1]], np.float32), "of 'b' is not finite"),
        (["a"], np.zeros((1, 4), np.float32), "is zero"),
        (["x" * 1025], draw(1), "longer than 1024 bytes"),
        (["a"], np.zeros((1, 0), np.float32), "no numbers"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name_and_changes_nothing(tmp_path, ids, vectors, told):
    index = Index.create(tmp_path / "i")
    for verb in (index.add, index.upsert):
        with pytest.raises(DataError, match=told):
            verb(ids, vectors)
    assert len(Index.open(tmp_path / "i")) == 0 and index.check() == []


def test_an_id_is_as_wide_as_it_is_and_not_as_its_array(tmp_path):
    index = Index.create(tmp_path / "i")
    index.add(np.array(["a", "b"], "U900"), draw(2))
    assert index._view.segments[0].keys.dtype == "S1"
    assert index.known(np.array(["a", "z" * 2000])[:1]).tolist() == [True]
    with pytest.raises(DataError, match="longer than 1024 bytes"):
        index.known(["a", "z" * 2000])


def test_a_number_too_large_for_64_bits_is_refused(tmp_path):
    index = Index.create(tmp_path / "i")
    index.add(["a"], draw(1), {"price": [3]})
    with pytest.raises(DataError, match="column 'price' of 'b': 1000.* is no number"):
        index.add(["b"], draw(1), {"price": [10**400]})
    with pytest.raises(UsageError, match="is neither a column nor a number"):
        index.select(f"price < 1{'0' * 400}")
    index.add(["b"], draw(1), {"price": [float("nan")]})
    assert index.metadata(["b"])["price"] == [None]


def test_a_provenance_is_stored_as_json_gives_it_back(tmp_path):
    index = Index.create(tmp_path / "i")
    told = {"model": "m1", "preprocessing": {"size": np.int64(4), "mean": (np.float32(0.5),)}}
    for name in "ab":
        index.add([name], draw(1), provenance=told)
    assert index.provenance["preprocessing"] == {"size": 4, "mean": [0.5]}
    assert len(index.search(Embeddings(["q"], draw(1), told), 2).gallery_ids) == 2
    wrong = {"model": "m1", "preprocessing": {"size": float("nan")}}
    with pytest.raises(DataError, match="'preprocessing' of the provenance is nan"):
        index.add(["c"], draw(1), provenance=wrong)
    with pytest.raises(DataError, match="of the provenance is nan"):
        Index.create(tmp_path / "j", provenance=wrong)


def test_a_number_beyond_half_precision_is_refused(tmp_path):
    index = Index.create(tmp_path / "i", dtype="float16")
    with pytest.raises(DataError, match="'a' is not finite"):
        index.add(["a"], np.array([[1e5, 1]], np.float32))


def test_metadata_of_another_kind_or_length_is_refused(tmp_path):
    index = Index.create(tmp_path / "i")
    index.add(["a"], draw(1), {"price": [3], "shop": ["north"]})
    assert index.columns == {"price": "number", "shop": "text"}
    for metadata, told in (
        ({"price": ["much"]}, "'much' is no number"),
        ({"shop": [4]}, "4 is no text"),
        ({"price": [1, 2]}, "2 values for 1 images"),
    ):
        with pytest.raises(DataError, match=told):
            index.add(["b"], draw(1), metadata)
    with pytest.raises(UsageError, match="no column can be called 'id'"):
        index.add(["b"], draw(1), {"id": [1]})
    index.add(["b"], draw(1), {"color": ["red"]})
    assert index.metadata(["b", "a"]) == {
        "price": [None, 3],
        "shop": [None, "north"],
        "color": ["red", None],
    }
    with pytest.raises(UsageError, match="did you mean price"):
        index.metadata(["a"], ["prise"])
    with pytest.raises(DataError, match="1 of 2 images are not there, such as 'z'"):
        index.metadata(["a", "z"])


def test_an_index_is_made_only_where_nothing_is(tmp_path):
    Index.create(tmp_path / "i")
    with pytest.raises(UsageError, match="is an index already"):
        Index.create(tmp_path / "i")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="is not empty"):
        Index.create(tmp_path / "full")
    with pytest.raises(DataError, match="is no index"):
        Index.open(tmp_path / "full")
    with pytest.raises(UsageError, match="did you mean hnsw"):
        Index.create(tmp_path / "other", engine="hsnw")
    assert not (tmp_path / "other").exists()


def test_a_second_writer_is_refused_and_readers_are_not(tmp_path):
    index = Index.create(tmp_path / "i")
    index.add(["a"], draw(1))
    with hold_folder(tmp_path / "i"):
        with pytest.raises(RunError, match="already writing"):
            index.add(["b"], draw(1))
        assert len(Index.open(tmp_path / "i")) == 1


def test_readers_see_one_state_each_while_a_writer_goes_on(tmp_path, small_steps, monkeypatch):
    """Old files are removed at once here; in use they are kept for a while."""
    monkeypatch.setattr(manifest, "GRACE", 0.0)
    index, twin = Index.create(tmp_path / "i"), Twin()
    history = {0: [], 1: ["p000"]}
    index.add(["p000"], draw(1))
    old = Index.open(tmp_path / "i")
    faults, seen, stop = [], set(), threading.Event()

    def read():
        while not stop.is_set():
            try:
                here = Index.open(tmp_path / "i")
                generation = here._view.manifest.generation
                listed = sorted(here.search(draw(1), 100).gallery_ids.tolist())
                if listed != history[generation] or here.ids.tolist() != listed:
                    faults.append((generation, listed))
                seen.add(generation)
            except Exception as error:
                faults.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    twin.put(["p000"], draw(1))
    for number in range(1, 25):
        name = f"p{number:03d}"
        # What will be there is written down before it is.
        generation = index._view.manifest.generation + 1
        if number % 4 == 0:
            twin.delete([f"p{number - 2:03d}"])
            history[generation] = sorted(twin.rows)
            index.delete([f"p{number - 2:03d}"])
        else:
            twin.put([name], draw(1, seed=number))
            history[generation] = sorted(twin.rows)
            index.add([name], draw(1, seed=number))
    stop.set()
    for reader in readers:
        reader.join()
    assert faults == [] and len(seen) > 1
    assert old.ids.tolist() == ["p000"] == old.search(draw(1), 9).gallery_ids.tolist()
    old.refresh()
    assert_holds(old, twin)


@pytest.mark.parametrize("name", ["ids", "vectors", "dead", "columns"])
@pytest.mark.parametrize("fault", ["flipped", "cut", "gone"])
def test_a_damaged_file_is_found_by_check_and_not_opened(tmp_path, name, fault):
    index = Index.create(tmp_path / "i")
    index.add(["a", "b", "c"], draw(3), {"price": [1, 2, 3]})
    index.delete(["b"])
    assert index.check() == []
    path = next((tmp_path / "i" / "1").glob(f"*.{name}.np*"))
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.unlink()
    if fault != "gone":
        path.write_bytes(content if fault == "flipped" else content[:-5])
    assert any(str(path) in line for line in index.check())
    with pytest.raises(ArtefactError, match=path.name):
        Index.open(tmp_path / "i")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 9}', b'{"format": 1}'])
@pytest.mark.parametrize("name", ["index.json", "1/manifest.json"])
def test_a_damaged_manifest_is_an_artefact_that_does_not_fit(tmp_path, name, content):
    Index.create(tmp_path / "i")
    (tmp_path / "i" / name).write_bytes(content)
    if (name, content) == ("index.json", b'{"format": 1}'):
        return  # that is one that says nothing unusual
    with pytest.raises(ArtefactError, match=name.rpartition("/")[2]):
        Index.open(tmp_path / "i")


def test_a_manifest_cannot_name_files_elsewhere(tmp_path):
    index = Index.create(tmp_path / "i")
    index.add(["a"], draw(1))
    path = tmp_path / "i" / "1" / "manifest.json"
    path.write_text(path.read_text().replace("00000000.ids.npy", "../../secret.npy"))
    with pytest.raises(ArtefactError, match="not a whole manifest"):
        Index.open(tmp_path / "i")


def test_a_closed_index_and_a_lone_id_are_refused(tmp_path):
    with Index.create(tmp_path / "i") as index:
        index.add(["a"], draw(1))
        with pytest.raises(UsageError, match="a list of ids"):
            index.delete("a")
        assert "a" in index and "b" not in index
    for call in (lambda: index.search(draw(1)), lambda: len(index), index.info):
        with pytest.raises(UsageError, match="was closed"):
            call()


def test_ids_with_zero_bytes_name_no_image(tmp_path):
    with Index.create(tmp_path / "i") as index:
        index.add(["a", "c"], np.eye(2, dtype=np.float32))
        for name in ("b\0", "b\0b"):
            with pytest.raises(DataError, match="zero byte"):
                index.add([name], np.eye(2, dtype=np.float32)[:1])
        for name in ("c\0", "c\0c"):
            with pytest.raises(DataError, match="zero byte"):
                index.delete([name])
        assert index.ids.tolist() == ["a", "c"]
