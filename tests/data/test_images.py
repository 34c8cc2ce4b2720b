"""Laws of the image normal form."""

import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from corpus import photos
from PIL import Image

from fastseek.data import images
from fastseek.data.images import BadImage, decode, to_rgb

PLUGINS = pathlib.Path(images.__file__).parents[2]

# what is stored -> the colour a person sees; the centre pixel of a plain image is compared
MODES = {
    "1": (photos.encoded(photos.plain("1", 1), "PNG"), (255, 255, 255)),
    "1 black": (photos.encoded(photos.plain("1", 0), "PNG"), (0, 0, 0)),
    "L": (photos.encoded(photos.plain("L", 77), "PNG"), (77, 77, 77)),
    "L jpeg": (photos.encoded(photos.plain("L", 77), "JPEG", quality=100), (77, 77, 77)),
    "LA half": (photos.encoded(photos.plain("LA", (0, 128)), "PNG"), (127, 127, 127)),
    "LA clear": (photos.encoded(photos.plain("LA", (9, 0)), "PNG"), (255, 255, 255)),
    "L one clear grey": (
        photos.encoded(photos.plain("L", 9), "PNG", transparency=9),
        (255, 255, 255),
    ),
    "P": (photos.encoded(photos.palette([(1, 2, 3), (200, 100, 50)]), "PNG"), (200, 100, 50)),
    "P gif": (photos.encoded(photos.palette([(1, 2, 3), (200, 100, 50)]), "GIF"), (200, 100, 50)),
    "P clear": (
        photos.encoded(photos.palette([(1, 2, 3), (200, 100, 50)]), "PNG", transparency=1),
        (255, 255, 255),
    ),
    "P half": (
        photos.encoded(photos.palette([(0, 0, 0), (0, 0, 0)]), "PNG", transparency=b"\xff\x80"),
        (127,) * 3,
    ),
    "RGB": (photos.encoded(photos.plain("RGB", (10, 20, 30)), "PNG"), (10, 20, 30)),
    "RGB bmp": (photos.encoded(photos.plain("RGB", (10, 20, 30)), "BMP"), (10, 20, 30)),
    "RGB 16 bits": (photos.wide_rgb(10 * 257, 20 * 257, 30 * 257), (10, 20, 30)),
    "RGBA": (photos.encoded(photos.plain("RGBA", (255, 0, 0, 255)), "PNG"), (255, 0, 0)),
    "RGBA half": (photos.encoded(photos.plain("RGBA", (255, 0, 0, 128)), "PNG"), (255, 127, 127)),
    "RGBA webp": (
        photos.encoded(photos.plain("RGBA", (0, 0, 255, 0)), "WEBP", lossless=True),
        (255, 255, 255),
    ),
    "CMYK red": (
        photos.encoded(photos.plain("CMYK", (0, 255, 255, 0)), "JPEG", quality=100),
        (255, 0, 0),
    ),
    "CMYK dark": (
        photos.encoded(photos.plain("CMYK", (0, 0, 0, 155)), "JPEG", quality=100),
        (100, 100, 100),
    ),
    "YCbCr": (
        photos.encoded(photos.plain("RGB", (10, 200, 30)), "JPEG", quality=100, subsampling=0),
        (10, 200, 30),
    ),
    "I;16": (
        photos.encoded(Image.fromarray(np.full((16, 24), 77 * 257, np.uint16)), "PNG"),
        (77, 77, 77),
    ),
}


def centre(image):
    return image.getpixel((image.width // 2, image.height // 2))


def bad(source, **options):
    with pytest.raises(BadImage) as caught:
        decode(source, **options)
    assert caught.value.detail and "\n" not in caught.value.detail
    return caught.value.code


@pytest.mark.parametrize("name", MODES)
def test_every_mode_becomes_the_rgb_a_person_sees(name):
    data, expected = MODES[name]
    image = decode(data)
    assert image.mode == "RGB" and image.size == photos.SIZE
    assert np.abs(np.subtract(centre(image), expected)).max() <= 2


@pytest.mark.parametrize(
    "mode, stored, expected",
    [
        ("I", 77 * 257, 77),
        ("I", 10**6, 255),
        ("I", -5, 0),
        ("F", 77.4, 77),
        ("F", 1e9, 255),
        ("F", float("nan"), 0),
    ],
)
def test_numbers_become_grey_when_tiff_is_asked_for(mode, stored, expected):
    data = photos.encoded(photos.plain(mode, stored), "TIFF")
    assert centre(decode(data, formats=("TIFF",))) == (expected,) * 3
    assert bad(data) == "FORMAT_NOT_ALLOWED"


def test_rgb_keeps_every_pixel():
    scene = photos.scene()
    assert np.array_equal(np.asarray(decode(photos.encoded(scene, "PNG"))), np.asarray(scene))


def test_converting_changes_nothing_that_was_passed_in():
    for mode, colour in (("RGBA", (1, 2, 3, 4)), ("LA", (5, 6)), ("I", 700)):
        image = photos.plain(mode, colour)
        before = image.copy()
        to_rgb(image)
        assert image.mode == mode and image.tobytes() == before.tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(kind, orientation):
    upright = np.asarray(photos.scene())
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}, "PNG": {}}[
        kind
    ]
    image = decode(
        photos.encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **lossless)
    )
    assert image.size == (60, 40)
    assert (
        np.abs(np.asarray(image).astype(int) - upright).max() <= 12
    )  # JPEG at quality 100 is nearly lossless


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40,
    ],
)
def test_broken_exif_leaves_the_image_as_stored(block):
    plain = photos.encoded(photos.scene(), "JPEG", quality=90)
    marked = plain[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + plain[2:]
    assert decode(marked).tobytes() == decode(plain).tobytes()


@pytest.mark.parametrize("name", photos.good_files())
def test_path_and_bytes_give_the_same_image(name, tmp_path):
    data = photos.good_files()[name]
    (tmp_path / name).write_bytes(data)
    assert decode(tmp_path / name).tobytes() == decode(data).tobytes()
    assert decode(data).mode == "RGB" and decode(data).size == (60, 40)


@pytest.mark.parametrize("kind", ["moving.gif", "moving.webp", "moving.png"])
def test_of_a_moving_image_the_first_frame_is_taken(kind):
    still = photos.scene().quantize().convert("RGB") if kind.endswith("gif") else photos.scene()
    assert (
        np.abs(np.asarray(decode(photos.good_files()[kind])).astype(int) - np.asarray(still)).max()
        <= 2
    )


@pytest.mark.parametrize(
    "name", [name for name in photos.good_files() if not name.startswith("moving")]
)
def test_a_file_cut_anywhere_is_refused(name):
    data = photos.good_files()[name]
    lengths = {len(data) * part // 60 for part in range(1, 60)} | {
        len(data) - cut for cut in (1, 3, 4, 8, 13, 20)
    }
    decoded = {length: decode_or_code(data[:length]) for length in sorted(lengths)}
    # a GIF may lack its last bytes, the trailer and an empty block, when all its pixels are there
    told = {
        length: code
        for length, code in decoded.items()
        if not (name.endswith("gif") and length >= len(data) - 4)
    }
    assert set(told.values()) <= {"TRUNCATED", "UNKNOWN_FORMAT"}
    assert all(code == "TRUNCATED" for length, code in told.items() if length >= 32)


def decode_or_code(data):
    try:
        return decode(data).size
    except BadImage as error:
        return error.code


@pytest.mark.parametrize("name", photos.good_files())
def test_flipped_bytes_give_an_image_or_a_reason_and_never_anything_else(name):
    random = np.random.default_rng(len(name))
    whole = np.frombuffer(photos.good_files()[name], np.uint8)
    for _ in range(60):
        damaged = whole.copy()
        places = random.integers(0, len(whole), random.integers(1, 64))
        damaged[places] ^= random.integers(1, 256, len(places)).astype(np.uint8)
        try:
            assert decode(damaged.tobytes(), max_pixels=10**6).mode == "RGB"
        except BadImage as error:
            assert error.code.isupper()


@pytest.mark.parametrize("name", photos.bad_files())
def test_what_is_no_image_is_refused_with_its_code(name, tmp_path):
    data, code = photos.bad_files()[name]
    (tmp_path / name).write_bytes(data)
    assert bad(tmp_path / name) == code
    assert bad(data) == code


def test_what_is_no_file_is_never_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    monkeypatch.setattr("builtins.open", lambda *_: pytest.fail("opened"))
    for name in (
        "pipe.jpg",
        "folder.jpg",
        "dangling.jpg",
        "loop.jpg",
        "missing.jpg",
        "a" * 300 + ".jpg",
        "nul\0.jpg",
    ):
        assert bad(tmp_path / name if "\0" not in name else f"{tmp_path}/{name}") == "MISSING"
    assert bad("/dev/zero") == "MISSING"


def test_a_file_without_permission_says_so(tmp_path, monkeypatch):
    (tmp_path / "secret.jpg").write_bytes(photos.good_files()["photo.png"])

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    assert bad(tmp_path / "secret.jpg") == "PERMISSION"


def test_a_bomb_is_refused_before_any_pixel_is_decoded(monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))
    assert bad(photos.bomb()) == "TOO_LARGE"
    assert bad(photos.encoded(Image.new("L", (101, 100)), "PNG"), max_pixels=10_000) == "TOO_LARGE"


def test_an_image_at_the_limit_is_accepted():
    assert decode(photos.encoded(Image.new("L", (100, 100)), "PNG"), max_pixels=10_000).size == (
        100,
        100,
    )


def test_refusing_a_bomb_takes_little_memory(tmp_path):
    (tmp_path / "bomb.png").write_bytes(photos.bomb())
    script = """
import resource, sys
from fastseek.data.images import BadImage, decode
from PIL import Image
Image.init()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(sys.argv[1])
except BadImage as error:
    sys.stdout.write(f"{error.code} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before}")
"""
    told = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "bomb.png")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PLUGINS)},
        check=True,
    ).stdout.split()
    assert told[0] == "TOO_LARGE" and int(told[1]) < 50_000  # kB; decoded it would be 400 MB


def test_a_file_with_trailing_bytes_is_still_an_image():
    for name in ("baseline.jpg", "photo.png", "lossy.webp"):
        data = photos.good_files()[name]
        assert decode(data + b"\0" * 9000).tobytes() == decode(data).tobytes()


def test_an_endless_file_is_not_read_into_memory(tmp_path):
    with open(tmp_path / "sparse.jpg", "wb") as file:
        file.truncate(2**40)
    assert bad(tmp_path / "sparse.jpg") == "TOO_LARGE"


def test_a_bad_image_travels_between_processes():
    error = pickle.loads(pickle.dumps(BadImage("EMPTY", "has 0 bytes")))
    assert (error.code, error.detail, str(error)) == ("EMPTY", "has 0 bytes", "EMPTY: has 0 bytes")
