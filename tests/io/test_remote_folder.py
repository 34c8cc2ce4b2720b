"""Files below an address: those of one folder, written whole."""

import pytest

from fastseek.errors import DataError, RunError, UsageError
from fastseek.io import locations, remote_folder
from fastseek.io.remote_folder import RemoteFolder, is_address

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def folder():
    yield RemoteFolder("memory://box/a/")
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def test_files_of_a_folder_are_those_that_were_written_and_none_below(folder, tmp_path):
    (tmp_path / "x").write_bytes(b"123")
    assert folder.sizes() == {}
    folder.write(tmp_path / "x")
    folder.write(tmp_path / "x", "y")
    RemoteFolder("memory://box/a/b").write(tmp_path / "x")
    assert folder.sizes() == {"x": 3, "y": 3} and folder.read("y") == b"123"
    assert folder.read_all(["y", "x"]) == [b"123", b"123"]
    with pytest.raises(DataError, match="memory://box/a/z: cannot be read"):
        folder.read("z")
    assert [is_address(name) for name in ("s3://a/b", "file:///a", "/a", "a.tar")] == [
        True,
        False,
        False,
        False,
    ]


def test_a_place_that_may_not_be_listed_is_told(folder, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "access denied")

    monkeypatch.setattr(fsspec.filesystem("memory"), "ls", refuse)
    with pytest.raises(UsageError, match="memory://box/a: may not be listed"):
        folder.sizes()


def test_a_file_that_did_not_arrive_whole_is_told(folder, tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"123")
    system = fsspec.filesystem("memory")
    monkeypatch.setattr(locations, "PAUSE", 0)
    monkeypatch.setattr(
        type(system), "put_file", lambda self, here, there: self.pipe_file(there, b"1")
    )
    with pytest.raises(RunError, match="1 bytes of 3 arrived"):
        folder.write(tmp_path / "x")


def test_a_folder_of_this_machine_stands_for_an_address(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    one, other = map(remote_folder.remote_cache, ("s3://a/b", "s3://a/c"))
    assert one != other and one.is_relative_to(tmp_path)
