"""A real Milvus for the tests: one server for all workers of a run, which ends when the run does.

The wheel `milvus` holds a standalone server with its own etcd, message queue and storage. It is
started by a keeper, a process of its own that watches the run: whatever becomes of the tests, the
keeper ends the server and removes its folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

VERSION = "2.3.5"
THERE = importlib.util.find_spec("milvus") is not None
STARTS = 1800.0  # seconds it may take, on a machine that is busy
# A change is seen by the next reader within a tick; 200 ms are its own, for machines far apart.
SETTINGS = {"proxy.timeTickInterval": 50, "queryCoord.checkInterval": 200, "log.level": "warn"}
ETCD = """name: default
listen-client-urls: http://127.0.0.1:{client}
advertise-client-urls: http://127.0.0.1:{client}
listen-peer-urls: http://127.0.0.1:{peer}
initial-advertise-peer-urls: http://127.0.0.1:{peer}
initial-cluster: default=http://127.0.0.1:{peer}
"""


class Server:
    """A server in a folder: its data stay there when it is killed.

    Args:
        home: a folder of its own.
        settings: of its configuration, beside SETTINGS.
    """

    def __init__(self, home, settings=None):
        from milvus import MilvusServer

        self.home = pathlib.Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        port, client, peer = _free_ports(3)
        self.uri = f"http://127.0.0.1:{port}"
        _link_programs(self.home)
        # Its own etcd listens where this file says; else in one place for all servers.
        (self.home / "etcd.yaml").write_text(ETCD.format(client=client, peer=peer))
        ports = {"proxy_port": port, "etcd_port": client}
        self._made = MilvusServer(data_dir=str(self.home), wait_for_started=False, **ports)
        for name, value in {**SETTINGS, **(settings or {})}.items():
            self._made.config.set(name, value)

    @property
    def pid(self):
        return self._made.server_proc.pid

    def start(self):
        """Start it and wait until it answers."""
        os.environ["ETCD_CONFIG_PATH"] = str(self.home / "etcd.yaml")
        self._made.start()
        # Its ports are its own from now on; after a kill they look taken for a minute.
        self._made.config.resolve = lambda: None
        health = f"http://127.0.0.1:{self._made.webservice_port}/healthz"
        until = time.monotonic() + STARTS
        while not _answers(health):
            if self._made.server_proc.poll() is not None or time.monotonic() > until:
                logs = self.home / "logs" / "milvus-stdout.log"
                raise RuntimeError(f"the Milvus server did not start: {logs.read_text()[-2000:]}")
            time.sleep(0.1)
        return self

    def kill(self):
        """End it as a power cut would."""
        self._made.server_proc.kill()
        self._made.server_proc.wait()
        self._made.server_proc = None

    def stop(self):
        self._made.stop()


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return b"OK" in answer.read()
    except OSError:
        return False


def _free_ports(count):
    with contextlib.ExitStack() as held:
        made = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in made:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in made]


def _link_programs(home):
    """Unpack the server, 250 MB, once for all runs of this user."""
    from milvus import _initialize_data_files

    shared = pathlib.Path(tempfile.gettempdir()) / f"fastseek-milvus-{VERSION}-{os.getuid()}"
    shared.mkdir(mode=0o700, exist_ok=True)
    with _alone(shared / "lock"):
        _initialize_data_files(str(shared))
    with contextlib.suppress(FileExistsError):
        (home / "bin").symlink_to(shared / "bin")


@contextlib.contextmanager
def _alone(path):
    with open(path, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def shared_uri():
    """The URI of the server of this run; the first worker that asks starts it."""
    worker = "PYTEST_XDIST_WORKER" in os.environ
    run = os.getppid() if worker else os.getpid()
    # A later process of the same number is told apart by when it started.
    name = f"fastseek-milvus-run-{run}-{_started(run)}"
    home = pathlib.Path(tempfile.gettempdir()) / name
    home.mkdir(mode=0o700, exist_ok=True)
    told, log = home / "uri", home / "keeper.log"
    with _alone(home / "lock"):
        if told.exists():
            return told.read_text()
        with open(log, "w") as output:
            keeper = subprocess.Popen(
                [sys.executable, __file__, str(home), str(run)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        until = time.monotonic() + STARTS
        while not told.exists():
            if keeper.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the Milvus server did not start: {log.read_text()}")
            time.sleep(0.1)
        return told.read_text()


def keep(home, run):
    """Run a server until a process has ended; then end it, and remove its folder."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    server = Server(home / "data")
    try:
        server.start()
        (home / "uri.new").write_text(server.uri)
        os.replace(home / "uri.new", home / "uri")
        while _lives(run):
            time.sleep(0.5)
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


def _started(pid):
    """When a process started, in ticks since the machine did; 0 where there is no /proc."""
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0


def _lives(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


if __name__ == "__main__":
    keep(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
