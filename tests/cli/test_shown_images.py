"""Pages show images wherever they lie: in a tar or Parquet file, or at an address."""

import io
import tarfile

import fsspec
import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from fastseek.cli import call_verb
from fastseek.cli._shown_images import may_be_shown
from fastseek.data.own_images import images_of
from fastseek.io.crop_locations import spell_crop
from fastseek.report.thumbnails import find, thumbnail
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings

COLORS = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
NAMES = ["c/0.png", "c/1.png", "c/2.png"]


def png(color):
    file = io.BytesIO()
    image = Image.new("RGB", (40, 20), color)
    image.paste((255, 255, 255), (0, 0, 20, 20))
    image.save(file, "png")
    return file.getvalue()


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    held = dict(zip(NAMES, map(png, COLORS), strict=True))
    for name, content in held.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
        fsspec.filesystem("memory").pipe_file(f"/shown/{name}", content)
    with tarfile.open(tmp_path / "held.tar", "w") as tar:
        tar.add(tmp_path / "folder" / "c", "c")
    table = pyarrow.table({"path": NAMES, "image": list(held.values())})
    parquet.write_table(table, tmp_path / "held.parquet")
    yield {
        "folder": str(tmp_path / "folder"),
        "tar": str(tmp_path / "held.tar"),
        "parquet": str(tmp_path / "held.parquet"),
        "address": "memory://shown",
    }
    fsspec.filesystem("memory").store.clear()


def test_a_page_of_every_source_shows_the_images_of_the_folder(places, tmp_path):
    sides = [Embeddings(NAMES, np.eye(3, 4, dtype=np.float32) + 0.1, {"model": "m"})] * 2
    Exact(k=3)(*sides).save(tmp_path / "r.npz")
    pages = {}
    for name, place in places.items():
        out = tmp_path / f"{name}.html"
        command = ["--ranking", str(tmp_path / "r.npz"), "--images", place, "--out", str(out)]
        call_verb("report", command)
        pages[name] = out.read_text()
    assert pages["folder"].count("data:image/jpeg") == 3
    assert len(set(pages.values())) == 1


def test_a_thumbnail_is_of_the_bytes_at_a_location_and_of_a_box_of_them(places):
    wanted = thumbnail(f"{places['folder']}/c/1.png")
    for name in ("tar", "parquet", "address"):
        files = {item.id: item.path for item in images_of(places[name])[0]}
        location = find("c/1.png", ["/nowhere", files])
        assert isinstance(location, str) and thumbnail(location) == wanted
        small = thumbnail(spell_crop(location, (20, 0, 40, 20)))
        image = Image.open(io.BytesIO(small[0]))
        assert image.size == (20, 20) and image.getpixel((10, 10))[1] > 240
        assert find("c/9.png", files) is None
    assert thumbnail(f"tar://{places['tar']}!/0+9/x.png") is None
    assert thumbnail("memory://shown/none.png") is None


def test_only_what_lies_in_a_place_that_was_named_may_be_shown(places, tmp_path):
    (inside,) = [item.path for item in images_of(places["tar"])[0]][:1]
    assert may_be_shown(inside, [places["tar"]]) and may_be_shown(inside, [tmp_path])
    assert not may_be_shown(inside, [places["folder"], "memory://shown"])
    assert may_be_shown("memory://shown/c/0.png", ["memory://shown/"])
    for location in ("memory://shown2/a.png", "memory://shown/../a.png", "/etc/passwd"):
        assert not may_be_shown(location, ["memory://shown", str(tmp_path)])
