import hashlib
import os
import pathlib
import resource
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastseek import progress as progress_module
from fastseek.errors import (
    NO_ROOM,
    ArtefactError,
    DataError,
    FastSeekError,
    RunError,
    StoppedError,
    UsageError,
    advise_stopped,
    exit_with,
    hide_secrets,
)
from fastseek.io.atomic import atomic, check_writable
from fastseek.io.digests import sha256
from fastseek.io.json_files import read_json, write_json
from fastseek.io.locks import hold_folder
from fastseek.io.paths import data_roots, locate
from fastseek.progress import progress


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (DataError("x"), 3),
        (RunError("x"), 4),
        (ArtefactError("x"), 5),
        (FastSeekError("x"), 4),
        (StoppedError("x"), 75),
        (KeyboardInterrupt(), 4),
    ],
)
def test_a_tool_leaves_with_the_code_of_its_error_and_one_line(error, code, capsys):
    with pytest.raises(SystemExit) as left:
        exit_with(raising(error))
    assert left.value.code == code
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and told.endswith("\n")


def test_a_tool_that_ends_well_leaves_with_0():
    with pytest.raises(SystemExit) as left:
        exit_with(lambda: 7)
    assert left.value.code == 0


def test_F65_sigterm_ends_any_command_in_one_line_with_75(capsys):
    before = signal.getsignal(signal.SIGTERM)

    def work():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(600)
        except Exception:
            pass  # no handler of errors swallows it

    with pytest.raises(SystemExit) as left:
        exit_with(work)
    assert left.value.code == 75
    told = capsys.readouterr().err
    assert told.startswith("error: stopped by SIGTERM") and told.count("\n") == 1
    assert signal.getsignal(signal.SIGTERM) == before


def test_our_own_mistakes_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        exit_with(lambda: 1 / 0)


def test_a_file_is_whole_or_the_old_one(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with atomic(path, "w") as file:
        file.write("old")
    with pytest.raises(RuntimeError), atomic(path, "w") as file:
        file.write("half")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(path.parent) == ["file.txt"]


@pytest.fixture
def barred(tmp_path):
    """Names nothing can be written to."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "shut").mkdir(mode=0o500)
    names = [
        tmp_path / "folder",
        tmp_path / "file" / "x",
        tmp_path / "new" / "newer" / ("x" * 300),
        tmp_path / "pipe",
        tmp_path / "new" / ("y" * 300) / "x",
        pathlib.Path("/proc/none/x"),
        pathlib.Path("/"),
        pathlib.Path(),
    ]
    return names + ([] if os.access(tmp_path / "shut", os.W_OK) else [tmp_path / "shut" / "x"])


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_name_that_cannot_be_written_is_wrong_use_and_leaves_nothing_behind(
    tmp_path, barred, mode
):
    before = sorted(tmp_path.rglob("*"))
    for path in barred:
        with pytest.raises(UsageError, match="cannot be written") as told, atomic(path, mode):
            pytest.fail("never gets there")
        assert str(path.parent) in str(told.value) and "\n" not in str(told.value)
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / "file").read_text() == "old"


def test_folders_that_cannot_be_made_or_written_to_are_wrong_use(tmp_path, barred):
    for path in (
        tmp_path / "file",
        tmp_path / "file" / "x",
        pathlib.Path("/proc/none"),
        pathlib.Path("/proc/self"),
    ):
        with pytest.raises(UsageError, match="cannot be written"), hold_folder(path):
            pytest.fail("never gets there")


def test_an_error_of_the_writer_stays_what_it_is(tmp_path):
    for error in (OSError(28, "No space left on device"), PermissionError(13, "Permission denied")):
        with pytest.raises(type(error)), atomic(tmp_path / "x") as file:
            file.write(b"half")
            raise error
    assert not os.listdir(tmp_path)


def test_a_full_disk_is_no_wrong_use(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "x")

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(OSError, match="No space"), atomic(tmp_path / "new" / "x"):
        pytest.fail("never gets there")
    monkeypatch.undo()
    assert not os.listdir(tmp_path)


def test_a_tool_on_a_full_disk_leaves_with_4_and_one_line(capsys):
    with pytest.raises(SystemExit) as left:
        exit_with(raising(OSError(28, "No space left on device", "r.npz")))
    told = capsys.readouterr().err
    assert (
        left.value.code == 4
        and told.count("\n") == 1
        and "r.npz" in told
        and "No space left" in told
    )


@pytest.mark.parametrize(
    "error",
    [
        OSError(27, "File too large", "r.npz"),
        OSError(5, "Input/output error", "r.npz"),
        OSError("r.npz went\naway"),
    ],
)
def test_a_disk_that_fails_ends_a_tool_with_4_and_one_line(capsys, error):
    with pytest.raises(SystemExit) as left:
        exit_with(raising(error))
    told = capsys.readouterr().err
    assert left.value.code == 4 and told.count("\n") == 1 and told.startswith("error: r.npz")


def test_a_missing_file_that_nobody_expected_keeps_its_traceback():
    with pytest.raises(PermissionError):
        exit_with(raising(PermissionError(13, "Permission denied")))


@pytest.mark.parametrize(
    "save", [lambda file: np.save(file, np.zeros(9999)), lambda file: file.write(bytes(99999))]
)
def test_the_error_of_a_full_disk_names_the_file(tmp_path, save):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40960, before[1]))
    try:
        with pytest.raises(OSError) as told, atomic(tmp_path / "x.npy") as file:
            save(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert told.value.filename == str(tmp_path / "x.npy") and told.value.errno in NO_ROOM
    assert not os.listdir(tmp_path)


def test_a_name_that_is_no_utf8_is_written_with_its_own_bytes(tmp_path):
    with atomic(tmp_path / "x", "w") as file:
        file.write(os.fsdecode(b"x\xff.jpg") + "ü")
    assert (tmp_path / "x").read_bytes() == b"x\xff.jpg\xc3\xbc"
    write_json(tmp_path / "x.json", {"path": os.fsdecode(b"x\xff.jpg")})
    assert os.fsencode(read_json(tmp_path / "x.json")["path"]) == b"x\xff.jpg"


def test_json_goes_out_and_in_and_numbers_that_are_none_stay_out(tmp_path):
    write_json(tmp_path / "x.json", {"b": [1, None], "a": "ü"})
    assert read_json(tmp_path / "x.json") == {"a": "ü", "b": [1, None]}
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", float("nan"))
    assert read_json(tmp_path / "x.json") == {"a": "ü", "b": [1, None]}


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"", b"[" * 100_000, b"9" * 9999])
def test_what_is_no_json_is_named(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    for name in ("x.json", "none.json", "."):
        with pytest.raises(DataError):
            read_json(tmp_path / name)


def test_the_hash_is_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 99999)
    assert sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 99999).hexdigest()


def test_data_is_looked_for_as_named_then_below_the_roots(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path))
    assert data_roots()[0] == tmp_path
    (tmp_path / "Birds").mkdir()
    assert locate("Birds") == tmp_path / "Birds"
    assert locate(str(tmp_path)) == pathlib.Path(tmp_path)
    with pytest.raises(DataError, match="(?s)Fish not found.*tests.*FASTREID_DATASETS"):
        locate("Fish", "the tests")


def test_progress_gives_the_things_unchanged_and_lines_to_a_pipe(monkeypatch, capsys):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert list(progress(range(5), "work", every=15)) == [0, 1, 2, 3, 4]
    lines = capsys.readouterr().err.splitlines()
    assert lines and all(
        line.startswith("work: ") and "/5" in line and "s left" in line for line in lines
    )


def test_progress_without_an_end_tells_what_is_done(monkeypatch, capsys):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock))
    assert list(progress((n for n in range(4)), "work", every=15)) == [0, 1, 2, 3]
    assert "done" in capsys.readouterr().err


def test_the_seek_half_imports_without_torch_faiss_and_fastreid():
    import subprocess

    code = (
        "import sys\nfor n in ('torch', 'fastreid', 'faiss', 'timm'): sys.modules[n] = None\nimport"
        " fastseek.cli._search, fastseek.metrics, fastseek.structures.embeddings_writer, fastseek.structures,"
        " fastseek.report"
    )
    plugins = pathlib.Path(__file__).parents[2] / "plugins"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(plugins)},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr


def test_what_a_killed_writer_left_is_removed_by_the_next_and_a_living_writers_file_is_not(
    tmp_path,
):
    dead = tmp_path / ".x.tmp-1"
    dead.write_bytes(b"half")
    (tmp_path / ".xy.tmp-1").write_bytes(b"another file's")
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        with atomic(tmp_path / "x") as file:
            file.write(b"child")
            os.write(writer, b".")
            time.sleep(30)
    os.read(reader, 1)
    with atomic(tmp_path / "x") as file:
        file.write(b"whole")
    assert (
        not dead.exists()
        and (tmp_path / f".x.tmp-{child}").exists()
        and (tmp_path / ".xy.tmp-1").exists()
    )
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with atomic(tmp_path / "x") as file:
        file.write(b"again")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".xy.tmp-1", "x"]


def test_threads_that_write_one_file_leave_one_of_theirs_whole(tmp_path):
    def write(number):
        check_writable(tmp_path / "x")
        with atomic(tmp_path / "x") as file:
            for _ in range(20):
                file.write(bytes([number]) * 9999)
                file.flush()

    for _ in range(15):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        assert (tmp_path / "x").read_bytes() in [bytes([number]) * 199980 for number in range(4)]
        assert os.listdir(tmp_path) == ["x"]


def test_what_can_be_written_is_known_beforehand_and_nothing_is_left(tmp_path):
    (tmp_path / "file").write_bytes(b"as it was")
    for name in ("new", "far/below/new", "file"):
        check_writable(tmp_path / name)
    for name in ("", "file/x", "/proc/none/x", str(tmp_path)):
        with pytest.raises(UsageError, match="cannot be written"):
            check_writable(tmp_path / name if name == "file/x" else name)
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"as it was"


def test_F19_a_name_in_the_working_folder_and_below_a_root_is_no_ones_guess(tmp_path, monkeypatch):
    for folder in ("root", "here"):
        (tmp_path / folder / "images").mkdir(parents=True)
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(DataError, match=r"images lies in the working folder and below .*root"):
        locate("images")
    assert locate("./images") == pathlib.Path("images")
    assert locate(tmp_path / "root" / "images") == tmp_path / "root" / "images"
    monkeypatch.chdir(tmp_path / "root")
    assert locate("images").samefile(tmp_path / "root" / "images")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, None])
def test_a_stopped_command_says_how_its_own_kind_of_work_goes_on(kind, capsys):
    """None: SIGTERM."""

    def work():
        with advise_stopped(lambda: "add --resume"):
            if kind is None:
                os.kill(os.getpid(), signal.SIGTERM)
            raise kind

    with pytest.raises(SystemExit):
        exit_with(work)
    assert capsys.readouterr().err.endswith(": add --resume\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://key@host/a.tar: gone", "https://…@host/a.tar: gone"),
        ("(http://me:secret@host/a?b)", "(http://…@host/a?…)"),
        ("https://h/l.csv?sig=x%2B&e=1: 403, try 'https://h/m?k'", None),
        ("postgresql://me:secret@host/db?port=9#shop", "postgresql://me:…@host/db?port=9#shop"),
        ("abfs://container@account/x.tar", "abfs://container@account/x.tar"),
        ("what? a://b is no mail of me@host", "what? a://b is no mail of me@host"),
    ],
)
def test_no_secret_of_an_address_is_printed(text, shown, capsys):
    shown = shown or "https://h/l.csv?…: 403, try 'https://h/m?…'"
    assert hide_secrets(text) == shown
    with pytest.raises(SystemExit):
        exit_with(raising(DataError(text)))
    assert capsys.readouterr().err == f"error: {shown}\n"
