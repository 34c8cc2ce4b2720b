"""Thumbnails: small, upright, silent about where they were taken; and where photos are looked
for.
"""

import ast
import io
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

import fastseek
import toy
from fastseek.report.thumbnails import Album, find, thumbnail


def opened(made):
    return Image.open(io.BytesIO(made[0]))


def test_a_thumbnail_is_small_and_keeps_its_proportions(tmp_path):
    toy.photo(0, 0, 400).resize((400, 200)).save(tmp_path / "a.jpg")
    made = thumbnail(tmp_path / "a.jpg", 160)
    assert opened(made).size == (160, 80) and made[1] == 2.0


def test_a_small_photo_is_not_blown_up(tmp_path):
    toy.photo(0, 0, 40).save(tmp_path / "a.png")
    assert opened(thumbnail(tmp_path / "a.png")).size == (40, 40)


def test_gps_exif_comments_and_profiles_are_gone(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[1] = "N"
    toy.photo(0, 0).save(
        tmp_path / "a.jpg", exif=exif, comment=b"SecretComment", icc_profile=b"SecretProfile" * 20
    )
    assert b"SecretCamera" in (tmp_path / "a.jpg").read_bytes()
    small, _ = thumbnail(tmp_path / "a.jpg")
    assert b"Secret" not in small and b"Exif" not in small
    assert not opened((small, 1)).getexif()


def test_photos_stand_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 40), "red").save(tmp_path / "a.jpg", exif=exif)
    assert opened(thumbnail(tmp_path / "a.jpg")).size == (40, 80)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    values = np.full((20, 20), 40000 if mode.startswith("I") else 157)
    photo = Image.fromarray(
        values.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}.get(mode, np.uint8))
    )
    photo = photo if photo.mode == mode else photo.convert(mode)
    photo.save(tmp_path / ("a.jpg" if mode == "CMYK" else "a.tiff"))
    made = opened(thumbnail(tmp_path / ("a.jpg" if mode == "CMYK" else "a.tiff")))
    assert made.mode == "RGB"
    if mode != "1":
        assert abs(int(np.asarray(made)[10, 10, 0]) - 157) < 8


def test_transparent_parts_become_white(tmp_path):
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert np.asarray(opened(thumbnail(tmp_path / "a.png"))).min() > 250


@pytest.mark.parametrize(
    "content", [b"", b"no photo", b"\xff\xd8\xff\xe0 cut", b"<svg onload='x'/>"]
)
def test_what_is_no_photo_is_not_shown(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    assert thumbnail(tmp_path / "a.jpg") is None


def test_a_cut_photo_and_a_bomb_are_not_shown(tmp_path):
    toy.photo(0, 0, 300).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("1", (9000, 9000)).save(tmp_path / "bomb.png")
    assert thumbnail(tmp_path / "cut.png") is None
    assert thumbnail(tmp_path / "bomb.png") is None


def test_ids_are_looked_for_below_the_roots_in_order(tmp_path):
    for root in ("one", "two"):
        (tmp_path / root / "sub").mkdir(parents=True)
    (tmp_path / "two" / "sub" / "a").write_bytes(b"x")
    roots = [tmp_path / "one", tmp_path / "two"]
    assert find("sub/a", roots) == tmp_path / "two" / "sub" / "a"
    assert find("sub/a", tmp_path, str(tmp_path / "two")) == tmp_path / "two" / "sub" / "a"
    assert find("sub/a", tmp_path / "one", str(tmp_path / "two")) is None
    assert find("sub/b", roots) is None and find("sub", roots) is None


def test_F66_only_formats_that_are_allowed_are_opened(tmp_path):
    for suffix in ("ppm", "tga", "pcx"):
        toy.photo(0, 0).save(tmp_path / f"a.{suffix}")
        assert thumbnail(tmp_path / f"a.{suffix}") is None
    assert thumbnail(toy_file(tmp_path / "a.gif")) is not None


def test_F66_every_image_of_the_package_is_opened_with_a_list_of_formats():
    package = pathlib.Path(fastseek.__file__).parent
    calls = [
        (path.name, node.lineno)
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "Image.open"
        and "formats" not in [keyword.arg for keyword in node.keywords]
    ]
    assert calls == []


def toy_file(path):
    toy.photo(0, 0).save(path)
    return path


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "/etc/passwd", "a/../../secret.png", "", ".", "x\0y", "\udcff", "a" * 5000],
)
def test_names_that_lead_out_of_the_root_or_nowhere_find_nothing(tmp_path, name):
    (tmp_path / "root").mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    assert find(name, tmp_path / "root") is None


def test_a_pipe_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    assert find("a.jpg", tmp_path) is None and find("a.jpg", {"a.jpg": tmp_path / "a.jpg"}) is None


def test_full_paths_are_found_below_the_root_of_all(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert find(str(tmp_path / "a.jpg"), "/") == tmp_path / "a.jpg"


def test_an_album_names_each_file_once_and_what_cannot_be_read_not_at_all(tmp_path):
    toy.photo(0, 0).resize((32, 80)).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"no photo")
    album = Album([tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "a.jpg"])
    assert album.name(tmp_path / "a.jpg") == "p0"
    assert album.name(tmp_path / "b.jpg") == "" == album.name(None)
    assert album.css().count("data:image/jpeg") == 1 and album.shape() == "tall"
