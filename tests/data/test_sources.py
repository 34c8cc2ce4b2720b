"""The same images in a folder, a table, a Parquet file, a tar file and at an address are the same."""

import csv
import io
import os
import pathlib
import pickle
import tarfile

import fsspec
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

import toy
from fastseek.cli import call_verb
from fastseek.data.datasets import extended
from fastseek.data.datasets.manifest import Manifest
from fastseek.data.datasets.webdataset import Webdataset
from fastseek.data.images import BadImage, decode
from fastseek.data.own_images import images_of, source_of, spell_data_set
from fastseek.data.torch_datasets import ImageFiles
from fastseek.errors import DataError, FastSeekError, RunError, UsageError
from fastseek.io import location_states, locations
from fastseek.io.braces import expand_braces
from fastseek.registry import DATASETS, build
from fastseek.structures import Embeddings, ItemTable, paths_of, with_split


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    fsspec.filesystem("memory").store.clear()


def write_all(folder, classes=2, images=3):
    """A folder of class folders, and the same images as every other source: name -> where."""
    root = folder / "images"
    names = [f"c{label}/{number}.png" for label in range(classes) for number in range(images)]
    held = {}
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        toy.photo(number, number).resize((40, 48)).save(root / name)
        held[name] = (root / name).read_bytes()
    labels = [os.path.dirname(name) for name in names]
    with open(root / "list.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *zip(names, labels, strict=True)])
    table = {"path": names, "label": labels, "image": list(held.values())}
    parquet.write_table(pyarrow.table(table), folder / "held.parquet", row_group_size=2)
    write_tar(folder / "held.tar", held)
    for name, content in held.items():
        fsspec.filesystem("memory").pipe(f"/bucket/images/{name}", content)
    return {
        "folder": str(root),
        "csv": str(root / "list.csv"),
        "parquet": str(folder / "held.parquet"),
        "tar": str(folder / "held.tar"),
        "address": "memory://bucket/images",
    }


def write_tar(path, held):
    with tarfile.open(path, "w") as archive:
        for name, content in held.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


SOURCES = ["folder", "csv", "parquet", "tar", "address"]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """The embeddings of every source, as the command writes them."""
    home = tmp_path_factory.mktemp("five")
    places = write_all(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for name, place in places.items():
            command = ["--model", "default", "--images", place, "--out", str(home / "out" / name)]
            call_verb("embed", command)
    return home / "out"


@pytest.mark.parametrize("source", SOURCES[1:])
def test_embeddings_of_every_source_are_those_of_the_folder_to_the_last_bit(embedded, source):
    folder, other = (Embeddings.load(embedded / name) for name in ("folder", source))
    assert list(other.ids) == list(folder.ids) and len(folder) == 6
    assert np.asarray(other.vectors).tobytes() == np.asarray(folder.vectors).tobytes()
    assert other.provenance["root"] != folder.provenance["root"] or source == "csv"


@pytest.mark.parametrize("source", SOURCES[1:])
def test_every_source_gives_labels_pixels_and_data_sets_as_the_folder(tmp_path, source):
    places = write_all(tmp_path)
    folder, _ = images_of(places["folder"])
    items, _ = images_of(places[source])
    assert isinstance(items, ItemTable)
    assert [(item.id, item.label) for item in items] == [(item.id, item.label) for item in folder]
    for mine, theirs in zip(items, folder, strict=True):
        assert decode(mine.path).tobytes() == decode(theirs.path).tobytes()
    sides = [build(spell_data_set(places[name]), DATASETS).items for name in ("folder", source)]
    for split in ("train", "query", "gallery"):
        assert [item.id for item in with_split(sides[0], split)] == [
            item.id for item in with_split(sides[1], split)
        ]
    assert source_of(items) == source_of(images_of(places[source])[0]) == source_of(list(items))
    sent = pickle.loads(pickle.dumps(ImageFiles(paths_of(items))))
    sent.expect(np.arange(3))
    assert [sent.read(row).size for row in (0, 1, 2, 5)] == [(40, 48)] * 4


def test_tar_files_are_named_by_a_pattern_and_tell_labels_beside_their_images(tmp_path):
    photo = io.BytesIO()
    toy.photo(1, 1).save(photo, "png")
    held = {"a.png": photo.getvalue(), "a.cls": b"cat\n", "b.json": b'{"label": 3}'}
    write_tar(tmp_path / "00.tar", {**held, "b.png": photo.getvalue()})
    write_tar(tmp_path / "01.tar", {"c/a.png": photo.getvalue(), "c/a.txt": b"a cat"})
    for pattern in ("{00..01}.tar", "*.tar", "{00,01}.tar"):
        items, root = images_of(tmp_path / pattern)
        assert [(item.id, item.label) for item in items] == [
            ("00/a.png", "cat"),
            ("00/b.png", "3"),
            ("01/c/a.png", "c"),
        ]
        assert root == str(tmp_path)
    one = images_of(tmp_path / "00.tar")
    assert [item.id for item in one[0]] == ["a.png", "b.png"] and one[1].endswith("00.tar")
    assert one[0].nbytes / len(one[0]) < 40 + len("a.png")


def test_a_kept_index_is_that_of_the_tar_as_it_is_now(tmp_path, monkeypatch):
    photo = io.BytesIO()
    toy.photo(1, 1).save(photo, "png")
    write_tar(tmp_path / "x.tar", {"a.png": photo.getvalue()})
    first = list(images_of(tmp_path / "x.tar")[0])
    monkeypatch.setattr(tarfile, "open", None)
    assert list(images_of(tmp_path / "x.tar")[0]) == first
    monkeypatch.undo()
    write_tar(tmp_path / "x.tar", {"a.png": photo.getvalue(), "b.png": photo.getvalue()})
    assert [item.id for item in images_of(tmp_path / "x.tar")[0]] == ["a.png", "b.png"]


def test_members_that_lead_out_are_links_or_come_twice_do_no_harm(tmp_path, caplog):
    photo = io.BytesIO()
    toy.photo(1, 1).save(photo, "png")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in ("../out.png", "/etc/out.png", "a/../../out.png", "in.png", "in.png", ".h.png"):
            entry = tarfile.TarInfo(name)
            entry.size = len(photo.getvalue())
            archive.addfile(entry, io.BytesIO(photo.getvalue()))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with caplog.at_level("INFO"):
        items, _ = images_of(tmp_path / "x.tar")
    assert [item.id for item in items] == ["in.png"]
    assert "3 names that lead out" in caplog.text and "1 links" in caplog.text
    assert "1 members are replaced" in caplog.text
    assert sorted(os.listdir(tmp_path)) == ["x.tar"]


@pytest.mark.parametrize("kept", [1024, 1024 + 400], ids=["behind a member", "inside a header"])
def test_a_tar_that_was_cut_between_its_members_is_refused(kept, tmp_path):
    write_tar(tmp_path / "x.tar", {"a.png": b"1" * 512, "b.png": b"2" * 512})
    whole = (tmp_path / "x.tar").read_bytes()
    assert len(images_of(tmp_path / "x.tar")[0]) == 2
    (tmp_path / "x.tar").write_bytes(whole[:kept])
    with pytest.raises(DataError, match="no end mark: it was not copied"):
        images_of(tmp_path / "x.tar")


def test_what_is_no_whole_tar_is_refused_and_a_cut_image_is_named(tmp_path):
    photo = io.BytesIO()
    toy.photo(1, 1).save(photo, "png")
    (tmp_path / "x.tar").write_bytes(b"no tar" * 400)
    with pytest.raises(DataError, match="not a whole tar file"):
        images_of(tmp_path / "x.tar")
    write_tar(tmp_path / "y.tar", {"a.png": photo.getvalue()})
    whole = (tmp_path / "y.tar").read_bytes()
    items, _ = images_of(tmp_path / "y.tar")
    (tmp_path / "y.tar").write_bytes(whole[:900])
    with pytest.raises(BadImage, match="TRUNCATED"):
        decode(items[0].path)
    os.unlink(tmp_path / "y.tar")
    with pytest.raises(BadImage, match="MISSING"):
        decode(items[0].path)
    with pytest.raises(DataError, match="not found"):
        images_of(tmp_path / "y.tar")


def test_a_parquet_file_of_hugging_face_and_cells_that_are_empty_or_too_large(tmp_path):
    photo = io.BytesIO()
    toy.photo(1, 1).save(photo, "png")
    cells = [
        {"bytes": photo.getvalue(), "path": "x/a.png"},
        {"bytes": None, "path": "x/b.png"},
        {"bytes": b"\0" * 5000, "path": None},
    ]
    table = pyarrow.table({"image": cells, "label": [4, 5, 6]})
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=1)
    items, root = images_of(tmp_path / "t.parquet")
    assert [(item.id, item.label) for item in items] == [
        ("x/a.png", "4"),
        ("x/b.png", "5"),
        ("2", "6"),
    ]
    assert root == str(tmp_path / "t.parquet")
    assert decode(items[0].path).size == toy.photo(1, 1).size
    with pytest.raises(BadImage, match="EMPTY"):
        decode(items[1].path)
    with pytest.raises(BadImage, match="UNKNOWN_FORMAT"):
        decode(items[2].path)
    with pytest.raises(BadImage, match="TOO_LARGE"):
        decode(items[0].path, max_pixels=64)
    named = Manifest(str(tmp_path / "t.parquet"), columns={"image": "image", "label": "label"})
    assert list(named.items) == list(items)
    with pytest.raises(ValueError, match="no meaning"):
        Manifest(str(tmp_path / "t.parquet"), root=str(tmp_path))
    with pytest.raises(DataError, match="'label' holds no images"):
        Manifest(str(tmp_path / "t.parquet"), columns={"image": "label"})


def test_several_parquet_files_and_tables_are_named_by_a_pattern(tmp_path):
    for number in range(2):
        photo = io.BytesIO()
        toy.photo(number, 1).save(photo, "png")
        table = pyarrow.table({"image": [photo.getvalue()], "label": [number]})
        parquet.write_table(table, tmp_path / f"train-{number}-of-2.parquet")
        (tmp_path / f"{number}.csv").write_text(f"path,label\n{number}.png,{number}\n")
    items, root = images_of(tmp_path / "train-*.parquet")
    assert [(item.id, item.label) for item in items] == [
        ("train-0-of-2/0", "0"),
        ("train-1-of-2/0", "1"),
    ]
    assert root == str(tmp_path) and decode(items[1].path).tobytes() == toy.photo(1, 1).tobytes()
    tables, root = images_of(tmp_path / "{0..1}.csv")
    assert [item.path for item in tables] == [f"{tmp_path}/{number}.png" for number in range(2)]
    (tmp_path / "1.csv").write_text("path,label\n0.png,1\n")
    with pytest.raises(DataError, match="'0.png' stands in two of the tables"):
        images_of(tmp_path / "{0..1}.csv")
    with pytest.raises(DataError, match="no file is called so"):
        images_of(tmp_path / "test-*.parquet")


def test_rows_name_no_address_but_one_below_the_root(tmp_path):
    photo = io.BytesIO()
    toy.photo(1, 1).save(photo, "png")
    memory = fsspec.filesystem("memory")
    memory.pipe("/b/x/a.png", photo.getvalue())
    memory.pipe("/b/list.csv", b"path\nx/a.png\n")
    (item,) = images_of("memory://b/list.csv")[0]
    assert (item.id, item.path) == ("x/a.png", "memory://b/x/a.png")
    table = tmp_path / "list.csv"
    table.write_text("path\nmemory://b/x/a.png\n")
    (item,) = Manifest(str(table), root="memory://b").items
    assert (item.id, item.path) == ("x/a.png", "memory://b/x/a.png") and decode(item.path)
    call = f"manifest({str(table)!r}, root='memory://b/x')"
    assert [item.id for item in images_of(call)[0]] == ["a.png"]
    for rows in (
        "http://10.0.0.1/secret.png",
        "memory://other/a.png",
        "/etc/a.png",
        "x/../../a.png",
    ):
        table.write_text(f"path\n{rows}\n")
        with pytest.raises(DataError, match="list.csv:2: .* is not below memory://b"):
            Manifest(str(table), root="memory://b")
    table.write_text("path\nfile:///etc/a.png\n")
    with pytest.raises(DataError, match=r"list.csv:2: .* is not below"):
        images_of(table)


def test_addresses_that_cannot_be_read_are_told_without_their_password(monkeypatch):
    for url, told in {
        "s3://bucket/images": "s3fs",
        "nosuch://bucket/x": "nosuch",
        "https://user:secret@host/list.csv": "password",
        "https://secret@host/list.csv": "password",
        "memory://x::file:///etc": "one address",
        "memory://empty/images": "nothing is there",
    }.items():
        with pytest.raises(FastSeekError, match=told) as caught:
            images_of(url)
        assert "secret" not in str(caught.value) and isinstance(
            caught.value, (UsageError, DataError)
        )
    with pytest.raises(DataError, match=r"images\?…: a web server lists no folder"):
        locations.list_below("https://host/images?signature=secret")
    with pytest.raises(BadImage, match="MISSING"):
        decode("memory://empty/images/a.png")


def test_a_request_that_fails_is_asked_again_and_then_ends_the_run(monkeypatch):
    memory = fsspec.filesystem("memory")
    photo = io.BytesIO()
    toy.photo(1, 1).save(photo, "png")
    memory.pipe("/b/a.png", photo.getvalue())
    monkeypatch.setattr(locations, "PAUSE", 0)
    asked, read = [], type(memory).cat_file

    def fail(self, path, **more):
        asked.append(path)
        if len(asked) in failing:
            raise ConnectionResetError("reset")
        return read(self, path, **more)

    monkeypatch.setattr(type(memory), "cat_file", fail)
    failing = {1, 2}
    assert decode("memory://b/a.png") and len(asked) == 3
    asked.clear()
    failing = range(99)
    with pytest.raises(RunError, match="tried 4 times"):
        decode("memory://b/a.png")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("x", ["x"]),
        ("{a,b}{1..2}", ["a1", "a2", "b1", "b2"]),
        ("{008..011}", ["008", "009", "010", "011"]),
        ("{2..0}", ["2", "1", "0"]),
    ],
)
def test_braces_are_those_of_a_shell(pattern, names):
    assert list(expand_braces(pattern)) == names
    with pytest.raises(UsageError, match="more than"):
        list(expand_braces("{0..9999999}"))


@pytest.mark.parametrize("path", ["/a/b.jpg", "a/s3://b.jpg", "a:b", "://x", "1://x"])
def test_paths_are_files_whatever_they_hold(path):
    assert locations.is_file(path) and locations.absolute(path) == os.path.abspath(path)


def test_a_webdataset_is_trained_on_and_searched_in(tmp_path):
    places = write_all(tmp_path, classes=2, images=5)
    found = Webdataset(places["tar"], query=0.2)
    sizes = [len(with_split(found.items, split)) for split in ("train", "query", "gallery")]
    assert sizes == [8, 2, 8]
    whole = Webdataset(places["tar"]).items
    assert len(with_split(whole, "train")) == len(with_split(whole, "gallery")) == 10


def test_ids_of_tars_in_several_folders_at_an_address_differ(tmp_path):
    held = {"c/1.png": b"x"}
    write_tar(tmp_path / "t.tar", held)
    content = (tmp_path / "t.tar").read_bytes()
    for folder in ("a", "b"):
        fsspec.filesystem("memory").pipe(f"/bucket/{folder}/0.tar", content)
        (tmp_path / folder).mkdir()
        write_tar(tmp_path / folder / "0.tar", held)
    items, root = images_of("memory://bucket/{a,b}/0.tar")
    assert root == "memory://bucket"
    assert [item.id for item in items] == ["a/0/c/1.png", "b/0/c/1.png"]
    here, _ = images_of(str(tmp_path / "{a,b}" / "0.tar"))
    assert [item.id for item in here] == [item.id for item in items]


def test_two_tars_that_make_one_id_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    write_tar(tmp_path / "a.tar", {"b/1.png": b"x"})
    write_tar(tmp_path / "a" / "b.tar", {"1.png": b"x"})
    with pytest.raises(DataError, match="id 'a/b/1.png' stands in two of the files"):
        images_of(str(tmp_path / "{a,a/b}.tar"))


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04 and no more"])
def test_an_index_of_a_tar_that_is_damaged_is_made_anew(content, tmp_path, monkeypatch):
    places = write_all(tmp_path)
    before = [item.id for item in images_of(places["tar"])[0]]
    (kept,) = (pathlib.Path(os.environ["HOME"]) / ".cache").rglob("*.npz")
    kept.write_bytes(content)
    assert [item.id for item in images_of(places["tar"])[0]] == before


def test_a_folder_called_tar_is_a_folder_and_no_tar_file(tmp_path):
    folder = tmp_path / "x.tar"
    (folder / "c").mkdir(parents=True)
    toy.photo(1, 1).save(folder / "c" / "1.png")
    assert [item.id for item in images_of(folder)[0]] == ["c/1.png"]
    assert spell_data_set(folder).startswith("folder(")
    with pytest.raises(DataError, match=r"x\.tar: cannot be read \(Is a directory\)"):
        Webdataset(str(folder))


@pytest.mark.parametrize("folder", ["a!/7", "a!/1+2", "!", "b!"])
def test_folders_and_names_with_exclamation_marks_lead_to_the_same_bytes(folder, tmp_path):
    (tmp_path / folder).mkdir(parents=True)
    held = {"wow!/1+2/1.png": b"one", "wow!x/3/1.png": b"two"}
    write_tar(tmp_path / folder / "t.tar", held)
    table = {"path": list(held), "label": ["x", "y"], "image": list(held.values())}
    parquet.write_table(pyarrow.table(table), tmp_path / folder / "t.parquet")
    for name in ("t.tar", "t.parquet"):
        items = images_of(tmp_path / folder / name)[0]
        assert [locations.read_bytes(item.path, 99) for item in items] == [b"one", b"two"]


def test_braces_are_counted_together_and_those_of_one_word_stand_for_themselves():
    assert list(expand_braces("{a}/{b,c}")) == ["{a}/b", "{a}/c"]
    assert len(list(expand_braces("{0..9}{0..9}", most=100))) == 100
    with pytest.raises(UsageError, match="more than 99 names"):
        list(expand_braces("{0..9}{0..9}", most=99))


def test_a_changed_image_at_an_address_is_another_source(tmp_path):
    place = write_all(tmp_path)["address"]
    system = fsspec.filesystem("memory")
    before = source_of(images_of(place)[0])
    assert source_of(images_of(place)[0]) == before
    content = system.cat_file("/bucket/images/c0/1.png")
    system.pipe_file("/bucket/images/c0/1.png", content + b"x")
    assert source_of(images_of(place)[0]) != before
    # One that is gone is another source, too, for who has a list of them.
    items = list(images_of(place)[0])
    system.rm_file("/bucket/images/c0/1.png")
    assert "missing" in location_states.States().of_all(item.path for item in items)
    assert location_states.States().of("memory://nowhere/a.png") == "missing"


def test_web_servers_are_asked_for_every_file_and_lists_for_every_folder(monkeypatch):
    asked = []
    monkeypatch.setattr(location_states, "state_of", lambda url: asked.append(url) or url[-1])
    system = fsspec.filesystem("memory")
    system.pipe_file("/box/c", b"1")
    places = ["https://h/a", "memory://box/c", "https://h/b", "/nowhere"]
    found = list(location_states.States().of_all(places))
    assert found[0] == "a" and found[1].startswith("1 ") and found[2:] == ["b", "missing"]
    assert sorted(asked) == ["https://h/a", "https://h/b"]


def test_row_groups_are_kept_up_to_their_bytes_so_that_shuffled_reads_find_them(
    tmp_path, monkeypatch
):
    items, _ = images_of(write_all(tmp_path)["parquet"])
    cells = locations._Cells()
    monkeypatch.setattr(locations, "_CELLS", cells)
    read = []
    real = cells._open
    monkeypatch.setattr(cells, "_open", lambda file: (Counted(real(file)[0], read), real(file)[1]))
    order = [0, 2, 4, 1, 3, 5]  # two images a group
    wanted = [decode(items[row].path).tobytes() for row in order]
    assert read == [0, 1, 2]
    monkeypatch.setattr(locations, "GROUP_BYTES", 0)
    cells._groups.clear()
    read.clear()
    assert [decode(items[row].path).tobytes() for row in order] == wanted
    assert read == [0, 1, 2, 0, 1, 2] and len(cells._groups) == locations.GROUPS


class Counted:
    def __init__(self, parquet, read):
        self.parquet, self.read = parquet, read

    def read_row_group(self, number, **how):
        self.read.append(number)
        return self.parquet.read_row_group(number, **how)


def test_copies_are_found_across_a_folder_a_parquet_file_and_an_address(tmp_path):
    places = write_all(tmp_path)
    paths = {name: [item.path for item in images_of(place)[0]] for name, place in places.items()}
    for one in ("folder", "parquet", "tar", "address"):
        for other in ("folder", "parquet", "tar", "address"):
            assert not len(extended._find_new(paths[one], paths[other]))
    toy.photo(99, 99).save(tmp_path / "new.png")
    more = [*paths["parquet"], str(tmp_path / "new.png")]
    assert extended._find_new(paths["folder"], more).tolist() == [6]
