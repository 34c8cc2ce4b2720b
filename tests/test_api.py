"""The Python API: `import fastseek as fs`."""

import ast
import csv
import importlib
import inspect
import json
import os
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

import fastseek as fs
import toy
from fastseek import api
from fastseek.registry import registries
from fastseek.structures import GroundTruth

ROOT = pathlib.Path(__file__).parents[1]
OFFERED = [name for name in fs.__all__ if name not in ("__version__", "register")]
QUERY_LABELS, GALLERY_LABELS = np.arange(6) % 3, np.arange(24) % 3


@pytest.fixture
def sides():
    """Embeddings of 6 queries in a gallery of 24, of three classes."""
    return (
        fs.Embeddings([f"q{n}" for n in range(6)], toy.circle(QUERY_LABELS, 1, 0.4)),
        fs.Embeddings([f"g{n}" for n in range(24)], toy.circle(GALLERY_LABELS, 2, 0.4)),
    )


def run(code, folder):
    env = {**os.environ, "PYTHONPATH": str(ROOT / "plugins"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_import_loads_nothing_and_a_search_needs_no_torch(tmp_path):
    code = (
        "import sys, fastseek as fs\n"
        "assert not {'numpy', 'typing', 'fastseek.api'} & set(sys.modules)\n"
        "import numpy as np\n"
        "found = fs.search(np.eye(3), np.eye(3), k=1)\n"
        "assert not {'torch', 'fastreid', 'faiss', 'timm', 'jinja2', 'PIL'} & set(sys.modules)\n"
        "print(found.indices.ravel().tolist())\n"
    )
    assert run(code, tmp_path).split("\n")[-2] == "[0, 1, 2]"
    assert list(tmp_path.iterdir()) == []


def test_every_name_of_the_api_is_offered_by_the_package_and_documented():
    assert set(fs.__all__) <= set(dir(fs))
    for name in OFFERED:
        offered = getattr(fs, name)
        if name not in fs.VERBS:
            assert offered is getattr(api, name)
        assert inspect.getdoc(getattr(api, name)), name
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        _ = fs.serach


def test_what_is_offered_to_a_type_checker_is_what_is_there():
    source = (ROOT / "plugins" / "fastseek" / "__init__.py").read_text()
    checked = next(node for node in ast.parse(source).body if isinstance(node, ast.If)).body
    shown = {
        alias.name: f"fastseek.{node.module}"
        for node in checked
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    }
    assert set(shown) == {*OFFERED, "register"}
    for name in OFFERED:
        assert getattr(importlib.import_module(shown[name]), name) is getattr(api, name)


def test_a_room_of_parts_is_called_as_the_verb_of_its_name(sides):
    import fastseek.search
    from fastseek.search.exact import Exact

    assert fastseek.search is fs.search and fs.search.exact.Exact is Exact
    assert list(inspect.signature(fs.search).parameters)[:3] == ["queries", "gallery", "k"]
    assert np.array_equal(fs.search(*sides, 5).indices, Exact(5)(*sides).indices)


@pytest.mark.parametrize("name", fs.VERBS)
def test_help_on_a_verb_is_help_on_the_function_and_not_on_the_room_of_parts(name, capsys):
    help(getattr(fs, name))
    told = capsys.readouterr().out
    first = inspect.getdoc(getattr(api, name)).splitlines()[0]
    assert first in told and f"{name}(" in told.partition("Args:")[0]


def test_a_search_by_python_is_the_search_by_command(sides, tmp_path, monkeypatch):
    from fastseek import cli

    monkeypatch.chdir(tmp_path)
    for side, name in zip(sides, ("q", "g"), strict=True):
        side.save(name)
    line = "search --queries q --gallery g --search exact(k=9) --enhance center() --out r.npz"
    cli.call_verb("search", line.split()[1:])
    theirs = fs.Ranking.load("r.npz")
    for queries, gallery in (sides, ("q", pathlib.Path("g"))):
        ours = fs.search(queries, gallery, k=9, enhance="center()")
        assert np.array_equal(ours.indices, theirs.indices)
        assert np.array_equal(ours.scores, theirs.scores)
        assert ours.provenance["search"] == theirs.provenance["search"]


def test_k_is_said_once(sides):
    assert fs.search(*sides).indices.shape == (6, 24)
    for given in ({"k": 5}, {"search": "exact(5)"}, {"search": "exact(k=5)", "k": 5}):
        assert fs.search(*sides, **given).indices.shape == (6, 5)
    l2 = fs.search(*sides, k=5, search="exact(metric='l2')")
    assert l2.provenance["search"] == "exact(k=5, metric='l2')"
    with pytest.raises(fs.UsageError, match="say k once"):
        fs.search(*sides, k=4, search="exact(k=5)")


def test_reranking_at_once_and_afterwards_is_one(sides):
    calls = ["k_reciprocal(k1=4, k2=2)"]
    at_once = fs.search(*sides, rerank=calls)
    after = fs.rerank(fs.search(*sides), *sides, calls[0])
    assert np.array_equal(at_once.indices, after.indices)
    assert at_once.provenance["rerank"] == after.provenance["rerank"]


def test_a_ranking_fused_with_itself_is_the_ranking(sides):
    ranking = fs.search(*sides)
    assert np.array_equal(fs.fuse([ranking, ranking]).indices, ranking.indices)
    with pytest.raises(fs.UsageError, match="nothing to fuse"):
        fs.fuse([])


def test_arrays_are_searched_by_row_number_and_two_arrays_are_two_sets_of_images():
    queries, gallery = toy.circle(QUERY_LABELS, 1), toy.circle(GALLERY_LABELS, 2)
    before = gallery.copy()
    ranking = fs.search(queries.astype(np.float64), gallery, k=3)
    assert ranking.gallery_ids.tolist() == [str(n) for n in range(24)]
    truth = QUERY_LABELS.astype(str), GALLERY_LABELS.astype(str)
    [recall] = fs.evaluate(ranking, truth, "recall(1)")
    assert recall.value == 1 and recall.protocol["self_match"] == "none: ids of other roots"
    again = fs.search(gallery, gallery.copy(), k=3)
    [found] = fs.evaluate(again, (GALLERY_LABELS, GALLERY_LABELS), ["map(2)"])
    assert found.protocol["self_match"] == "junk"
    assert np.array_equal(before, gallery)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (np.zeros(4), fs.DataError),
        (np.zeros((3, 4), int), fs.DataError),
        ([[1.0, 2.0]], fs.UsageError),
        ("nowhere", fs.DataError),
        (None, fs.UsageError),
        (np.full((2, 8), np.nan), fs.DataError),
        (np.ones((2, 9)), fs.ArtefactError),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(given, error, sides):
    with pytest.raises(error) as caught:
        fs.search(given, sides[1])
    assert isinstance(caught.value, fs.FastSeekError)
    assert "\n" not in str(caught.value)


def test_arguments_of_a_wrong_type_are_refused_with_what_is_expected(sides):
    ranking = fs.search(*sides, k=np.int64(3))
    assert ranking.indices.shape == (6, 3)
    wrong = {
        "numpy.asarray": lambda: fs.Embeddings(["a", "b"], [[1, 2], [3, 4]]),
        "make it a numpy array": lambda: fs.search([[1.0, 2.0]], sides[1]),
        "call string": lambda: fs.rerank(ranking, *sides, None),
        "list of rankings": lambda: fs.fuse(ranking),
        "mapping id -> label": lambda: fs.evaluate(ranking, None),
        "path of a table": lambda: fs.adapt(sides[1], 5),
    }
    for told, call in wrong.items():
        with pytest.raises(fs.FastSeekError, match=told):
            call()


def test_a_truth_is_told_in_four_ways(sides, tmp_path):
    ranking = fs.search(*sides)
    labels = {f"q{n}": f"c{n % 3}" for n in range(6)} | {f"g{n}": f"c{n % 3}" for n in range(24)}
    table = tmp_path / "t.csv"
    table.write_text("id,label\n" + "".join(f"{name},{label}\n" for name, label in labels.items()))
    pair = [labels[f"q{n}"] for n in range(6)], [labels[f"g{n}"] for n in range(24)]
    made = GroundTruth.from_labels(ranking.query_ids, pair[0], ranking.gallery_ids, pair[1])
    values = {
        tuple(score.value for score in fs.evaluate(ranking, truth))
        for truth in (labels, table, str(table), pair, made)
    }
    assert len(values) == 1
    assert [score.name for score in fs.evaluate(ranking, labels)] == ["recall(1)", "map(24)", "gap"]
    del labels["g3"]
    with pytest.raises(fs.ArtefactError, match="'g3'"):
        fs.evaluate(ranking, labels)
    with pytest.raises(fs.ArtefactError, match="5 labels for 6 queries"):
        fs.evaluate(ranking, (pair[0][:5], pair[1]))


def test_rows_and_tables_tell_every_answer_and_the_files_that_are_there(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("sub/a.jpg", "=1+1.jpg"):
        (tmp_path / name).touch()
    ranking = fs.Ranking(
        ["q"],
        ["sub/a.jpg", "gone.jpg", "=1+1.jpg", "../outside.jpg"],
        np.array([[0, 2, 1, 3]]),
        np.array([[0.3, 0.2, 0.1, -0.5]], np.float32),
        {"gallery": {"root": str(tmp_path)}},
    )
    (tmp_path.parent / "outside.jpg").touch()
    rows = list(ranking.rows())
    assert [row.id for row in rows] == ["sub/a.jpg", "=1+1.jpg", "gone.jpg", "../outside.jpg"]
    assert [row.rank for row in rows] == [1, 2, 3, 4] and {row.query for row in rows} == {"q"}
    ranking.to_json(tmp_path / "r.json", labels={"gone.jpg": "lost"})
    ranking.to_json(tmp_path / "r.jsonl", labels={"gone.jpg": "lost"})
    told = json.loads((tmp_path / "r.json").read_text())
    assert told == [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    there = [str(tmp_path / "sub/a.jpg"), str(tmp_path / "=1+1.jpg"), "", ""]
    assert [row["path"] for row in told] == there
    assert [row["score"] for row in told] == [0.3, 0.2, 0.1, -0.5]
    assert [row["label"] for row in told] == ["", "", "lost", ""]
    ranking.to_csv(tmp_path / "r.csv")
    with open(tmp_path / "r.csv", newline="") as file:
        cells = list(csv.DictReader(file))
    assert list(cells[0]) == ["query", "rank", "id", "path", "score"]
    assert cells[1]["id"] == "'=1+1.jpg"


def test_the_parts_are_those_of_the_registries_and_listing_them_imports_none(tmp_path):
    code = (
        "import sys, fastseek as fs\n"
        "names = [part.name for part in fs.parts()]\n"
        "assert 'fastseek.search.exact' not in sys.modules and 'torch' not in sys.modules\n"
        "print(len(names))"
    )
    every = fs.parts()
    assert int(run(code, tmp_path)) == len(every) > 100
    kinds = registries()
    search = fs.parts("search")
    assert [part.name for part in search] == kinds["search"].names()
    assert {part.kind for part in every} == set(kinds)
    assert all(part.what.endswith(".") for part in search)
    exact = next(part for part in search if part.name == "exact")
    assert [str(one) for one in exact.arguments()][:2] == ["k: int = 100", "metric: str = 'cosine'"]
    with pytest.raises(fs.UsageError, match="did you mean 'search'"):
        fs.parts("serach")


def test_a_recipe_is_read_by_name_and_by_file_with_changes():
    named = fs.load_recipe("quick/dolg", ["SOLVER.MAX_EPOCH", 7])
    assert named.SOLVER.MAX_EPOCH == 7
    by_file = fs.load_recipe(ROOT / "configs" / "quick" / "dolg.yml")
    assert by_file.SEEK.BRANCHES == named.SEEK.BRANCHES
    with pytest.raises(fs.UsageError, match="quick/dolg"):
        fs.load_recipe("quick/dollg")


EVIL = "<img src=x onerror=alert(1)>.png"


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """A ranking over four images, one of them with an evil name; and the pages that were opened."""
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    names = ["red.png", "wine.png", EVIL, "gone.png"]
    for name in names[:3]:
        Image.new("RGB", (40, 30), "red").save(tmp_path / name)
    vectors = np.array([[1, 0], [0.9, 0.1], [0.5, 0.5], [0, 1]], np.float32)
    items = fs.Embeddings(names, vectors, {"root": str(tmp_path)})
    return fs.search(items, items), tmp_path, opened


def in_notebook(monkeypatch):
    shell = types.SimpleNamespace(kernel=object())
    module = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", module)


def test_a_notebook_shows_thumbnails_with_every_name_escaped(shown, monkeypatch):
    ranking, folder, opened = shown
    in_notebook(monkeypatch)
    view = ranking.show(images=folder, queries=3, depth=2)
    html = view._repr_html_()
    assert html.count("<tr>") == 3 and html.count('<img src="data:image/jpeg;base64,') == 8
    assert EVIL not in html and "&lt;img src=x" in html
    assert "<script" not in html and "<style" not in html
    assert opened == [] and view.page is None and list((folder / "tmp").iterdir()) == []
    assert repr(view) == "4 queries"


def test_without_images_no_file_is_opened_and_it_is_said_how_to_see_them(shown, monkeypatch):
    ranking, folder, _ = shown
    in_notebook(monkeypatch)
    html = fs.show(ranking)._repr_html_()
    assert "data:image" not in html and "red.png" in html
    assert f"show(images=&#39;{folder}&#39;)" in html


@pytest.mark.parametrize("display", ["", ":0"])
def test_elsewhere_a_page_is_written_and_opened_where_there_is_a_browser(
    display, shown, monkeypatch
):
    ranking, folder, opened = shown
    monkeypatch.setitem(sys.modules, "IPython", None)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.setenv(name, display)
    view = ranking.show(folder)
    assert view.page.read_text().startswith("<!doctype html>")
    assert EVIL not in view.page.read_text()
    assert opened == ([view.page.as_uri()] if display else [])
    assert str(view.page) in repr(view)
    mine = ranking.show(folder, out=folder / "mine.html")
    assert mine.page == folder / "mine.html" and len(opened) == bool(display)


def test_a_page_replaces_a_page_and_nothing_foreign_unless_forced(shown):
    ranking, folder, _ = shown
    theirs = folder / "theirs.html"
    theirs.write_text("<!doctype html><title>mine</title>")
    with pytest.raises(fs.UsageError, match=r"theirs\.html is there and is no page.*force=True"):
        ranking.show(folder, out=theirs)
    assert "mine" in theirs.read_text()
    for force in (True, False):
        assert ranking.show(folder, out=theirs, force=force).page == theirs
    for name in ("page.csv", "page"):
        with pytest.raises(fs.UsageError, match=r"is written as \.html"):
            fs.show(ranking, folder, out=folder / name)


def test_a_ranking_of_the_inner_modules_says_what_to_import_to_be_shown(tmp_path):
    code = (
        "from fastseek.structures import Ranking\n"
        "from fastseek.errors import UsageError\n"
        "ranking = Ranking(['q'], ['g'], [[0]], [[1.0]])\n"
        "try:\n    ranking.show()\nexcept UsageError as error:\n    print(error)\n"
        "import fastseek\nprint(fastseek.show(ranking, out='p.html'))\n"
        "print(ranking.show(out='p.html'))\n"
    )
    lines = run(code, tmp_path).splitlines()
    assert "fastseek.show(ranking)" in lines[0]
    assert lines[1:] == ["1 query, shown on p.html"] * 2


def test_the_blocks_of_the_documentation_work_from_an_empty_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "IPython", None)
    text = (ROOT / "docs" / "python.md").read_text()
    blocks = [part.partition("```")[0] for part in text.split("```python\n")[1:]]
    assert len(blocks) >= 3
    printed = []
    for block in blocks:
        exec(compile(block, "python.md", "exec"), {})
        printed.append(capsys.readouterr().out)
    assert printed[0].startswith("1.png 1 1.png ") and printed[3].startswith("recall(1) ")
    assert printed[1].startswith("Outcome(embedded=1, replaced=0, known=4")
    assert {"answers.csv", "page.html"} <= {path.name for path in tmp_path.iterdir()}
