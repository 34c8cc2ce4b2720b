"""Formats that are opened where the user names them, and no others."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import toy
from fastseek.cli._arguments import add_formats_option, make_parser
from fastseek.data.datasets.folder import Folder
from fastseek.data.images import BadImage, decode
from fastseek.errors import UsageError
from fastseek.io import image_formats
from fastseek.io.image_formats import ON_REQUEST, VARIABLE, accept_formats, accepted_formats
from fastseek.report.thumbnails import thumbnail

PILLOW = {"heic": "HEIF", "tiff": "TIFF", "avif": "AVIF"}


@pytest.fixture(autouse=True)
def _none_named(monkeypatch):
    monkeypatch.setenv(VARIABLE, "")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of class folders in which every image has another format."""
    pillow_heif = pytest.importorskip("pillow_heif")
    root = tmp_path_factory.mktemp("formats")
    for number, name in enumerate(["jpg", *PILLOW]):
        (root / f"c{number}").mkdir()
        image = toy.photo(number, 0).resize((64, 48))
        path = root / f"c{number}" / f"image.{name}"
        if name == "heic":
            pillow_heif.from_pillow(image).save(path)
        else:
            image.save(path, {"jpg": "JPEG"}.get(name) or PILLOW[name])
    return root


def _images(root):
    return sorted(item.path.rsplit(".", 1)[1] for item in Folder(str(root)).items)


@pytest.mark.parametrize("name", PILLOW)
def test_a_format_is_opened_where_it_is_named_and_refused_with_the_option_where_it_is_not(
    files, name
):
    path = next(files.rglob(f"*.{name}"))
    with pytest.raises(BadImage, match=f"FORMAT_NOT_ALLOWED: {PILLOW[name]};.*--formats {name}"):
        decode(path)
    others = [other for other in PILLOW if other != name]
    accept_formats(others)
    with pytest.raises(BadImage, match="FORMAT_NOT_ALLOWED"):
        decode(path)
    accept_formats([name])
    seen = np.asarray(decode(path), float)
    assert seen.shape == (48, 64, 3)
    drawn = np.asarray(toy.photo(1 + list(PILLOW).index(name), 0).resize((64, 48)), float)
    assert np.abs(seen - drawn).mean() < 12
    assert thumbnail(path) is not None


def test_a_folder_gives_the_named_formats_and_counts_the_others_with_the_option(files, caplog):
    assert _images(files) == ["jpg", "jpg"]  # trained on, and searched in
    assert "3 files are passed over (1 .avif, 1 .heic, 1 .tiff)" in caplog.text
    assert "--formats heic tiff avif" in caplog.text
    caplog.clear()
    accept_formats(["heic", "tiff"])
    assert sorted(set(_images(files))) == ["heic", "jpg", "tiff"]
    assert "1 files are passed over (1 .avif)" in caplog.text and "--formats avif" in caplog.text


def test_an_unknown_format_and_a_missing_decoder_are_told_with_what_to_do(monkeypatch):
    with pytest.raises(UsageError, match="no image format 'heif': there are heic"):
        accept_formats(["heif"])
    image_formats._find_formats.cache_clear()
    monkeypatch.setattr(image_formats.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install pillow-heif"):
        accept_formats(["heic"])
    assert accepted_formats() == image_formats.ALWAYS


def test_the_option_counts_for_processes_that_are_started(files):
    parser = make_parser("x", None)
    add_formats_option(parser)
    assert parser.parse_args(["--formats", "tiff", "avif"]).formats == ["tiff", "avif"]
    code = "from fastseek.io.image_formats import accepted_formats; print(*accepted_formats())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split()[-2:] == ["TIFF", "AVIF"]


def test_pillow_is_named_in_capitals_and_every_suffix_once():
    Image.init()
    for one in ON_REQUEST.values():
        assert one.pillow == one.pillow.upper()
    suffixes = [suffix for one in ON_REQUEST.values() for suffix in one.suffixes]
    assert len(set(suffixes) | set(image_formats.ALWAYS_SUFFIXES)) == len(suffixes) + 9
