"""The two tools as a user starts them: another folder, a bare environment, exit codes."""

import json
import os
import pathlib

import numpy as np
import pytest

import processes
from fastseek.structures import Embeddings

ROOT = pathlib.Path(__file__).parents[2]


def tool(name, *args, cwd):
    return processes.run(name, *args, cwd=cwd, forbidden=processes.TRAINING)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 40)
    vectors = (random.normal(size=(4, 8))[labels] + 0.2 * random.normal(size=(40, 8))).astype(
        np.float32
    )
    np.save(home / "q.npy", vectors[:8])
    np.save(home / "g.npy", vectors[8:])
    rows = [
        f"{n if n < 8 else n - 8},c{label},{'query' if n < 8 else 'gallery'}"
        for n, label in enumerate(labels)
    ]
    (home / "t.csv").write_text("\n".join(["id,label,split", *rows]) + "\n")
    return home


def test_search_and_score_run_anywhere_without_torch_fastreid_and_faiss(home):
    done = tool(
        "search.py",
        "--queries",
        "q.npy",
        "--gallery",
        "g.npy",
        "--search",
        "exact(k=32)",
        "--enhance",
        "aqe(k=3)",
        "--rerank",
        "k_reciprocal(k1=5)",
        "--rerank",
        "k_reciprocal(k1=4)",
        "--out",
        "r.npz",
        cwd=home,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    done = tool(
        "score.py",
        "ranking",
        "--ranking",
        "r.npz",
        "--truth",
        "t.csv",
        "--metrics",
        "map(100)",
        "recall(1, 10)",
        "gap()",
        "--json",
        "-",
        cwd=home,
    )
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert (
        list(values) == ["map(100)", "recall(1)", "recall(10)", "gap", "protocol"]
        and values["recall(1)"] == 1
    )


@pytest.mark.parametrize(
    ("name", "args", "code", "told"),
    [
        (
            "search.py",
            ["--queries", "q.npy", "--gallery", "g.npy", "--search", "exat()", "--out", "x.npz"],
            2,
            "exact",
        ),
        ("search.py", ["--queries", "q.npy", "--out", "x.npz"], 2, "--gallery"),
        (
            "search.py",
            ["--queries", "none.npy", "--gallery", "g.npy", "--out", "x.npz"],
            3,
            "none.npy",
        ),
        (
            "search.py",
            ["--queries", "cut.npy", "--gallery", "g.npy", "--out", "x.npz"],
            5,
            "cut.npy",
        ),
        (
            "search.py",
            ["--queries", "wide.npy", "--gallery", "g.npy", "--out", "x.npz"],
            5,
            "9 dim",
        ),
        (
            "search.py",
            ["--queries", "bare.npy", "--gallery", "g.npy", "--out", "x.npz"],
            3,
            "bare.npy: holds no embedd",
        ),
        (
            "search.py",
            ["--queries", "q.npy", "--gallery", "bare.npy", "--out", "x.npz"],
            3,
            "bare.npy: holds no embedd",
        ),
        (
            "search.py",
            ["--queries", "q.npy", "--gallery", "empty", "--out", "x.npz"],
            3,
            "empty: holds no embeddings",
        ),
        (
            "search.py",
            ["--queries", "q.npy", "--gallery", "g.npy", "--out", "/proc/none/x.npz"],
            2,
            "/proc/none",
        ),
        ("search.py", ["--queries", "q.npy", "--gallery", "g.npy", "--out", "."], 2, "no file"),
        (
            "search.py",
            ["--queries", "q.npy", "--gallery", "g.npy", "--out", "t.csv/x.npz"],
            2,
            "t.csv: cannot be written",
        ),
        (
            "search.py",
            ["--queries", "none.npy", "--gallery", "g.npy", "--out", "t.csv/x.npz"],
            2,
            "t.csv: cannot be writt",
        ),
        ("fuse.py", ["--rankings", "none.npz", "--fuse", "vote()", "--out", "."], 2, "no file"),
        (
            "report.py",
            ["--ranking", "none.npz", "--truth", "t.csv", "--out", "t.csv/p.html"],
            2,
            "t.csv: cannot be writt",
        ),
        (
            "recognise.py",
            [
                "--queries",
                "none.npy",
                "--reference",
                "g.npy",
                "--labels",
                "t.csv",
                "--non-landmarks",
                "g.npy",
                "--out",
                "t.csv/s.csv",
            ],
            2,
            "t.csv: cannot be written",
        ),
        (
            "score.py",
            [
                "compare",
                "none.npz",
                "none.npz",
                "--truth",
                "t.csv",
                "--metric",
                "map()",
                "--out",
                ".",
            ],
            2,
            "no f",
        ),
        (
            "score.py",
            ["ranking", "--ranking", "q.npy", "--truth", "t.csv", "--metrics", "gap()"],
            3,
            "indices",
        ),
        ("score.py", [], 2, "ranking"),
    ],
)
def test_failures_end_with_their_code_and_one_line(home, name, args, code, told):
    (home / "cut.npy").write_bytes((home / "q.npy").read_bytes()[:200])
    np.save(home / "wide.npy", np.ones((2, 9), np.float32))
    np.save(home / "bare.npy", np.ones((0, 8), np.float32))
    Embeddings([], np.ones((0, 8), np.float32)).save(home / "empty")
    done = tool(name, *args, cwd=home)
    assert done.returncode == code, done.stderr
    assert told in done.stderr and "Traceback" not in done.stderr
    assert not list(home.glob(".*tmp*")) and not (home / "x.npz").exists()


def test_an_output_whose_name_is_no_utf8_is_written_and_told(home):
    odd = os.fsdecode(b"x\xff.npz")
    done = tool("search.py", "--queries", "q.npy", "--gallery", "g.npy", "--out", odd, cwd=home)
    assert done.returncode == 0 and odd in done.stdout, done.stderr
    (home / odd).unlink()
