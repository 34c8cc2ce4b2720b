"""A file is hashed once by all commands together, and again as soon as anything of it is another."""

import os
import pathlib
import shutil

import numpy as np
import pytest

from fastseek.errors import ArtefactError
from fastseek.io.digests import sha256
from fastseek.structures import Embeddings, known_digests
from fastseek.structures.known_digests import WORTHWHILE, check_digest, find_digest


@pytest.fixture
def hashed(tmp_path, monkeypatch):
    """The files that are hashed; what this user's other processes know lies below `home`."""
    made = []
    monkeypatch.setattr(known_digests, "sha256", lambda path: made.append(path) or sha256(path))
    monkeypatch.setattr(known_digests, "SETTLED", -1e9)
    monkeypatch.setattr(pathlib.Path, "home", lambda: tmp_path / "home")
    forget(monkeypatch)
    return made


def forget(monkeypatch):
    """Be another process."""
    monkeypatch.setattr(known_digests, "_known", {})
    monkeypatch.setattr(known_digests, "_records", {})


def write(path, size=WORTHWHILE):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(np.random.default_rng(size).bytes(size))
    return sha256(path)


def test_another_process_does_not_hash_a_large_file_again(tmp_path, hashed, monkeypatch):
    large, small = tmp_path / "e" / "large", tmp_path / "e" / "small"
    digests = {large: write(large), small: write(small, 100)}
    for _ in range(3):
        forget(monkeypatch)
        for path, digest in digests.items():
            check_digest(path, digest)
            check_digest(path, digest)
    assert hashed == [large, small, small, small]
    assert os.listdir(tmp_path / "e") == sorted(
        ["large", "small"], key=os.listdir(large.parent).index
    )


def flip(path):
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)


def replace_by_a_copy(path):
    shutil.copy2(path, path.with_name("copy"))
    os.replace(path.with_name("copy"), path)


def set_back(path):
    state = path.stat()
    flip(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("change", [flip, set_back, replace_by_a_copy, pathlib.Path.touch])
def test_nothing_is_trusted_when_anything_differs(tmp_path, hashed, monkeypatch, change):
    path = tmp_path / "e" / "large"
    digest = write(path)
    check_digest(path, digest)
    change(path)
    forget(monkeypatch)
    if sha256(path) == digest:
        check_digest(path, digest)
    else:
        with pytest.raises(ArtefactError, match="the bytes are not those"):
            check_digest(path, digest)
    assert len(hashed) == 2


def test_another_hash_and_another_folder_are_compared_anew(tmp_path, hashed, monkeypatch):
    path = tmp_path / "e" / "large"
    digest = write(path)
    check_digest(path, digest)
    forget(monkeypatch)
    with pytest.raises(ArtefactError, match="the bytes are not those"):
        check_digest(path, "0" * 64)
    (tmp_path / "e").rename(tmp_path / "moved")
    check_digest(tmp_path / "moved" / "large", digest)
    assert len(hashed) == 3


def test_a_fresh_file_is_remembered_by_nobody(tmp_path, hashed, monkeypatch):
    monkeypatch.setattr(known_digests, "SETTLED", 60)
    path = tmp_path / "large"
    digest = write(path)
    for _ in range(2):
        check_digest(path, digest)
    assert len(hashed) == 2 and not (tmp_path / "home").exists()


def test_all_commands_together_verify_a_folder_once_but_for_one_that_asks_anew(
    tmp_path, hashed, monkeypatch
):
    made = Embeddings([f"{n}" for n in range(100)], np.ones((100, 512), np.float32))
    made.save(tmp_path / "e")
    for anew, count in ((False, 1), (False, 0), (True, 1)):
        forget(monkeypatch)
        hashed.clear()
        Embeddings.load(tmp_path / "e", verify=True).verify(tmp_path / "e", anew)
        assert sum("vectors" in str(path) for path in hashed) == count


@pytest.mark.parametrize(
    "content", [b"", b"nothing\n", b"a 1 2 3 4 5 large\n\xff\n", b"\0" * 99], ids=len
)
def test_a_damaged_record_tells_nothing(tmp_path, hashed, monkeypatch, content):
    path = tmp_path / "e" / "large"
    digest = write(path)
    check_digest(path, digest)
    (file,) = (tmp_path / "home/.cache/fastseek/verified").iterdir()
    whole = file.read_bytes()
    file.write_bytes(content)
    forget(monkeypatch)
    check_digest(path, digest)
    assert len(hashed) == 2
    file.write_bytes(content + whole)
    forget(monkeypatch)
    check_digest(path, digest)
    assert len(hashed) == 2 + (content[-1:] not in (b"", b"\n"))


def test_a_home_that_cannot_be_written_changes_nothing(tmp_path, hashed, monkeypatch):
    path = tmp_path / "e" / "large"
    digest = write(path)
    (tmp_path / "home").write_text("a file")
    for _ in range(2):
        forget(monkeypatch)
        check_digest(path, digest)
    assert len(hashed) == 2


def test_earlier_states_do_not_make_a_record_grow_without_end(tmp_path, hashed, monkeypatch):
    monkeypatch.setattr(known_digests, "STALE", 4)
    path = tmp_path / "e" / "large"
    for size in range(20):
        forget(monkeypatch)
        check_digest(path, write(path, WORTHWHILE + size))
    (file,) = (tmp_path / "home/.cache/fastseek/verified").iterdir()
    assert len(file.read_bytes().splitlines()) <= 8
    forget(monkeypatch)
    check_digest(path, sha256(path))
    assert len(hashed) == 20


@pytest.mark.parametrize("change", [None, flip, set_back, replace_by_a_copy])
def test_a_large_file_is_read_for_its_hash_again_only_when_it_has_changed(
    tmp_path, hashed, monkeypatch, change
):
    path = tmp_path / "e" / "large"
    write(path)
    first = find_digest(path)
    forget(monkeypatch)
    if change:
        change(path)
    assert find_digest(path) == sha256(path)
    assert len(hashed) == (1 if change is None else 2) and (first == sha256(path)) == (
        change in (None, replace_by_a_copy)
    )
    with pytest.raises(FileNotFoundError):
        find_digest(path.with_name("gone"))


def test_a_file_that_settles_while_it_is_hashed_is_not_trusted(tmp_path, hashed, monkeypatch):
    path, now = tmp_path / "e" / "large", [0.0]
    digest = write(path)
    monkeypatch.setattr(known_digests, "SETTLED", 2.0)
    now[0] = path.stat().st_ctime + 1
    monkeypatch.setattr(known_digests.time, "time", lambda: now[0])

    def hash_slowly(file):
        hashed.append(file)
        now[0] += 60
        return digest

    monkeypatch.setattr(known_digests, "sha256", hash_slowly)
    for find in (lambda: check_digest(path, digest), lambda: find_digest(path)):
        now[0] = path.stat().st_ctime + 1
        find()
        forget(monkeypatch)
        now[0] = path.stat().st_ctime + 1
        find()
    assert len(hashed) == 4
