import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.data.images import decode
from fastseek.errors import ArtefactError, DataError, RunError, UsageError, exit_with
from fastseek.formats import restricted_pickle
from fastseek.io.csv_rows import read_header
from fastseek.io.digests import sha256
from fastseek.io.json_files import read_json, write_json
from fastseek.io.locks import hold_folder
from fastseek.io.yaml_lines import read_yaml
from fastseek.registry import SEARCHERS, build
from fastseek.structures import (
    Embeddings,
    GroundTruth,
    Shards,
    known_digests,
    shard_files,
)
from fastseek.structures import embeddings as module
from fastseek.structures.embeddings import slice_embeddings


def embeddings(count=10, dim=3, provenance=None, dtype=np.float32):
    vectors = np.random.default_rng(0).normal(size=(count, dim)).astype(dtype)
    return Embeddings([f"photo {n}.jpg" for n in range(count)], vectors, provenance or {})


@pytest.mark.parametrize("rows", [1, 3, 10, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_what_is_saved_in_any_number_of_shards_is_loaded(tmp_path, rows, dtype):
    made = embeddings(provenance={"model": "abc", "views": ["hflip()"]}, dtype=dtype)
    made.save(tmp_path, rows=rows)
    loaded = Embeddings.load(tmp_path)
    np.testing.assert_array_equal(loaded.ids, made.ids)
    np.testing.assert_array_equal(loaded.vectors[:], made.vectors)
    assert (
        loaded.provenance == made.provenance and loaded.vectors.dtype == dtype and loaded.dim == 3
    )
    loaded.verify(tmp_path)


def test_no_embeddings_at_all_can_be_saved_and_loaded(tmp_path):
    Embeddings([], np.empty((0, 4), np.float32)).save(tmp_path)
    assert (len(Embeddings.load(tmp_path)), Embeddings.load(tmp_path).dim) == (0, 4)


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(0, 7), min_size=1, max_size=5), data=st.data())
def test_shards_behave_as_the_array_they_are_cut_from(sizes, data):
    whole = np.arange(2 * sum(sizes), dtype=np.float32).reshape(-1, 2)
    shards = Shards(np.split(whole, np.cumsum(sizes)[:-1]))
    assert shards.shape == whole.shape and len(shards) == len(whole)
    bounds = st.one_of(st.none(), st.integers(-40, 40))
    part = slice(data.draw(bounds), data.draw(bounds), data.draw(st.sampled_from([None, 1, 2, -1])))
    np.testing.assert_array_equal(shards[part], whole[part])
    if len(whole):
        rows = np.array(
            data.draw(st.lists(st.integers(-len(whole), len(whole) - 1), max_size=9)), int
        )
        np.testing.assert_array_equal(shards[rows], whole[rows])
    np.testing.assert_array_equal(np.asarray(shards), whole)


def test_vectors_on_disk_are_not_read_before_they_are_asked_for(tmp_path):
    embeddings().save(tmp_path, rows=4)
    loaded = Embeddings.load(tmp_path)
    for number in (0, 2):
        (tmp_path / f"{number:05d}.vectors.npy").unlink()
    np.testing.assert_array_equal(loaded.vectors[4:8], embeddings().vectors[4:8])
    with pytest.raises(ArtefactError, match="00002.vectors.npy"):
        loaded.vectors[8:]


def test_blocks_are_float32_and_together_are_the_whole():
    made = embeddings(dtype=np.float16)
    starts, blocks = zip(*made.blocks(rows=4), strict=True)
    assert starts == (0, 4, 8) and blocks[0].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(blocks), made.vectors.astype(np.float32))


def test_a_block_with_a_vector_that_is_not_finite_names_its_image():
    made = embeddings()
    made.vectors[7, 1] = np.nan
    with pytest.raises(DataError, match="photo 7.jpg"):
        list(made.blocks(rows=5))


@pytest.mark.parametrize(
    ("ids", "vectors", "told"),
    [
        (["a", "b", "a"], np.ones((3, 2)), "'a' stands 2 times"),
        (["a"], np.ones((2, 2)), "1 ids for 2"),
        (["a"], np.ones(3), r"\[N, D\]"),
        (["a"], np.ones((1, 2), int), "floats"),
    ],
)
def test_what_is_no_embeddings_is_refused(ids, vectors, told):
    with pytest.raises(DataError, match=told):
        Embeddings(ids, vectors)


def test_embeddings_are_frozen():
    with pytest.raises(AttributeError):
        embeddings().ids = []


def test_a_bare_array_gets_row_numbers_as_ids(tmp_path):
    np.save(tmp_path / "x.npy", embeddings().vectors)
    loaded = Embeddings.load(tmp_path / "x.npy")
    assert loaded.ids.tolist() == [str(n) for n in range(10)] and loaded.provenance == {}


def test_safetensors_hold_one_array(tmp_path):
    from safetensors.numpy import save_file

    save_file({"any": embeddings().vectors}, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(
        Embeddings.load(tmp_path / "x.safetensors").vectors, embeddings().vectors
    )
    save_file({"one": np.ones(2), "two": np.ones(2)}, tmp_path / "y.safetensors")
    with pytest.raises(DataError, match="one tensor"):
        Embeddings.load(tmp_path / "y.safetensors")
    (tmp_path / "z.safetensors").write_bytes((tmp_path / "x.safetensors").read_bytes()[:50])
    with pytest.raises(ArtefactError, match="z.safetensors"):
        Embeddings.load(tmp_path / "z.safetensors")


def damage(folder, how):
    vectors, manifest = folder / "00001.vectors.npy", folder / "manifest.json"
    if how == "cut":
        vectors.write_bytes(vectors.read_bytes()[:-4])
    elif how == "empty":
        vectors.write_bytes(b"")
    elif how == "missing":
        vectors.unlink()
    elif how == "rows":
        np.save(vectors, np.ones((1, 3), np.float32))
    elif how == "dimension":
        np.save(vectors, np.ones((4, 5), np.float32))
    elif how == "archive":
        np.savez(folder / "x.npz", np.ones(1))
        (folder / "x.npz").replace(vectors)
    else:
        content = json.loads(manifest.read_text())
        content |= {"future": {"format": 99}, "list": {}}.get(how, {})
        if how == "keys":
            del content["shards"][0]["rows"]
        manifest.write_text(json.dumps([content] if how == "list" else content))


@pytest.mark.parametrize(
    "how", ["cut", "empty", "missing", "rows", "dimension", "archive", "future", "keys", "list"]
)
def test_a_damaged_folder_is_an_artefact_error_never_another(tmp_path, how):
    embeddings().save(tmp_path, rows=4)
    damage(tmp_path, how)
    with pytest.raises(ArtefactError, match="00001.vectors.npy|manifest|format|shards"):
        Embeddings.load(tmp_path)


def shard_of(**change):
    return [
        {
            "rows": 10,
            "ids": "00000.ids.npy",
            "vectors": "00000.vectors.npy",
            "ids_sha256": "",
            "vectors_sha256": "",
            **change,
        }
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"shards": None},
        {"shards": [5]},
        {"shards": shard_of(ids=5)},
        {"passport": [1]},
        {"shards": []},
        {"shards": shard_of(ids="00000.vectors.npy", vectors="00000.ids.npy")},
    ],
)
def test_a_manifest_of_another_kind_is_an_artefact_error(tmp_path, change):
    embeddings().save(tmp_path)
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ArtefactError, match=str(tmp_path)):
        Embeddings.load(tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999, 8)}",
        "{[1]: 2}",
        "{'descr': '<f4', 'shape': ((2, 8), \1",
    ],
)
def test_an_array_with_a_damaged_header_is_an_artefact_error(tmp_path, header):
    start = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little")
    (tmp_path / "x.npy").write_bytes(start + header.encode() + bytes(64))
    with pytest.raises(ArtefactError, match="x.npy: not a whole"):
        Embeddings.load(tmp_path / "x.npy")


def test_a_cut_archive_under_the_name_of_an_array_is_an_artefact_error(tmp_path):
    np.savez(tmp_path / "x.npz", np.ones(3))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npz").read_bytes()[:-30])
    with pytest.raises(ArtefactError, match="x.npy: not a whole"):
        Embeddings.load(tmp_path / "x.npy")


@pytest.mark.parametrize(
    "vectors", [np.float32(3), np.ones(4, np.float32), np.ones((4, 8), np.int8)]
)
def test_a_file_that_holds_no_vectors_is_named(tmp_path, vectors):
    from safetensors.numpy import save_file

    np.save(tmp_path / "x.npy", vectors)
    save_file({"x": np.asarray(vectors)}, tmp_path / "x.safetensors")
    for name in ("x.npy", "x.safetensors"):
        with pytest.raises(DataError, match=rf"{name}: vectors must be \[N, D\] floats"):
            Embeddings.load(tmp_path / name)


@pytest.mark.parametrize("name", ["x.npz", "nowhere", "x.npy", "x.safetensors", ""])
def test_what_cannot_be_opened_is_a_data_error_that_says_what_is_expected(
    tmp_path, name, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    bare = name.endswith((".npy", ".safetensors"))
    (tmp_path / "x.npz").write_bytes(b"")
    (tmp_path / "x.npy").mkdir()
    with pytest.raises(
        DataError,
        match="cannot be read|no such file" if bare else "expected a folder of embeddings",
    ):
        Embeddings.load(name)


@pytest.mark.filterwarnings("error")
def test_a_number_beyond_float32_is_told_in_one_line():
    made = Embeddings(["a", "b"], np.array([[1.0], [1e300]]))
    with pytest.raises(DataError, match="not finite in float32, the first is of 'b'"):
        list(made.blocks())


def test_a_flipped_byte_is_found_by_its_hash(tmp_path):
    made = embeddings()
    made.save(tmp_path, rows=4)
    file = tmp_path / "00002.vectors.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtefactError, match="00002.vectors.npy"):
        Embeddings.load(tmp_path).verify(tmp_path)


@pytest.mark.parametrize("read", ["slice", "rows", "blocks", "whole"])
def test_F49_a_flipped_byte_is_refused_however_the_vectors_are_read(tmp_path, read):
    embeddings().save(tmp_path, rows=4)
    flip(tmp_path / "00002.vectors.npy")
    loaded = Embeddings.load(tmp_path)
    ways = {
        "slice": lambda: loaded.vectors[6:9],
        "rows": lambda: loaded.vectors[np.array([9, 0])],
        "blocks": lambda: list(loaded.blocks(rows=3)),
        "whole": lambda: np.asarray(loaded.vectors),
    }
    np.testing.assert_array_equal(loaded.vectors[:8], embeddings().vectors[:8])
    with pytest.raises(ArtefactError, match="00002.vectors.npy: the bytes are not those"):
        ways[read]()


def test_F49_a_byte_that_flips_after_a_first_reading_is_refused_when_opened_again(tmp_path):
    embeddings().save(tmp_path)
    assert Embeddings.load(tmp_path).vectors[:].shape == (10, 3)
    flip(tmp_path / "00000.vectors.npy")
    with pytest.raises(ArtefactError, match="00000.vectors.npy: the bytes are not those"):
        Embeddings.load(tmp_path).vectors[:]


def test_F49_a_flipped_byte_among_the_ids_is_refused_when_they_are_read(tmp_path):
    embeddings().save(tmp_path, rows=4)
    flip(tmp_path / "ids.safetensors")
    for read in (lambda made: made.ids, lambda made: made.id_column):
        with pytest.raises(ArtefactError, match="ids.safetensors: the bytes are not those"):
            read(Embeddings.load(tmp_path))
    with pytest.raises(ArtefactError, match="ids.safetensors: the bytes are not those"):
        Embeddings.load(tmp_path, verify=True)


def test_F49_a_file_is_hashed_once_and_anew_when_it_has_changed(tmp_path, monkeypatch):
    embeddings().save(tmp_path, rows=4)
    monkeypatch.setattr(known_digests, "SETTLED", -1e9)
    hashed = []
    real = known_digests.sha256
    monkeypatch.setattr(known_digests, "sha256", lambda path: hashed.append(path) or real(path))
    for verify in (True, False, True):
        list(Embeddings.load(tmp_path, verify=verify).blocks())
    assert len(hashed) == 4
    flip(tmp_path / "00000.vectors.npy")
    with pytest.raises(ArtefactError, match="00000.vectors.npy"):
        Embeddings.load(tmp_path, verify=True)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_F66_a_manifest_names_no_file_of_another_folder(tmp_path):
    embeddings().save(tmp_path / "mine")
    embeddings().save(tmp_path / "secret")
    file = tmp_path / "mine" / "manifest.json"
    file.write_text(file.read_text().replace("00000.vectors.npy", "../secret/00000.vectors.npy"))
    with pytest.raises(ArtefactError, match="not a whole manifest"):
        Embeddings.load(tmp_path / "mine")


def hold(folder, _):
    with hold_folder(folder):
        pass


FEW_FILES = """
import resource, sys
import numpy as np
from fastseek.errors import FastSeekError, exit_with
from fastseek.structures import Embeddings
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), int(sys.argv[2])))
held = []
def work():
    sides = [Embeddings.load(sys.argv[1]) for _ in range(3)]
    for side in sides:
        assert side.vectors[:].sum() == len(side), side.vectors[:].sum()
        rows = np.random.default_rng(0).permutation(len(side))
        assert side.vectors[rows].shape == (len(side), 1)
    print(len(sides[0]))
def starve():
    try:
        while True:
            held.append(open("/dev/null"))
    except OSError:
        Embeddings.load(sys.argv[1])
exit_with(starve if "starve" in sys.argv else work)
"""


def few_files(folder, limit, *more):
    command = [sys.executable, "-c", FEW_FILES, str(folder), str(limit), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=1800)


def test_F20_a_folder_of_more_shards_than_open_files_is_read(tmp_path):
    made = Embeddings([str(n) for n in range(300)], np.ones((300, 1), np.float32))
    made.save(tmp_path, rows=1)
    done = few_files(tmp_path, 48)
    assert (done.returncode, done.stdout, done.stderr) == (0, "300\n", "")


def test_F20_too_many_open_files_are_no_damage(tmp_path):
    embeddings().save(tmp_path)
    done = few_files(tmp_path, 48, "starve")
    assert done.returncode == 4 and "ulimit -n" in done.stderr and "whole" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.EMFILE, "ulimit -n"), (errno.ENOMEM, "max_map_count")]
)
@pytest.mark.parametrize(
    "name",
    ["x.npy", "x.safetensors", "x.npz", "x.json", "x.csv", "x.jpg", "x.pkl", "x.yml"],
)
def test_F20_no_reader_calls_a_file_damaged_that_could_not_be_opened(
    tmp_path, monkeypatch, name, number, advice
):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    (tmp_path / name).write_bytes(b"x")
    for target in ("builtins.open", "io.open", "safetensors.numpy.load_file"):
        monkeypatch.setattr(target, fail)
    readers = {
        ".npz": GroundTruth.load,
        ".json": read_json,
        ".csv": read_header,
        ".jpg": decode,
        ".pkl": restricted_pickle.load,
        ".yml": read_yaml,
    }
    with pytest.raises(RunError, match=f"{name}: .*{advice}"):
        readers.get((tmp_path / name).suffix, Embeddings.load)(tmp_path / name)


@pytest.mark.parametrize("write", [hold, write_json])
def test_F20_no_writer_blames_a_name_for_too_many_open_files(tmp_path, monkeypatch, write):
    def fail(*args, **kwargs):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(args[0]))

    with monkeypatch.context() as patched:
        patched.setattr("builtins.open", fail)
        with pytest.raises(OSError, match="Too many open files") as failed:
            write(tmp_path / "x", 1)
    with pytest.raises(SystemExit) as ended:
        exit_with(lambda: (_ for _ in ()).throw(failed.value))
    assert ended.value.code == 4


def test_a_folder_without_manifest_is_no_embeddings(tmp_path):
    embeddings().save(tmp_path)
    (tmp_path / "manifest.json").unlink()
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "x.npy", tmp_path / "x.safetensors"):
        with pytest.raises((DataError, ArtefactError)):
            Embeddings.load(path)


def test_saving_over_older_embeddings_leaves_no_moment_of_mixture(tmp_path, monkeypatch):
    embeddings().save(tmp_path, rows=4)

    def dies(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "save_manifest", dies)
    with pytest.raises(KeyboardInterrupt):
        embeddings(count=5).save(tmp_path, rows=4)
    with pytest.raises(DataError):
        Embeddings.load(tmp_path)


def test_empty_ids_zero_bytes_and_vectors_of_no_numbers_are_refused():
    for ids, dim, told in (
        (["a", ""], 2, "an id is empty"),
        (["a", "b\0"], 2, "zero byte"),
        (["a", "b"], 0, "vectors of no numbers"),
    ):
        with pytest.raises(DataError, match=told):
            Embeddings(ids, np.zeros((2, dim), np.float32))


def test_a_folder_is_opened_without_reading_ids_or_vectors(tmp_path, monkeypatch):
    made = embeddings(count=40)
    made.save(tmp_path, rows=4)
    for name in ("read_header", "check_digest"):
        monkeypatch.setattr(shard_files, name, None)
    monkeypatch.setattr(module, "check_digest", None)
    loaded = Embeddings.load(tmp_path)
    part = slice_embeddings(slice_embeddings(loaded, 3, 30), 5, 99)
    assert (len(loaded), loaded.dim, len(part)) == (40, 3, 22)
    monkeypatch.undo()
    assert part.ids.tolist() == made.ids[8:30].tolist() and part.id_column[-1] == made.ids[29]
    np.testing.assert_array_equal(np.asarray(loaded.ids), made.ids)
    np.testing.assert_array_equal(part.vectors[2:4], made.vectors[10:12])
    assert loaded.ids is loaded.ids and isinstance(loaded.ids, np.ndarray)
    with pytest.raises(AttributeError, match="nothing"):
        loaded.nothing  # noqa: B018


def test_a_large_folder_is_searched_without_its_ids_as_strings(tmp_path, monkeypatch):
    made = embeddings(count=40)
    made.save(tmp_path, rows=4)
    queries = Embeddings(["a", "b"], made.vectors[7:9])
    whole = search(queries, made)
    monkeypatch.setattr(module, "FEW", 10)
    loaded = Embeddings.load(tmp_path)
    found = search(queries, loaded)
    assert "ids" not in loaded.__dict__ and loaded.known_ids is loaded.id_column
    assert np.array_equal(found.indices, whole.indices)
    assert np.array_equal(found.gallery_ids[found.indices], whole.gallery_ids[whole.indices])
    assert isinstance(loaded.ids, np.ndarray) and loaded.known_ids is loaded.ids


def search(queries, gallery):
    return build("exact(k=5)", SEARCHERS)(queries, gallery)


def write_as_before(folder, made, rows):
    """A folder of format 1, as versions before this one wrote it."""
    folder.mkdir(exist_ok=True)
    entries = []
    for number, start in enumerate(range(0, len(made), rows)):
        entry = {"rows": len(made.ids[start : start + rows])}
        for name, array in (("ids", made.ids), ("vectors", made.vectors)):
            file = folder / f"{number:05d}.{name}.npy"
            np.save(file, array[start : start + rows])
            entry |= {name: file.name, f"{name}_sha256": sha256(file)}
        entries.append(entry)
    page = {"format": 1, "shards": entries, "passport": dict(made.provenance)}
    write_json(folder / "manifest.json", page)
    return entries


def test_a_folder_of_an_older_version_is_read_and_compared_with_its_hashes(tmp_path):
    made = embeddings(provenance={"model": "abc"})
    write_as_before(tmp_path, made, 4)
    loaded = Embeddings.load(tmp_path, verify=True)
    assert loaded.ids.tolist() == made.ids.tolist() and loaded.provenance == made.provenance
    np.testing.assert_array_equal(loaded.vectors[:], made.vectors)
    assert loaded.id_column.digest == made.id_column.digest
    flip(tmp_path / "00001.ids.npy")
    with pytest.raises(ArtefactError, match="00001.ids.npy: the bytes are not those"):
        Embeddings.load(tmp_path)


def test_shards_are_cut_by_their_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_BYTES", 64)
    for dim, rows in ((1, 16), (4, 4), (15, 1), (99, 1)):
        made = embeddings(count=18, dim=dim)
        made.save(tmp_path / f"{dim}")
        assert len(list((tmp_path / f"{dim}").glob("*.vectors.npy"))) == -(-18 // rows)
        np.testing.assert_array_equal(Embeddings.load(tmp_path / f"{dim}").vectors[:], made.vectors)


def test_rows_of_many_shards_cost_no_more_than_the_rows(tmp_path):
    parts = [Counted(np.full((1, 2), n, np.float32)) for n in range(5000)]
    shards = Shards(parts)
    assert shards[2000:2003][:, 0].tolist() == [2000, 2001, 2002]
    rows = np.array([[7, 4999, 7], [-1, 0, 3]])
    assert shards[rows][..., 0].tolist() == [[7, 4999, 7], [4999, 0, 3]]
    assert sum(part.reads for part in parts) == 7  # a part once, however often its rows are asked


class Counted:
    def __init__(self, array):
        self.array, self.reads, self.shape, self.dtype = array, 0, array.shape, array.dtype

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        self.reads += 1
        return self.array[rows]


def test_embeddings_are_not_saved_over_the_shards_they_are_read_from(tmp_path):
    embeddings().save(tmp_path / "e", rows=3)
    os.symlink(tmp_path / "e", tmp_path / "link")
    loaded = Embeddings.load(tmp_path / "e")
    for some in (loaded, slice_embeddings(loaded, 2, 9)):
        for name in ("e", "link"):
            with pytest.raises(UsageError, match="are read from there and would be lost"):
                some.save(tmp_path / name, rows=2)
    np.testing.assert_array_equal(Embeddings.load(tmp_path / "e").vectors[:], embeddings().vectors)
    held = Embeddings(loaded.ids, np.asarray(loaded.vectors))
    held.save(tmp_path / "e", rows=2)  # in memory: nothing is lost
    np.testing.assert_array_equal(Embeddings.load(tmp_path / "e").vectors[:], held.vectors)
