"""What a command writes: never over a file of another kind, and in the form its name says."""

import csv
import gzip
import json
import pathlib
import re

import numpy as np
import pytest

import toy
from fastseek import cli
from fastseek.classification.predictions import Prediction, write_predictions
from fastseek.cli._audit import disagreeing
from fastseek.cli._outputs import Beside, check_run_folder, save_ranking
from fastseek.data.transforms.denoise import read_table
from fastseek.errors import UsageError
from fastseek.io.file_kinds import KINDS, check_replaceable
from fastseek.report import write_results
from fastseek.structures import Embeddings, Ranking

SEARCH = "search --queries q.npy --gallery g.npy --out"
FOREIGN = {
    "notes.csv": b"day,hours\nmonday,3\n",
    "package.json": b'{"name": "mine", "version": 2}\n',
    "numbers.json": b'{"width": 3, "height": 4.5}\n',
    "values.json": b'{"width": {"value": 3}}\n',
    "weights.json": b'{"members": ["ann"], "weights": [63]}\n',
    "index.html": b"<!doctype html><title>mine</title>",
    "photos.npz": b"PK\x05\x06" + bytes(18),
    "model.onnx": b"\x08\x07\x12\x05keras",
    "data.bin": bytes(range(256)),
    "mark.csv": b"\xef\xbb\xbf",
}
COMMANDS = {
    "search": f"{SEARCH} OUT",
    "rerank": "rerank --ranking r.npz --queries q.npy --gallery g.npy --rerank super_global() --out OUT",
    "fuse": "fuse --rankings r.npz r2.npz --fuse vote() --out OUT",
    "score": "score ranking --ranking r.npz --truth t.csv --metrics map(5) --json OUT",
    "diff": "diff r.npz r2.npz --truth t.csv --metrics map(5) --json OUT",
    "diff page": "diff r.npz r2.npz --truth t.csv --metrics map(5) --out OUT",
    "report": "report --ranking r.npz --truth t.csv --out OUT",
    "submit": "submit gldv2-retrieval --ranking r.npz --ids-of-queries n.txt --ids-of-gallery m.txt"
    " --out OUT",
    "digix": "submit digix --ranking r.npz --ids-of-queries n.txt --ids-of-gallery m.txt --out OUT",
    "disagreement": "audit disagreement --rankings r.npz r2.npz --out OUT",
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Two searches of 6 images in 12, with labels; it is the working folder."""
    monkeypatch.chdir(tmp_path)
    for name, count in (("q", 6), ("g", 12)):
        np.save(f"{name}.npy", toy.circle(np.arange(count) % 3, count, 0.4))
    rows = [
        f"{row},c{row % 3},{split}"
        for split, count in (("query", 6), ("gallery", 12))
        for row in range(count)
    ]
    pathlib.Path("t.csv").write_text("\n".join(["id,label,split", *rows]) + "\n")
    pathlib.Path("n.txt").write_text("".join(f"q{row}\n" for row in range(6)))
    pathlib.Path("m.txt").write_text("".join(f"g{row}\n" for row in range(12)))
    run(f"{SEARCH} r.npz")
    run(f"{SEARCH} r2.npz --enhance center()")
    return tmp_path


def run(line):
    words = line.split() if isinstance(line, str) else line
    cli.call_verb(words[0], words[1:])


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", COMMANDS)
def test_F36_a_file_of_another_kind_is_replaced_only_by_force(name, home):
    made = {}
    for file, content in FOREIGN.items():
        pathlib.Path(file).write_bytes(content)
    before = files(home)
    for file in FOREIGN:
        line = COMMANDS[name].replace("OUT", file)
        with pytest.raises(UsageError, match=f"{file} is there and is no .*--force|written as"):
            run(line)
        assert files(home) == before
    for out in ("fresh.npz" if " .npz" in name else "fresh.json", "empty.json"):
        pathlib.Path("empty.json").touch()
        run(COMMANDS[name].replace("OUT", out))  # what is new or empty needs no force
        run(COMMANDS[name].replace("OUT", out))  # and what the same command wrote neither
        made[out] = pathlib.Path(out).read_bytes()
    run(COMMANDS[name].replace("OUT", "package.json") + " --force")
    made["package.json"] = pathlib.Path("package.json").read_bytes()
    assert len(set(made.values())) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_F36_no_kind_takes_what_another_program_wrote(kind, tmp_path):
    for name, content in FOREIGN.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UsageError, match="is there and is no"):
            check_replaceable(path, kind)
        check_replaceable(path, kind, force=True)
    check_replaceable(None, kind)
    check_replaceable("-", kind)
    check_replaceable(tmp_path / "new", kind)


def short_ranking():
    return Ranking(
        np.array(["a,b", "=1+1"]),
        np.array(["x", 'y "z"', "w"]),
        np.array([[2, 0], [1, -1]]),
        np.array([[0.1, -0.25], [3e-7, -np.inf]], np.float32),
        {"search": "exact(k=2)"},
    )


ANSWERS = [("a,b", 1, "w", 0.1), ("a,b", 2, "x", -0.25), ("=1+1", 1, 'y "z"', 3e-7)]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".json", ".jsonl"])
@pytest.mark.parametrize("labelled", [False, True])
def test_F36_a_ranking_is_written_in_the_form_its_name_says(suffix, labelled, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("id,label\nx,one\nw,two\n")
    out = tmp_path / f"r{suffix}"
    told = save_ranking(short_ranking(), out, Beside(labels if labelled else None))
    if suffix.startswith(".csv"):
        with (gzip.open if suffix == ".csv.gz" else open)(out, "rt", encoding="utf-8") as file:
            rows = [{**row, "rank": int(row["rank"])} for row in csv.DictReader(file)]
    elif suffix == ".json":
        rows = json.loads(out.read_text())
    else:
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    if suffix.startswith(".csv"):  # opened in a spreadsheet, where it would be a formula (F66)
        assert rows[2]["query"] == "'=1+1"
        rows[2]["query"] = "=1+1"
    found = [(row["query"], row["rank"], row["id"], float(row["score"])) for row in rows]
    assert found == ANSWERS
    assert [row.get("label") for row in rows] == (["two", "one", ""] if labelled else [None] * 3)
    assert told == (f"; 1 of 3 images have no label in {labels}" if labelled else "")
    check_replaceable(out, "ranking")


def test_F36_a_ranking_without_an_answer_is_a_table_without_a_row(tmp_path):
    empty = Ranking(np.array(["a"]), np.array(["x"]), np.full((1, 1), -1), np.full((1, 1), -np.inf))
    for suffix in (".csv", ".csv.gz", ".json", ".jsonl"):
        save_ranking(empty, tmp_path / f"r{suffix}")
        check_replaceable(tmp_path / f"r{suffix}", "ranking")
    assert json.loads((tmp_path / "r.json").read_text()) == []
    assert (tmp_path / "r.csv").read_text() == "query,rank,id,path,score\n"


@pytest.mark.parametrize("verb", ["search", "rerank", "fuse"])
@pytest.mark.parametrize("name", ["r.txt", "r.xlsx", "r.npy"])
def test_F36_a_suffix_that_says_another_kind_of_file_is_refused(verb, name, home):
    before = files(home)
    with pytest.raises(
        UsageError,
        match=r"a ranking is written as \.npz, \.csv, \.csv\.gz, \.json, \.jsonl or \.html",
    ):
        run(COMMANDS[verb].replace("OUT", name))
    with pytest.raises(UsageError, match="labels are written into"):
        run(COMMANDS[verb].replace("OUT", "new.npz") + " --labels t.csv")
    with pytest.raises(UsageError, match="images are shown in a page only"):
        run(COMMANDS[verb].replace("OUT", "new.csv") + " --images .")
    assert files(home) == before


@pytest.mark.parametrize("verb", ["search", "rerank", "fuse"])
def test_a_ranking_as_a_page_is_the_report_without_a_truth(verb, home, capsys):
    run(COMMANDS[verb].replace("OUT", "new.npz"))
    run(COMMANDS[verb].replace("OUT", "new.html"))
    run("report --ranking new.npz --out theirs.html")
    assert pathlib.Path("new.html").read_bytes() == pathlib.Path("theirs.html").read_bytes()
    run(COMMANDS[verb].replace("OUT", "new.html") + " --images . --images nowhere")
    assert "no such folder of images: nowhere" in capsys.readouterr().out
    pathlib.Path("mine.html").write_bytes(FOREIGN["index.html"])
    with pytest.raises(UsageError, match=r"mine\.html is there"):
        run(COMMANDS[verb].replace("OUT", "mine.html"))


@pytest.mark.parametrize("verb", ["search", "rerank", "fuse"])
def test_a_page_names_the_labels_that_a_table_would_have(verb, home, capsys):
    pathlib.Path("some.csv").write_text("id,label\n0,hat\n")
    run(COMMANDS[verb].replace("OUT", "new.html") + " --labels some.csv --images nowhere")
    assert 'data-label="hat"' in pathlib.Path("new.html").read_text()
    told = capsys.readouterr().out
    assert "11 of 12 images have no label in some.csv" in told and "nowhere" in told


@pytest.mark.parametrize("verb", ["search", "rerank", "fuse"])
def test_what_a_command_prints_does_not_steer_the_terminal(verb, home, capsys):
    run(COMMANDS[verb].split()[:-1] + ["a\x1b[31m.npz"])
    told = capsys.readouterr().out
    assert "a\\x1b[31m.npz" in told and "\x1b" not in told


def test_every_command_prints_through_the_one_function_that_spells_out_what_steers():
    for path in pathlib.Path(cli.__file__).parent.glob("[a-z]*.py"):
        calls = re.findall(r"(?<![\w.])print\(|stdout\.write\((.*)", path.read_text())
        assert set(calls) <= {"parts_page())", "_keys(args))"}, path


@pytest.mark.parametrize("verb", ["search", "rerank", "fuse"])
def test_F36_a_table_tells_what_the_ranking_tells(verb, home):
    run(COMMANDS[verb].replace("OUT", "new.npz"))
    run(COMMANDS[verb].replace("OUT", "new.csv") + " --labels t.csv")
    ranking = Ranking.load("new.npz")
    with open("new.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == ranking.indices.size
    for row in rows:
        query = ranking.query_ids.tolist().index(row["query"])
        place = int(row["rank"]) - 1
        assert row["id"] == ranking.gallery_ids[ranking.indices[query, place]]
        assert np.float32(row["score"]) == ranking.scores[query, place]
        assert row["label"] == f"c{int(row['id']) % 3}"


@pytest.mark.parametrize(
    "command",
    [
        "ranking --ranking r.npz --truth t.csv --metrics map(5) recall(1,5) gap()",
        "digix --predictions d.csv --queries qn.txt --gallery gn.txt",
        "gldv2-retrieval --predictions s.csv --solution solution.csv",
    ],
)
def test_F39_every_score_tells_how_it_was_made_in_the_table_and_as_json(command, home, capsys):
    run("submit digix --ranking r.npz --ids-of-queries n.txt --ids-of-gallery m.txt --out d.csv")
    run(COMMANDS["submit"].replace("OUT", "s.csv"))
    for side, count in (("q", 6), ("g", 12)):
        rows = "".join(f"{side}{row},{row % 3}\n" for row in range(count))
        pathlib.Path(f"{side}n.txt").write_text(rows)
    solution = "".join(f"q{row},g{row} g{row + 3},Public\n" for row in range(6))
    pathlib.Path("solution.csv").write_text("id,images,Usage\n" + solution)
    capsys.readouterr()
    run(f"score {command} --json -")
    page = json.loads(capsys.readouterr().out)
    protocol = page.pop("protocol")
    assert set(protocol) == set(page) and all(protocol.values())
    run(f"score {command} --json p.json")
    told = capsys.readouterr().out
    assert json.loads(pathlib.Path("p.json").read_text()) == {**page, "protocol": protocol}
    assert all(f"{name} " in told for name in page)
    if command.startswith("ranking"):
        assert protocol["map(5)"]["search"] == "exact(k=100, metric='cosine')"
        assert "exact(k=100" in told and "6 queries in a gallery of 12" in told
    run(f"score {command} --json p.json")  # what it wrote it replaces


def test_F66_names_that_begin_like_a_formula_are_none_in_tables_for_people(home, capsys):
    image = toy.photo(0, 0)
    pathlib.Path("odd").mkdir()
    names = ["=1+1.png", "+x.png", "-2.png", "@a.png", "plain.png"]
    for name in names:
        image.save(pathlib.Path("odd", name))
    pathlib.Path("odd", "=cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    run("audit noise --images odd --out noise.csv")
    with open("noise.csv", newline="") as file:
        shown = [row["path"] for row in csv.DictReader(file)]
    assert sorted(shown) == sorted([f"'{name}" for name in names[:4]] + ["plain.png"])
    assert "'=cut.png" in pathlib.Path("noise.csv.rejects.csv").read_text()
    assert set(read_table("noise.csv")) == set(names)
    ranking = Ranking.load("r.npz")
    queries = np.array(["=1", "+2", "@3", "-4", "'=5", "6"])
    for name, shift in (("a.npz", 0), ("b.npz", 1)):
        rows = np.roll(ranking.indices, shift, axis=0)
        Ranking(queries, ranking.gallery_ids, rows, ranking.scores).save(name)
    run("audit disagreement --rankings a.npz b.npz --out d.csv --below 1.1 --depth 2")
    with open("d.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert not [row for row in rows if row["query"][0] in "=+-@"]
    assert set(disagreeing("d.csv")) == set(queries)
    write_predictions(home, [Prediction("=1.jpg", "@home", 0.5, "@home")], None)
    assert "'=1.jpg,'@home,0.5" in pathlib.Path("predictions.csv").read_text()


def test_F36_a_table_of_ours_takes_the_place_of_another_but_a_ranking_does_not(home):
    run(COMMANDS["disagreement"].replace("OUT", "t2.csv"))
    for name in ("digix", "submit", "disagreement"):
        run(COMMANDS[name].replace("OUT", "t2.csv"))
    with pytest.raises(UsageError, match="r2.npz is there and is no submission"):
        run(COMMANDS["digix"].replace("OUT", "r2.npz"))


def make_folder(kind):
    """A folder as `--out` may name it."""
    folder = pathlib.Path("out")
    folder.mkdir()
    if "embeddings" in kind:
        Embeddings(["a"], np.ones((1, 2), np.float32)).save(folder)
    if "notes" in kind:
        (folder / "notes.txt").write_text("mine")
    if "foreign manifest" in kind:
        (folder / "manifest.json").write_text('{"name": "app", "icons": []}')
    return folder


@pytest.mark.parametrize(
    ("kind", "foreign"),
    [
        ("empty", ""),
        ("embeddings", ""),
        ("embeddings and notes", ""),
        ("notes", "notes.txt"),
        ("foreign manifest", "manifest.json"),
        ("foreign manifest and notes", "manifest.json"),
    ],
)
def test_F36_a_folder_of_something_else_gets_no_embeddings(kind, foreign, home):
    for name in ("a", "b"):
        classes = {"classes": ["x", "y"], "kind": "probabilities"}
        Embeddings(["i", "j"], np.full((2, 2), 0.5, np.float32), classes).save(name)
    folder = make_folder(kind)
    before = files(folder)
    line = "blend --probabilities a b --out out"
    others = (
        "embed --model default --images . --out out",
        "classify quick/dolg --weights w.safetensors --images . --out out",
    )
    if not foreign:
        run(line)
        assert Embeddings.load(folder).ids.tolist() == ["i", "j"]
        assert set(before) <= set(files(folder))
        return
    for one in (line, *others):
        told = f"holds '{foreign}', which is no file of embeddings: name another folder"
        with pytest.raises(UsageError, match=told):
            run(one)
        assert files(folder) == before
    run(f"{line} --force")
    assert Embeddings.load(folder).ids.tolist() == ["i", "j"]


def test_a_path_in_a_call_string_replaces_nothing_but_a_fit(home):
    pathlib.Path("mine.safetensors").write_bytes(b"something else")
    before = files(home)
    for call in ("pca(dim=2, save='mine.safetensors')", "center(save='t.csv')"):
        with pytest.raises(UsageError, match="is there and is no fit of FastSeek"):
            run(f"{SEARCH} new.npz --enhance".split() + [call])
        assert files(home) == before
    for _ in range(2):
        run(f"{SEARCH} new.npz --enhance".split() + ["center(save='fit.safetensors')"])


@pytest.mark.parametrize("name", ["report.html", "ranking.npz", "results.json"])
def test_F36_a_run_replaces_nothing_that_no_run_has_written(name, home):
    out = pathlib.Path("out")
    out.mkdir()
    content = {
        "report.html": "index.html",
        "ranking.npz": "photos.npz",
        "results.json": "package.json",
    }
    (out / name).write_bytes(FOREIGN[content[name]])
    before = files(out)
    for line in (
        "run quick/dolg --out out",
        "demo --out out",
        "classify-report quick/dolg --weights w.safetensors --out out",
    ):
        with pytest.raises(UsageError, match=f"out is there and holds '{name}'.*another folder"):
            run(line)
        assert files(out) == before


def test_F36_a_run_takes_the_folder_of_a_run_before(home):
    out = pathlib.Path("out")
    out.mkdir()
    run(f"{SEARCH} out/ranking.npz")
    run("report --ranking out/ranking.npz --truth t.csv --out out/report.html")
    write_results(out / "results.json", [{"name": "after", "metrics": {}}], "", 0)
    check_run_folder(out)
    (out / "results.json").write_text('{"metrics": {}, "recipe": "r", "seed": 0, "commit": ""}')
    check_run_folder(out)
    check_run_folder("new")
