"""Commands in processes of their own, without the seconds that importing torch takes.

A stem is a process that imports once what commands need, and forks for each of them. What a test
starts here is a true process: it has a working folder, an environment, an exit code, it hears
signals and can be killed. Two things differ from `subprocess`: the modules are there already, and
what is read when an interpreter starts (PYTHONPATH, OMP_NUM_THREADS) is the stem's.
"""

from __future__ import annotations

import atexit
import gc
import importlib.util
import json
import os
import pathlib
import pickle
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[1]
TRAINING = ("torch", "fastreid", "faiss", "torchvision", "timm", "sklearn")
# What a stem imports. The retrieval half's has nothing of TRAINING, so that it can be forbidden.
STEMS = {
    "training": (
        *("fastseek.compat", "fastseek.training.trainer", "fastseek.data.datasets"),
        *("fastseek.workflows.plan", "fastseek.workflows.contest"),
    ),
    "retrieval": (
        *("fastseek.cli._search", "fastseek.cli._fuse", "fastseek.cli._score"),
        *("fastseek.cli._report", "scipy.sparse", "scipy.special"),
    ),
}
_started = {}


class Stem:
    """A process that forks."""

    def __init__(self, name, environ):
        self.name = name
        own = {"PYTHONPATH": str(ROOT / "plugins"), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, *STEMS[name]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **own, **environ},
            cwd=ROOT,
        )

    def ask(self, **request):
        """Send a request and wait for the answer."""
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the stem of {self.name} has ended: its own messages stand above"
        return json.loads(answer)

    def end(self):
        self._process.stdin.close()
        self._process.wait()


def _end_stems():
    for stem in _started.values():
        stem.end()


class Started:
    """A command that runs or has ended, with the names that subprocess.Popen gives.

    Attributes:
        returncode: None while it runs; negative: the signal that ended it.
        stdout, stderr: what it wrote, once it has ended.
    """

    def __init__(self, stem, told, pid):
        self.pid, self.returncode = pid, None
        self.stdout = self.stderr = None
        self._stem, self._told = stem, told

    def poll(self):
        return self._wait(0)

    def wait(self, timeout=None):
        if self._wait(timeout) is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def _wait(self, seconds):
        if self.returncode is None:
            self.returncode = self._stem.ask(wait=self.pid, seconds=seconds)
            if self.returncode is not None:
                folder = pathlib.Path(self._told.name)
                self.stdout, self.stderr = (
                    (folder / name).read_bytes().decode(errors="surrogateescape")
                    for name in ("out", "err")
                )
                self._told.cleanup()
        return self.returncode


def start(
    *words, code=None, module=None, forbidden=(), forks=False, began=None, cwd=None, env=None
):
    """Start a door of tools/ ("search.py", …), a module (-m) or code (-c) with arguments.

    Args:
        *words: the door's name or path, unless a module or code is given, and the arguments.
        code: run before the door, or without any.
        module: run as `python -m` does.
        forbidden: packages that cannot be imported, as if they were not installed; any of TRAINING
            makes the process one of the retrieval half.
        forks: where it starts processes by spawning, it forks.
        began: the environment that counts when Python starts, such as OPENBLAS_CORETYPE; each other
            one starts a stem of its own.
        cwd: the working folder; this process's when not given.
        env: the whole environment; this process's when not given.

    Returns:
        a Started.
    """
    if not _started:
        atexit.register(_end_stems)
    name = "retrieval" if set(forbidden) & set(TRAINING) else "training"
    key = (name, *sorted((began or {}).items()))
    stem = _started.get(key) or _started.setdefault(key, Stem(name, began or {}))
    told = tempfile.TemporaryDirectory(prefix="fastseek-told-")
    words = [os.fspath(word) if isinstance(word, os.PathLike) else str(word) for word in words]
    pid = stem.ask(
        words=words,
        code=code,
        module=module,
        forbidden=list(forbidden),
        forks=forks,
        cwd=os.fspath(cwd or os.getcwd()),
        env=dict(os.environ if env is None else env),
        told=told.name,
    )
    return Started(stem, told, pid)


def run(*words, timeout=None, **options):
    """Start a command as `start` does and wait for its end."""
    started = start(*words, **options)
    started.wait(timeout)
    return started


def forking(start_processes):
    """torch.multiprocessing.start_processes, but for forking where spawning is asked for."""

    def start(work, args=(), *, start_method, **options):
        pickle.dumps((work, args))  # a spawned process is sent them
        return start_processes(work, args, start_method="fork", **options)

    return start


def _serve():
    """Answer requests until nobody asks any more; returns the request in the forked processes."""
    asked, answers = (
        os.fdopen(os.dup(0), encoding="utf-8"),
        os.fdopen(os.dup(1), "w", encoding="utf-8"),
    )
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    for line in asked:
        request = json.loads(line)
        if "wait" in request:
            answer = _ended(request["wait"], request["seconds"])
        else:
            answer = os.fork()
            if not answer:
                asked.close()
                answers.close()
                return request
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return None


def _ended(pid, seconds):
    """How a process ended; None if it runs on for that long, which is for ever if None is given."""
    until = None if seconds is None else time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, 0 if until is None else os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            return None
        time.sleep(0.01)


def _become(request):
    """Be the process that was asked for."""
    for stream, name in ((1, "out"), (2, "err")):
        file = os.open(os.path.join(request["told"], name), os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(file, stream)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for package in request["forbidden"]:
        assert package not in sys.modules, f"the stem has imported {package}"
    if request["forbidden"]:
        _hide(request["forbidden"])
    if request["forks"]:
        import torch.multiprocessing as processes

        processes.start_processes = forking(processes.start_processes)
    words, door = request["words"], None
    if not request["module"] and words and words[0].endswith(".py"):
        door = str(ROOT / "tools" / words[0])
        words = [door, *words[1:]]
    else:
        words = ["-c", *words]
    sys.argv = words
    if request["code"]:
        exec(compile(request["code"], "<code>", "exec"), {"__name__": "__main__"})
    if door:
        runpy.run_path(door, run_name="__main__")
    elif request["module"]:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def _end_with(work):
    """Do the work and end as the interpreter does, but leave its thousand modules standing: taking
    them down takes longer than most commands.
    """
    code = 0
    try:
        work()
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            sys.stderr.write(f"{code}\n")
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _hide(packages):
    """Let packages be not installed."""
    find = importlib.util.find_spec

    class Absent:
        def find_spec(name, path=None, target=None):
            if name.split(".")[0] in packages:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    def find_others(name, package=None):
        return None if name.split(".")[0] in packages else find(name, package)

    sys.meta_path.insert(0, Absent)
    importlib.util.find_spec = find_others


if __name__ == "__main__":
    gc.disable()
    for module in sys.argv[1:]:
        importlib.import_module(module)
    # A stem's modules are never garbage; a search through them would copy their pages.
    gc.collect()
    gc.freeze()
    gc.enable()
    request = _serve()
    if request is None:
        os._exit(0)
    _end_with(lambda: _become(request))
