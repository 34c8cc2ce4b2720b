"""What a command reads it does not write over, and what is wrong in it is told by the file's
name.
"""

import os
import pathlib
import runpy
import sys

import numpy as np
import pytest

import toy
from fastseek.structures import Embeddings, Ranking

ROOT = pathlib.Path(__file__).parents[2]
SEARCH = ["search.py", "--queries", "q.npy", "--gallery", "g.npy", "--out", "new.npz"]
NAMES = ["--ids-of-queries", "qn.txt", "--ids-of-gallery", "gn.txt"]
RECOGNISE = [
    "recognise.py",
    "--queries",
    "e",
    "--reference",
    "g.npy",
    "--labels",
    "rl.csv",
    "--non-landmarks",
    "q.npy",
]
BLEND = ["blend.py", "--probabilities", "p", "--truth", "t.csv", "--figures", "top(1)"]
SHOW = ["report.py", "--ranking", "r.npz", "--truth", "t.csv"]
COMPARE = ["score.py", "compare", "r.npz", "r2.npz", "--truth", "t.csv", "--metric", "map()"]
DIGIX = [
    "score.py",
    "digix",
    "--predictions",
    "s.csv",
    "--queries",
    "qn.txt",
    "--gallery",
    "gn.txt",
]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A small search of every kind of file; it is the working folder."""
    monkeypatch.chdir(tmp_path)
    labels = {"q": np.arange(6) % 3, "g": np.arange(12) % 3}
    for seed, (name, numbers) in enumerate(labels.items()):
        np.save(f"{name}.npy", toy.circle(numbers, seed))
        pathlib.Path(f"{name}n.txt").write_text(
            "".join(f"{name}{row}.jpg,{n}\n" for row, n in enumerate(numbers))
        )
    Embeddings.load("q.npy").save("e")
    Embeddings(["0", "1"], np.full((2, 2), 0.5, np.float32), {"classes": ["a", "b"]}).save("p")
    rows = [
        f"{row},c{n},{split}"
        for split, side in (("query", "q"), ("gallery", "g"))
        for row, n in enumerate(labels[side])
    ]
    pathlib.Path("t.csv").write_text("\n".join(["id,label,split", *rows]) + "\n")
    pathlib.Path("rl.csv").write_text(
        "id,landmark_id\n" + "".join(f"{row},{n}\n" for row, n in enumerate(labels["g"]))
    )
    pathlib.Path("s.csv").write_text("".join(f"q{row}.jpg,{{g{row}.jpg}}\n" for row in range(6)))
    for name in ("r.npz", "r2.npz"):
        Ranking(
            *(np.arange(count).astype(str) for count in (6, 12)),
            np.tile(np.arange(12), (6, 1)),
            np.tile(-np.arange(12.0), (6, 1)),
        ).save(name)
    pathlib.Path("results.json").write_text('{"rows": [{"name": "one", "metrics": {"gap": 0.5}}]}')
    pathlib.Path("c.yaml").touch()
    os.symlink("g.npy", "link.npy")
    os.symlink("e", "linked")
    return tmp_path


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def ended(capsys, name, *args):
    """The exit code of a tool and what it told on stderr."""
    before, sys.argv = sys.argv, [name, *args]
    try:
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / "tools" / name), run_name="__main__")
    finally:
        sys.argv = before
    return left.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        [*SEARCH, "--out", "g.npy"],
        [*SEARCH, "--out", "link.npy"],
        [*SEARCH, "--gallery", "link.npy", "--out", "g.npy"],
        [*SEARCH, "--queries", "e", "--out", "e/r.npz"],
        [*SEARCH, "--queries", "e", "--out", "linked/00000.ids.npy"],
        [*SEARCH, "--enhance", "pca(dim=4, save='g.npy')"],
        [*SEARCH, "--enhance", "pca(4, False, 'gallery', './q.npy')"],
        [*SEARCH, "--search", "faiss_hnsw(k=5, file='g.npy')"],
        [*SEARCH, "--search", "sharded(rows=4, folder='e')", "--queries", "e"],
        [*SEARCH, "--search", "sharded(\"faiss_hnsw(k=5, file='q.npy')\", rows=20)"],
        [*SEARCH, "--rerank", "non_landmark(reference='e')", "--out", "e/r.npz"],
        [*SEARCH, "--enhance", "center(save='new.npz')"],
        [*SEARCH, "--search", "faiss_hnsw(k=5, file='i')", "--out", "i.json"],
        [
            "score.py",
            "ranking",
            "--ranking",
            "r.npz",
            "--truth",
            "t.csv",
            "--metrics",
            "recall(1)",
            "--json",
            "t.csv",
        ],
        [*COMPARE, "--json", "r2.npz"],
        [*COMPARE, "--out", "t.csv"],
        [*DIGIX, "--json", "s.csv"],
        ["fuse.py", "--rankings", "r.npz", "r2.npz", "--fuse", "vote()", "--out", "r2.npz"],
        [*SHOW, "--out", "r.npz"],
        [*SHOW, "--results", "results.json", "--out", "results.json"],
        ["submit.py", "digix", "--ranking", "r.npz", *NAMES, "--out", "gn.txt"],
        [*RECOGNISE, "--out", "rl.csv"],
        [*RECOGNISE, "--out", "e/manifest.json"],
        [*BLEND, "--out", "p"],
        [*BLEND, "--json", "t.csv"],
        ["audit.py", "disagreement", "--rankings", "r.npz", "r2.npz", "--out", "r.npz"],
        [
            "audit.py",
            "clean",
            "--ranking",
            "r.npz",
            "--labels",
            "rl.csv",
            "--images",
            ".",
            "--out",
            "rl.csv",
        ],
        ["audit.py", "noise", "--images", "t.csv", "--out", "t.csv"],
        [
            "subjects.py",
            "--config-file",
            "c.yaml",
            "--weights",
            "w.pth",
            "--ranking",
            "r.npz",
            "--queries",
            "t.csv",
            "--gallery",
            "e",
            "--out",
            "r.npz",
        ],
        ["export.py", "--config-file", "c.yaml", "--weights", "g.npy", "--out", "g.npy"],
    ],
    ids=" ".join,
)
def test_an_output_that_is_an_input_is_refused_and_everything_stays_as_it_was(
    home, capsys, command
):
    before = files(home)
    code, told = ended(capsys, *command)
    assert code == 2 and told.endswith("is an input of this command, name another file\n"), told
    assert files(home) == before


@pytest.mark.parametrize(
    "command",
    [
        [
            *SEARCH,
            "--enhance",
            "pca(dim=4, save='fit.safetensors')",
            "--search",
            "sharded(rows=4, folder='runs')",
            "--out",
            "runs/r.npz",
        ],
        [*RECOGNISE, "--out", "near/e"],
        [*SHOW, "--out", "p.html", "--images", "."],
    ],
    ids=" ".join,
)
def test_an_output_beside_the_inputs_is_written(home, capsys, command):
    before = files(home)
    assert ended(capsys, *command) == (0, "")
    assert files(home).items() > before.items()


@pytest.mark.parametrize(
    "command",
    [
        [
            "score.py",
            "ranking",
            "--ranking",
            "twice.npz",
            "--truth",
            "t.csv",
            "--metrics",
            "recall(1)",
        ],
        ["score.py", "compare", "r.npz", "twice.npz", "--truth", "t.csv", "--metric", "map()"],
        ["report.py", "--ranking", "twice.npz", "--truth", "t.csv", "--out", "p.html"],
        ["fuse.py", "--rankings", "r.npz", "twice.npz", "--fuse", "vote()", "--out", "f.npz"],
        ["submit.py", "digix", "--ranking", "twice.npz", *NAMES, "--out", "d.csv"],
    ],
    ids=lambda command: command[0],
)
def test_a_ranking_that_is_wrong_inside_is_told_by_its_name(home, capsys, command):
    with np.load("r.npz") as file:
        np.savez("twice.npz", **{**file, "indices": np.zeros((6, 12), np.int64)})
    code, told = ended(capsys, *command)
    assert code == 3 and told.startswith(
        "error: twice.npz: query '0' lists a gallery image twice"
    ), told


@pytest.mark.parametrize("wrong", ["q.npy", "g.npy"])
@pytest.mark.parametrize(
    ("value", "options"),
    [
        (np.nan, []),
        (np.nan, ["--enhance", "center()"]),
        (0, []),
        (1e30, ["--search", "exact(metric='l2')"]),
    ],
)
def test_a_vector_that_cannot_be_used_is_told_with_its_file(home, capsys, wrong, value, options):
    vectors = np.load(wrong)
    vectors[3] = value
    np.save(wrong, vectors)
    code, told = ended(capsys, *SEARCH, *options)
    assert code == 3 and told.startswith(f"error: {wrong}: ") and "'3'" in told, told


@pytest.mark.parametrize("kind", ["digix", "gldv2-retrieval", "gldv2-recognition"])
def test_a_submission_without_a_query_is_refused(home, capsys, kind):
    header = {"digix": "", "gldv2-retrieval": "id,images\n", "gldv2-recognition": "id,landmarks\n"}[
        kind
    ]
    pathlib.Path("empty.csv").write_text(header)
    assert ended(capsys, "submit.py", "check", "--kind", kind, "--file", "empty.csv") == (
        3,
        "error: empty.csv: holds no query, so there is nothing to hand in\n",
    )


@pytest.mark.parametrize("name", ["1.5", " 1_0", "12345678901234567890", "tower"])
def test_a_landmark_that_is_no_whole_number_is_told_with_its_line_whoever_is_predicted(
    home, capsys, name
):
    with open("rl.csv", "a") as file:
        file.write(f"nobody,{name}\n")
    code, told = ended(capsys, *RECOGNISE, "--out", "out.csv")
    assert code == 3 and told.startswith("error: rl.csv:14: landmark must be a whole number"), told
    assert not pathlib.Path("out.csv").exists()


@pytest.mark.parametrize(
    "row",
    [
        "5",
        "[1]",
        '{"x": "y"}',
        '{"name": "a", "metrics": 5}',
        '{"name": "a", "metrics": [1]}',
        '{"name": "a", "metrics": {"x": "y"}}',
        '{"name": "a", "metrics": {"x": NaN}}',
        '{"name": "a", "metrics": {"x": 0.5}, "seconds": "x"}',
        '{"name": "a", "metrics": {"x": 0.5}, "seconds": []}',
    ],
)
def test_a_results_file_with_a_row_of_another_kind_is_named(home, capsys, row):
    pathlib.Path("results.json").write_text(f'{{"rows": [{row}]}}')
    code, told = ended(capsys, *SHOW, "--results", "results.json", "--out", "p.html")
    assert code == 3 and told.startswith("error: results.json: no results.json"), told


def test_json_nested_beyond_all_measure_is_named(home, capsys):
    pathlib.Path("deep.json").write_text("[" * 100_000)
    command = [
        "score.py",
        "revisited",
        "--ranking",
        "r.npz",
        "--gnd",
        "deep.json",
        "--protocol",
        "easy",
    ]
    code, told = ended(capsys, *command)
    assert (
        code == 3 and told.startswith("error: deep.json: not a JSON file") and told.count("\n") == 1
    )
