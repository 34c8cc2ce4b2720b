"""tools/report.py as a user starts it, without torch and fast-reid."""

import json
import pathlib
import re

import numpy as np
import pytest

import processes
import toy
from fastseek.cli import call_verb
from fastseek.cli._report import Shown, show_files
from fastseek.errors import DataError, UsageError
from fastseek.structures import Ranking

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path):
    rows = ["id,label,split"]
    for split, count in (("query", 3), ("gallery", 6)):
        for number in range(count):
            name = f"{split}/{number}.jpg"
            (tmp_path / split).mkdir(exist_ok=True)
            toy.photo(number % 3, number).save(tmp_path / name)
            rows.append(f"{name},class {number % 3},{split}")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    ids = [
        [row.split(",")[0] for row in rows if row.endswith(split)] for split in ("query", "gallery")
    ]
    scores = np.tile(np.linspace(1, 0.5, 6), (3, 1))
    Ranking(*ids, np.tile(np.arange(6), (3, 1)), scores, {"search": "exact(k=6)"}).save(
        tmp_path / "r.npz"
    )
    return tmp_path


def run(home, *args):
    return processes.run("report.py", *args, cwd=home, forbidden=processes.TRAINING)


def test_one_command_makes_the_page(home):
    done = run(
        home,
        "--ranking",
        "r.npz",
        "--truth",
        "t.csv",
        "--out",
        "new/p.html",
        "--images",
        home,
        "--title",
        "Mine",
    )
    assert (done.returncode, done.stderr) == (0, "")
    text = (home / "new" / "p.html").read_text()
    assert "<h1>Mine</h1>" in text and text.count("data:image/jpeg") == 9 and 'absent"' not in text
    assert all(f"<h2>{name}</h2>" in text for name in ("recall(1)", "map(6)", "gap"))


def test_without_a_truth_the_page_shows_the_answers_and_marks_none(home):
    done = run(home, "--ranking", "r.npz", "--out", "p.html", "--images", home)
    assert (done.returncode, done.stderr) == (0, "")
    text = (home / "p.html").read_text()
    assert text.count("data:image/jpeg") == 9 and "recall" not in text
    assert len(re.findall('<li class="case', text)) == 3 and set(
        re.findall(r'data-mark="(\w*)"', text)
    ) == {""}


@pytest.mark.parametrize("option", ["--metrics", "--order", "--results"])
def test_without_a_truth_figures_are_refused(home, option):
    with pytest.raises(UsageError, match=f"{option} needs --truth"):
        given = ["--ranking", str(home / "r.npz"), "--out", str(home / "p.html"), option, "map(10)"]
        call_verb("report", given)
    assert not (home / "p.html").exists()


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["--truth", "gone.csv"], 3, "gone.csv"),
        (["--ranking", "gone.npz"], 3, "gone.npz"),
        (["--metrics", "no_such"], 2, "no_such"),
        (["--depth", "0"], 2, "--depth"),
        (["--ranking", "t.csv"], 5, "t.csv"),
    ],
)
def test_what_is_wrong_is_told_by_the_exit_code_and_one_line(home, args, code, told):
    done = run(home, "--ranking", "r.npz", "--truth", "t.csv", "--out", "p.html", *args)
    assert done.returncode == code and told in done.stderr and "Traceback" not in done.stderr
    assert not (home / "p.html").exists()


def marks(page):
    """For every query by id: the ids that were found with their marks and scores."""
    found = {}
    for card in page.read_text().split('<li class="case"')[1:]:
        asked, *answers = re.findall(r'data-id="([^"]+)"', card.split('<ol class="rest"')[0])
        found[asked] = list(
            zip(answers, re.findall(r'data-mark="(\w+)" data-score="([^"]+)"', card), strict=False)
        )
    return found


def test_the_order_of_the_truth_changes_no_mark(home):
    show_files(home / "r.npz", home / "t.csv", home / "one.html", [home])
    head, *rows = (home / "t.csv").read_text().splitlines()
    (home / "t.csv").write_text("\n".join([head, *rows[::-1]]) + "\n")
    show_files(home / "r.npz", home / "t.csv", home / "two.html", [home])
    first, second = marks(home / "one.html"), marks(home / "two.html")
    assert first == second and len(first) == 3
    assert first["query/1.jpg"][1] == ("gallery/1.jpg", ("right", "0.900"))


def test_steps_come_from_a_results_file(home):
    rows = [
        {"name": "before", "metrics": {"gap": 0.25}},
        {"name": "after", "metrics": {"gap": 0.5}},
    ]
    (home / "results.json").write_text(json.dumps({"rows": rows, "commit": "", "seed": 0}))
    show_files(
        home / "r.npz",
        home / "t.csv",
        home / "p.html",
        results=home / "results.json",
        shown=Shown(order="map(2)"),
    )
    text = (home / "p.html").read_text()
    assert "Step by step" in text and "+25.0" in text and "by map(2)" in text
    (home / "results.json").write_text("[1]")
    with pytest.raises(DataError, match="no results.json"):
        show_files(home / "r.npz", home / "t.csv", home / "p.html", results=home / "results.json")


def test_gap_cannot_order_the_queries(home):
    with pytest.raises(DataError, match="no mean"):
        show_files(home / "r.npz", home / "t.csv", home / "p.html", shown=Shown(order="gap()"))
    with pytest.raises(UsageError):
        show_files(home / "r.npz", home / "t.csv", home / "p.html", shown=Shown(order="nothing()"))


def test_a_folder_of_images_that_is_not_there_is_named(home):
    files = (home / "r.npz", home / "t.csv", home / "p.html")
    assert show_files(*files, images=[home]) == f"page: {home / 'p.html'}"
    told = show_files(*files, images=[home, home / "nowhere"])
    assert told == f"page: {home / 'p.html'} (no such folder of images: {home / 'nowhere'})"


def test_images_of_bare_vectors_are_not_looked_for_in_their_file(tmp_path, capsys):
    np.save(tmp_path / "g.npy", np.eye(3, dtype=np.float32))
    sides = ["--queries", str(tmp_path / "g.npy"), "--gallery", str(tmp_path / "g.npy")]
    call_verb("search", [*sides, "--out", str(tmp_path / "r.npz")])
    call_verb("report", ["--ranking", str(tmp_path / "r.npz"), "--out", str(tmp_path / "p.html")])
    assert capsys.readouterr().out.splitlines()[-1] == f"page: {tmp_path / 'p.html'}"
