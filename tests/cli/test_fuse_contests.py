"""tools/fuse.py and the contest commands of tools/score.py as a user starts them, without what
training needs.
"""

import json
import pathlib
import pickle

import numpy as np
import pytest

import processes

ROOT = pathlib.Path(__file__).parents[2]


def tool(name, *args, cwd):
    return processes.run(name, *args, cwd=cwd, forbidden=processes.TRAINING)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two rankings without our names in them, their truth, and contest files."""
    home = tmp_path_factory.mktemp("home")
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 40)
    ids = {"query_ids": [f"q{n}" for n in range(10)], "gallery_ids": [f"g{n}" for n in range(30)]}
    for name in ("a", "b"):
        scores = random.normal(size=(10, 30)) + 2 * (labels[:10, None] == labels[None, 10:])
        order = np.argsort(-scores, axis=1)
        np.savez(
            home / f"{name}.npz",
            **ids,
            indices=order,
            scores=np.take_along_axis(scores, order, axis=1),
        )
    names = [*ids["query_ids"], *ids["gallery_ids"]]
    rows = [
        f"{name},c{label},{'query' if name[0] == 'q' else 'gallery'}"
        for name, label in zip(names, labels, strict=True)
    ]
    (home / "t.csv").write_text("\n".join(["id,label,split", *rows]) + "\n")
    (home / "rec_s.csv").write_text("id,landmarks,Usage\nx,1,Public\ny,2,Public\n")
    (home / "rec_p.csv").write_text("id,landmarks\nx,1 0.9\ny,3 0.5\n")
    (home / "ret_s.csv").write_text("id,images,Usage\nx,a b,Private\n")
    (home / "ret_p.csv").write_text("id,images\nx,a z b\n")
    gnd = {
        "imlist": [f"im{n}" for n in range(30)],
        "qimlist": [f"q{n}" for n in range(10)],
        "gnd": [{"bbx": [0, 0, 9, 9], "easy": [n], "hard": [n + 1], "junk": []} for n in range(10)],
    }
    (home / "gnd.pkl").write_bytes(pickle.dumps(gnd))
    np.savez(
        home / "rows.npz",
        query_ids=[str(n) for n in range(10)],
        gallery_ids=[str(n) for n in range(30)],
        indices=np.stack([np.roll(np.arange(30), -n) for n in range(10)]),
        scores=np.tile(-np.arange(30.0), (10, 1)),
    )
    return home


def printed(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_two_rankings_are_fused_and_scored(home):
    done = tool(
        "fuse.py",
        "--rankings",
        "a.npz",
        "b.npz",
        "--fuse",
        "distance_average(scale='zscore')",
        "--out",
        "f.npz",
        cwd=home,
    )
    assert done.returncode == 0 and "2 rankings of 10 queries, 30 images each: f.npz" in done.stdout
    scores = [
        printed(
            tool(
                "score.py",
                "ranking",
                "--ranking",
                name,
                "--truth",
                "t.csv",
                "--metrics",
                "map()",
                "--json",
                "-",
                cwd=home,
            )
        )["map"]
        for name in ("a.npz", "b.npz", "f.npz")
    ]
    assert scores[2] > max(scores[:2])


def test_weights_are_tuned_from_the_command_line(home):
    done = tool(
        "fuse.py",
        "--rankings",
        "a.npz",
        "b.npz",
        "--fuse",
        "vote(depth=9)",
        "--tune",
        "map(9)",
        "--truth",
        "t.csv",
        "--out",
        "tuned.npz",
        cwd=home,
    )
    assert done.returncode == 0 and "weights" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        (["--rankings", "a.npz", "--fuse", "vot()"], 2, "did you mean 'vote'"),
        (["--rankings", "a.npz", "--fuse", "vote(depth=0)"], 2, "depth must be"),
        (["--rankings", "a.npz", "none.npz", "--fuse", "vote()"], 3, "none.npz: no such file"),
        (["--rankings", "a.npz", "rows.npz", "--fuse", "vote()"], 5, "rows.npz does not fit a.npz"),
        (["--rankings", "a.npz", "t.csv", "--fuse", "vote()"], 5, "t.csv: not a whole .npz file"),
        (
            ["--rankings", "a.npz", "--fuse", "vote()", "--tune", "map()"],
            2,
            "both a metric and the truth",
        ),
    ],
)
def test_a_fault_in_fusing_is_told_with_its_exit_code(home, arguments, code, said):
    done = tool("fuse.py", *arguments, "--out", "no.npz", cwd=home)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert not (home / "no.npz").exists()


def test_contest_files_are_scored_as_json(home):
    found = printed(
        tool(
            "score.py",
            "gldv2-recognition",
            "--predictions",
            "rec_p.csv",
            "--solution",
            "rec_s.csv",
            "--json",
            "-",
            cwd=home,
        )
    )
    assert list(found.pop("protocol")) == ["gap", "gap(ignore_empty=True)", "top1"]
    assert found == {"gap": 0.5, "gap(ignore_empty=True)": 0.5, "top1": 0.5}
    found = printed(
        tool(
            "score.py",
            "gldv2-retrieval",
            "--predictions",
            "ret_p.csv",
            "--solution",
            "ret_s.csv",
            "--json",
            "-",
            cwd=home,
        )
    )
    assert found["map(100)"] == pytest.approx((1 + 2 / 3) / 2)


def test_a_ranking_of_row_numbers_is_scored_by_the_ground_truth(home):
    common = ["revisited", "--ranking", "rows.npz", "--gnd", "gnd.pkl", "--json", "-"]
    assert (
        printed(tool("score.py", *common, "--protocol", "hard", cwd=home))["revisited_map"] == 1.0
    )
    assert (
        printed(tool("score.py", *common, "--protocol", "medium", cwd=home))["revisited_mp(10)"]
        == 1.0
    )
    done = tool(
        "score.py",
        *common[:-2],
        "--protocol",
        "easy",
        "--crop",
        "yes",
        "--json",
        "out.json",
        cwd=home,
    )
    assert (
        "revisited_map" in done.stdout
        and json.loads((home / "out.json").read_text())["revisited_map"] == 1.0
    )


def test_two_rankings_are_compared_with_a_page(home):
    done = tool(
        "score.py",
        "compare",
        "a.npz",
        "b.npz",
        "--truth",
        "t.csv",
        "--metric",
        "map()",
        "recall(1)",
        "--out",
        "page.html",
        cwd=home,
    )
    assert done.returncode == 0 and "losses" in done.stdout, done.stderr
    assert "What got worse from A to B" in (home / "page.html").read_text()
    found = printed(
        tool(
            "score.py",
            "compare",
            "a.npz",
            "b.npz",
            "--truth",
            "t.csv",
            "--metric",
            "map()",
            "--json",
            "-",
            cwd=home,
        )
    )["map"]
    assert found["wins"] + found["losses"] + found["ties"] == 10


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        (
            ["gldv2-recognition", "--predictions", "ret_p.csv", "--solution", "rec_s.csv"],
            3,
            "ret_p.csv:1: the header must",
        ),
        (
            ["gldv2-retrieval", "--predictions", "ret_p.csv", "--solution", "rec_s.csv"],
            3,
            "rec_s.csv:1: the header must",
        ),
        (
            ["revisited", "--ranking", "a.npz", "--gnd", "gnd.pkl", "--protocol", "easy"],
            5,
            "not of this benchmark",
        ),
        (
            ["revisited", "--ranking", "rows.npz", "--gnd", "t.csv", "--protocol", "easy"],
            3,
            "not a pickle",
        ),
        (
            ["revisited", "--ranking", "rows.npz", "--gnd", "gnd.pkl", "--protocol", "E"],
            2,
            "invalid choice",
        ),
        (
            ["compare", "a.npz", "b.npz", "--truth", "t.csv", "--metric", "gap()"],
            2,
            "no mean over queries",
        ),
        (
            ["compare", "a.npz", "rows.npz", "--truth", "t.csv", "--metric", "map()"],
            5,
            "ranking lacks 10 of 10 queries",
        ),
    ],
)
def test_a_fault_in_scoring_is_told_with_its_exit_code(home, arguments, code, said):
    done = tool("score.py", *arguments, cwd=home)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr
