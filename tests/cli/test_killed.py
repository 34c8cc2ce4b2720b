"""A tool that is killed at any moment leaves whole files, and the same command again ends in the
same bytes.
"""

import os
import pathlib
import runpy
import signal
import sys
import time

import numpy as np
import pytest

import processes
import toy
from fastseek.cli import _fuse as fuse  # noqa: F401  forked tools need not
from fastseek.cli import _search as search
from fastseek.errors import DataError
from fastseek.structures import Embeddings, Ranking

ROOT = pathlib.Path(__file__).parents[2]
MOMENTS = {
    "open",
    "write",
    "flush",
    "fsync",
    "replace",
    "unlink",
    "mkdir",
    "write_index",
    "remove",
    "rename",
}
SEARCHES = {
    "exact": ["--search", "exact(k=90)"],
    "reranked": ["--search", "exact(k=90)", "--rerank", "k_reciprocal(k1=5, k2=3)"],
    "enhanced": ["--enhance", "pca(dim=4)", "--enhance", "aqe(k=3)", "--search", "exact(k=90)"],
    "sharded": ["--search", "sharded('exact(k=90)', rows=40, folder='runs')"],
    "ivf": ["--search", "faiss_ivf(k=90, lists=4, file='index/g.faiss')"],
    "hnsw": ["--search", "faiss_hnsw(k=90, file='index/g.faiss')"],
    "rabitq": ["--search", "faiss_ivf_rabitq(k=90, file='index/g.faiss')"],
    "quantized": ["--search", "quantized(k=90)", "--rerank", "k_reciprocal_query(k1=5, k2=3)"],
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with q.npy, g.npy and `earlier`, the bytes of another ranking; it is the working
    folder.
    """
    for name, rows, seed in (("q", 40, 1), ("g", 110, 2), ("old", 40, 3)):
        np.save(tmp_path / f"{name}.npy", toy.circle(np.arange(rows) % 5, seed, 0.4))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def killed_at(moment, name, *args):
    """Run a tool in a forked process that SIGKILLs itself when it is about to touch a file for the
    nth time.

    Returns how it ended (0 or minus the signal) and, for a run to its end, how many such moments
    there were.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        count = 0

        def count_down(frame, event, called):
            nonlocal count
            if event == "c_call" and called.__name__ in MOMENTS:
                count += 1
                if count == moment:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.argv = [name, *args]
            sys.stdout = open(os.devnull, "w")
            sys.setprofile(count_down)
            runpy.run_path(str(ROOT / "tools" / name), run_name="__main__")
        except SystemExit as end:
            sys.setprofile(None)
            os.write(writer, str(count).encode())
            os._exit(int(end.code or 0))
        finally:
            os._exit(99)
    os.close(writer)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with os.fdopen(reader) as file:
        return ended, int(file.read() or 0)


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def calls(options):
    """What seek_files takes: search, enhance and re-rank call strings of a command."""
    pairs = list(zip(options[::2], options[1::2], strict=True))
    return (
        next(value for key, value in pairs if key == "--search"),
        *([value for key, value in pairs if key == which] for which in ("--enhance", "--rerank")),
    )


def clear(home, keep):
    for path in sorted(home.rglob("*"), reverse=True):
        if path.is_file() and path.name not in keep:
            path.unlink()


@pytest.mark.parametrize("kind", sorted(SEARCHES))
def test_a_search_killed_at_any_moment_leaves_whole_files_and_ends_in_the_same_bytes(home, kind):
    if kind in ("ivf", "hnsw", "rabitq"):
        pytest.importorskip("faiss")
    search.seek_files("q.npy", "g.npy", "warm.npz", *calls(SEARCHES[kind]))
    clear(home, {"q.npy", "g.npy", "old.npy"})
    inputs = set(files(home))
    assert (
        killed_at(0, "search.py", "--queries", "old.npy", "--gallery", "g.npy", "--out", "r.npz")[0]
        == 0
    )
    earlier = (home / "r.npz").read_bytes()
    command = [
        "search.py",
        "--queries",
        "q.npy",
        "--gallery",
        "g.npy",
        *SEARCHES[kind],
        "--out",
        "r.npz",
    ]
    ended, moments = killed_at(0, *command)
    assert ended == 0 and moments > 10
    whole = files(home)
    assert whole["r.npz"] != earlier and not [name for name in whole if ".tmp-" in name]
    for moment in range(1, moments + 1, max(1, moments // 10)):
        clear(home, inputs)
        (home / "r.npz").write_bytes(earlier)
        assert killed_at(moment, *command)[0] == -signal.SIGKILL
        assert (home / "r.npz").read_bytes() in (earlier, whole["r.npz"]), moment
        for name, content in files(home).items():
            # What lies in a folder of parts counts for nothing, and the next build removes it.
            passing = ".tmp-" in name or ".parts/" in name
            assert name in inputs or passing or content in (earlier, whole[name]), (moment, name)
        assert killed_at(0, *command)[0] == 0
        assert files(home) == whole, moment


@pytest.mark.parametrize(
    "name, args",
    [
        (
            "fuse.py",
            ["--rankings", "a.npz", "b.npz", "--fuse", "reciprocal_rank()", "--out", "out"],
        ),
        (
            "submit.py",
            [
                "gldv2-retrieval",
                "--ranking",
                "a.npz",
                "--ids-of-queries",
                "q.txt",
                "--ids-of-gallery",
                "g.txt",
                "--out",
                "out",
            ],
        ),
    ],
)
def test_fusing_and_submitting_killed_at_any_moment_lose_nothing(home, name, args):
    for ranking, queries in (("a.npz", "q.npy"), ("b.npz", "old.npy"), ("c.npz", "old.npy")):
        killed_at(0, "search.py", "--queries", queries, "--gallery", "g.npy", "--out", ranking)
    for side, rows in (("q", 40), ("g", 110)):
        (home / f"{side}.txt").write_text("".join(f"{side}{row}\n" for row in range(rows)))
    # of the kind that the command writes, which it replaces
    earlier = b"id,images\n" if name == "submit.py" else (home / "c.npz").read_bytes()
    inputs = set(files(home))
    ended, moments = killed_at(0, name, *args)
    assert ended == 0
    whole = files(home)
    assert whole["out"] != earlier
    for moment in range(1, moments + 1, max(1, moments // 6)):
        clear(home, inputs)
        (home / "out").write_bytes(earlier)
        assert killed_at(moment, name, *args)[0] == -signal.SIGKILL
        assert (home / "out").read_bytes() in (earlier, whole["out"])
        assert killed_at(0, name, *args)[0] == 0
        assert files(home) == whole, moment


@pytest.mark.parametrize("seconds", [0.1, 0.2])
def test_a_search_killed_from_outside_at_any_time_ends_in_the_same_bytes(home, seconds):
    """landmark row 40."""
    np.save(home / "g.npy", toy.circle(np.arange(8000) % 50, 2, 0.4, 64))
    np.save(home / "q.npy", toy.circle(np.arange(1500) % 50, 1, 0.4, 64))
    command = [
        "search.py",
        "--queries",
        "q.npy",
        "--gallery",
        "g.npy",
        "--search",
        "sharded('exact(k=100)', rows=1000, folder='runs')",
        "--out",
        "r.npz",
    ]
    child = processes.start(*command, cwd=home)
    time.sleep(seconds)
    child.kill()
    child.wait()
    if (home / "r.npz").exists():
        Ranking.load(home / "r.npz")
    assert processes.run(*command, cwd=home).returncode == 0
    restarted = files(home)
    clear(home, {"q.npy", "g.npy", "old.npy"})
    assert processes.run(*command, cwd=home).returncode == 0
    assert files(home) == restarted and not [name for name in restarted if ".tmp-" in name]


@pytest.mark.parametrize("step", ["create", "upsert"])
def test_a_search_in_a_database_killed_after_a_step_goes_on_from_there(home, step):
    pytest.importorskip("milvus_lite")
    deadly = (
        "import os, signal\nfrom fastseek.search._milvus_store import MilvusStore as"
        f" store\nwork = store.{step}\nstore.{step} = lambda *args: (work(*args),"
        " os.kill(os.getpid(), signal.SIGKILL))"
    )
    command = [
        "search.py",
        "--queries",
        "q.npy",
        "--gallery",
        "g.npy",
        "--search",
        "milvus(k=20, uri='m.db')",
        "--out",
        "r.npz",
    ]

    def ended(code=None):
        return processes.run(*command, code=code, cwd=home).returncode

    assert ended(deadly) == -signal.SIGKILL and not (home / "r.npz").exists()
    assert ended() == 0
    search.seek_files("q.npy", "g.npy", "exact.npz", "exact(k=20)")
    found, exact = Ranking.load(home / "r.npz"), Ranking.load(home / "exact.npz")
    np.testing.assert_array_equal(found.indices, exact.indices)
    np.testing.assert_array_equal(found.scores, exact.scores)
    before = (home / "r.npz").read_bytes()
    assert ended() == 0 and (home / "r.npz").read_bytes() == before


def test_embeddings_killed_while_they_are_written_are_whole_or_none(home):
    gallery = Embeddings.load(home / "g.npy")
    gallery.save(home / "whole", rows=30)

    def save(moment):
        child = os.fork()
        if not child:
            count = 0

            def count_down(frame, event, called):
                nonlocal count
                count += event == "c_call" and called.__name__ in MOMENTS
                if moment and count == moment:
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.setprofile(count_down)
            gallery.save(home / "e", rows=30)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    for moment in (1, 3, 8, 15, 24, 33, 42):
        assert save(moment) == -signal.SIGKILL
        with pytest.raises(DataError, match="manifest.json: cannot be read"):
            Embeddings.load(home / "e")
        assert save(0) == 0
        assert files(home / "e") == files(home / "whole")
