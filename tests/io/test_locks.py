"""A folder has one writer, whoever dies, forks or waits; and nothing is left where the locks were."""

import errno
import json
import multiprocessing
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import filelock
import pytest

from fastseek.errors import RunError
from fastseek.io.locks import hold_folder, take_turn, try_lock, wait_for_lock


def in_a_fork(work):
    """Exit code of a forked process that does the work: 0, or 1 where it raised."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def hold(folder):
    with hold_folder(folder):
        pass


def hold_and_fork(folder, ready):
    """Hold the folder, fork a process that lives on, and wait to be killed."""
    with hold_folder(folder):
        worker = os.fork()
        if not worker:
            # Told by the worker: it has let go of what it inherited.
            (folder / "worker").write_text(str(os.getpid()))
            ready.set()
            time.sleep(120)
            os._exit(0)
        signal.pause()


def test_a_killed_holder_lets_go_though_its_forked_worker_lives_on(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=hold_and_fork, args=(tmp_path, ready))
    holder.start()
    assert ready.wait(60)
    with pytest.raises(RunError, match=f'"pid": {holder.pid}, "host": "{socket.gethostname()}"'):
        hold(tmp_path)
    holder.kill()
    holder.join()
    worker = int((tmp_path / "worker").read_text())
    try:
        os.kill(worker, 0)  # it lives
        hold(tmp_path)
    finally:
        os.kill(worker, signal.SIGKILL)
    assert not (tmp_path / ".lock").exists()


def test_a_forked_process_neither_holds_the_folder_nor_lets_go_of_it(tmp_path):
    with hold_folder(tmp_path):
        assert in_a_fork(lambda: hold(tmp_path)) == 1
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
        assert in_a_fork(lambda: hold(tmp_path)) == 1
    assert in_a_fork(lambda: hold(tmp_path)) == 0
    assert os.listdir(tmp_path) == []


def test_the_end_of_the_block_in_a_forked_process_removes_nothing(tmp_path):
    with hold_folder(tmp_path):
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        assert (tmp_path / ".lock").exists()


def test_turns_are_taken_one_after_the_other(tmp_path):
    def turn():
        for _ in range(5):
            with take_turn(tmp_path):
                count = int((tmp_path / "count").read_text())
                time.sleep(0.002)
                (tmp_path / "count").write_text(str(count + 1))

    (tmp_path / "count").write_text("0")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=turn) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (tmp_path / "count").read_text() == "20"
    assert os.listdir(tmp_path) == ["count"]


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_used_after_a_warning(tmp_path, code, monkeypatch, caplog):
    def refuse(lock):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(filelock.UnixFileLock, "_acquire", refuse)
    with hold_folder(tmp_path):
        (tmp_path / "result").write_text("x")
    assert "has no locks" in caplog.text and (tmp_path / "result").exists()


def test_another_error_of_the_disk_stays_what_it_is(tmp_path, monkeypatch):
    def fail(lock):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(filelock.UnixFileLock, "_acquire", fail)
    with pytest.raises(OSError, match="Input/output"):
        hold(tmp_path)


def test_an_open_file_is_locked_until_it_is_closed(tmp_path):
    path = tmp_path / "x"

    def other():
        with open(path, "ab") as file:
            if not try_lock(file):
                raise RuntimeError

    with open(path, "ab") as file:
        assert try_lock(file)
        assert in_a_fork(other) == 1
    assert in_a_fork(other) == 0


def test_threads_that_append_to_one_file_wait_for_one_another(tmp_path):
    path = tmp_path / "x"
    path.write_text("0")

    def work(_):
        for _ in range(20):
            with open(path, "r+") as file:
                wait_for_lock(file)
                count = int(file.read())
                file.seek(0)
                file.write(str(count + 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert path.read_text() == "80"
