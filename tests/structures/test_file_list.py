"""Lists of image files, and what else stands where images are expected."""

import gzip

import pytest
from PIL import Image

from fastseek.data.datasets.manifest import Manifest
from fastseek.data.own_images import images_of
from fastseek.errors import DataError
from fastseek.structures import Embeddings
from fastseek.structures.file_list import list_lines, names_image
from fastseek.structures.label_file import read_labels


def test_a_text_file_lists_files_from_its_own_folder(tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    monkeypatch.chdir(tmp_path)
    listed = tmp_path / "lists" / "l.txt"
    listed.write_text("\ufeff../a/1.jpg\r\n\n../b c/2.jpg\n" + f"{tmp_path}/3.jpg")
    items, root = images_of(listed)
    assert root == str(tmp_path)
    assert [item.id for item in items] == ["a/1.jpg", "b c/2.jpg", "3.jpg"]
    assert [item.path for item in items] == [str(tmp_path / item.id) for item in items]


def test_a_table_that_ends_in_txt_stays_a_table(tmp_path):
    table = tmp_path / "t.txt"
    table.write_text("id;path\n7;a.jpg\n")
    assert [item.id for item in images_of(table)[0]] == ["7"]


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([], "names no image"),
        (["  ", ""], "names no image"),
        (["a.jpg", "https://x/y.jpg"], ":2: 'https://x/y.jpg' is no file of this machine"),
        (["s3://x/y.jpg"], ":1: .*download it"),
        (["a.jpg", "./b.jpg", "b.jpg"], ":3: 'b.jpg' stands in line 2 already"),
        (["a\0.jpg"], ":1: .* is no file"),
    ],
)
def test_a_line_that_names_no_file_is_refused_by_its_number(lines, error, tmp_path):
    with pytest.raises(DataError, match=f"l.txt:?.*{error}"):
        list_lines(lines, tmp_path, "l.txt")


def test_an_image_is_told_by_its_suffix_and_being_there(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.PNG")
    (tmp_path / "folder.png").mkdir()
    assert names_image(tmp_path / "a.PNG")
    assert not any(
        names_image(tmp_path / name) for name in ("gone.png", "folder.png", "a.npy", "-")
    )


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv", "x.tar", "x.npz", "x.pt"])
def test_F29_F33_what_is_no_image_and_no_table_is_told_what_to_do_with(name, tmp_path):
    path = tmp_path / name
    packed = name.endswith((".gz", ".csv"))
    path.write_bytes(
        gzip.compress(b"path,label\na.jpg,x\n") if packed else b"PK\x05\x06" + bytes(18)
    )
    with pytest.raises(DataError, match="is compressed: unpack|unpacked first") as caught:
        images_of(path)
    assert "NUL" not in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"images are embedded first.*\.npz or \.pt file"):
        Embeddings.load(path)
    if packed:
        with pytest.raises(DataError, match="is compressed: unpack it first"):
            read_labels(path)
        with pytest.raises(DataError, match="is compressed: unpack it first"):
            Manifest(str(path))
