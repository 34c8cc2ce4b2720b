import http.client
import pathlib
import ssl
import urllib.error
import zipfile

import pytest

from fastseek.data.datasets import _fetch
from fastseek.errors import DataError

PHOTOS = ["test/Milk/Milk_002.jpg", "train/Milk/Milk_001.jpg"]


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No copy anywhere, three images known, a cache below tmp_path."""
    monkeypatch.setattr(_fetch, "known_images", lambda: PHOTOS)
    monkeypatch.setattr(_fetch, "data_roots", lambda: [tmp_path / "cache"])
    monkeypatch.setattr(_fetch, "locate_below_roots", _missing)
    return tmp_path


def _missing(name, purpose):
    raise DataError(f"{name} not found (for {purpose}): put it below one of somewhere")


def _archive(folder, evil=False, lost=None):
    path = folder / "photos.zip"
    with zipfile.ZipFile(path, "w") as out:
        for name in [*PHOTOS, "classes.csv", "train/Milk/Milk_099.jpg"]:
            if name != lost:
                out.writestr(f"Repo-abc/dataset/{name}", f"bytes of {name}")
        for part in _fetch.LISTS:
            out.writestr(
                f"Repo-abc/dataset/{part}.txt", "".join(f"{n}, 1, 0\n" for n in [*PHOTOS, "x.jpg"])
            )
        if evil:
            out.writestr("Repo-abc/../../evil.txt", "outside")
    return path.as_uri()


def _fingerprint(folder):
    made = folder / "known" / "dataset"
    for name in [*PHOTOS, "classes.csv"]:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(f"bytes of {name}")
    return _fetch.fingerprint(made)


def test_a_download_keeps_the_known_images_and_their_lines_only(nowhere):
    home = _fetch.grocery(_archive(nowhere, evil=True), _fingerprint(nowhere))
    files = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    assert files == sorted([*PHOTOS, "classes.csv", "train.txt", "val.txt", "test.txt"])
    assert (home / "train.txt").read_text() == "".join(f"{name}, 1, 0\n" for name in PHOTOS)
    assert not list(nowhere.rglob("evil.txt"))


def test_changed_images_are_refused_and_nothing_is_kept(nowhere):
    with pytest.raises(DataError, match="SHA-256 differs"):
        _fetch.grocery(_archive(nowhere), "0" * 64)
    assert not list((nowhere / "cache").rglob("*.jpg"))


def test_an_archive_without_an_image_is_refused_by_name(nowhere):
    with pytest.raises(DataError, match="Milk_001"):
        _fetch.grocery(_archive(nowhere, lost=PHOTOS[1]), "0" * 64)


def test_without_a_copy_and_without_a_network_one_line_says_what_to_put_where(nowhere):
    with pytest.raises(DataError) as caught:
        _fetch.grocery((nowhere / "no.zip").as_uri())
    assert "grocery/dataset not found" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("unknown host"),
        TimeoutError("timed out"),
        ConnectionResetError("reset"),
        ssl.SSLError("broken"),
        http.client.IncompleteRead(b"x"),
    ],
)
def test_a_host_out_of_reach_is_told_from_wrong_images(nowhere, monkeypatch, error):
    def fail(address, timeout):
        assert timeout <= 10
        raise error

    monkeypatch.setattr("urllib.request.urlopen", fail)
    with pytest.raises(_fetch.OutOfReach) as caught:
        _fetch.grocery()
    assert caught.value.reason and caught.value.reason in str(caught.value)
    assert not list((nowhere / "cache").iterdir())


def test_the_list_names_every_image_once_inside_the_dataset():
    names = _fetch.known_images()
    assert len(names) == len(set(names)) == 3337
    assert all(not pathlib.PurePosixPath(name).is_absolute() and ".." not in name for name in names)
