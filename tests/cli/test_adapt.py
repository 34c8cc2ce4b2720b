"""`fastseek adapt` from files to a file, and what `fastseek search` makes of it."""

import json

import numpy as np
import pytest

import fastseek as fs
from fastseek.cli import call_verb
from fastseek.enhance._fits import Fit
from fastseek.errors import ArtefactError, DataError, RunError, UsageError
from fastseek.metrics import evaluate
from fastseek.structures import Embeddings, GroundTruth, Ranking


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Embeddings of 18 classes in class folders, two thirds of them labeled, in the working folder."""
    random = np.random.default_rng(0)
    numbers = np.repeat(np.arange(18), 8)
    centers = np.zeros((18, 16))
    centers[:, :4] = random.normal(size=(18, 4))
    loud = np.where(np.arange(16) < 4, 0.2, 1.5)
    vectors = (centers[numbers] + random.normal(size=(144, 16)) * loud).astype(np.float32)
    names = [f"c{number:02d}/{row:03d}.jpg" for row, number in enumerate(numbers)]
    Embeddings(names, vectors, {"model": "m"}).save(tmp_path / "all", rows=50)
    rows = [f"{name},{name[:3]}" for name in names if name < "c12"]
    (tmp_path / "labels.csv").write_text("\n".join(["id,label", *rows, "gone.jpg,c01", ""]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def adapt(*more, embeddings="all", labels="labels.csv", out="a.safetensors"):
    call_verb(
        "adapt", ["--embeddings", embeddings, "--labels", labels, "--out", out, *map(str, more)]
    )


def search(*more, out="r.npz"):
    sides = ["--queries", "all", "--gallery", "all", "--search", "exact(k=144)"]
    call_verb("search", [*sides, "--out", out, *more])
    ranking = Ranking.load(out)
    labels = [name[:3] for name in ranking.gallery_ids]
    truth = GroundTruth.from_labels(ranking.query_ids, labels, ranking.gallery_ids, labels)
    return evaluate(ranking, truth, ["map"])[0].per_query


def test_an_adapter_is_fitted_judged_written_and_searched_with(home, capsys):
    adapt()
    told = capsys.readouterr().out
    assert "fitted on 96 images of 12 classes: a.safetensors" in told
    assert "48 of 144 images have no label: c12/096.jpg, c12/097.jpg, c12/098.jpg, …" in told
    assert "1 label of images without vectors: gone.jpg" in told
    assert "unseen classes, map" in told and "It helps classes it was not fitted on." in told
    assert told.endswith("--enhance \"adapter('a.safetensors')\"\n")
    before, after = search(), search("--enhance", "adapter('a.safetensors')")
    for labeled in (slice(0, 96), slice(96, 144)):  # the last were never labeled
        assert after[labeled].mean() > before[labeled].mean() + 0.1


def test_the_figures_lie_beside_it_and_are_those_it_carries(home):
    adapt()
    page = json.loads((home / "a.results.json").read_text())
    rows = {row["name"]: row for row in page["rows"]}
    judged = Fit.load(home / "a.safetensors", "adapter").provenance["judged"]
    gain = next(one for one in judged["changes"] if one["group"] == "unseen")
    row = rows["unseen classes, gain"]
    assert row["metrics"]["map"] == pytest.approx(gain["after"] - gain["before"])
    assert row["interval"]["map"] == [gain["low"], gain["high"]]
    assert set(rows) >= {"seen classes, before", "unseen classes, after"}


def test_the_same_command_writes_the_same_bytes(home):
    adapt()
    before = [(home / name).read_bytes() for name in ("a.safetensors", "a.results.json")]
    adapt()
    assert before == [(home / name).read_bytes() for name in ("a.safetensors", "a.results.json")]


def test_by_python_it_is_the_one_by_command(home):
    adapt()
    adapted = fs.adapt("all", "labels.csv")
    adapted.save(home / "b.safetensors")
    one, two = (Fit.load(home / f"{name}.safetensors", "adapter") for name in "ab")
    assert one.digest == two.digest and one.provenance == two.provenance
    side = fs.load_embeddings("all")
    ranking = fs.search(side, side, k=9, enhance="adapter('b.safetensors')")
    assert len(ranking.provenance["queries"]["enhance"]) == 1


def test_labels_can_be_the_folders_of_the_ids(home, capsys):
    adapt("--method", "lda()", labels="folders")
    assert "fitted on 144 images of 18 classes" in capsys.readouterr().out


def test_the_rows_of_one_split_can_be_meant(home, capsys):
    lines = (home / "labels.csv").read_text().splitlines()[1:]
    table = [f"{line},{'train' if line < 'c06' else 'query'}" for line in lines]
    (home / "split.csv").write_text("\n".join(["id,label,split", *table, ""]))
    adapt("--split", "train", labels="split.csv")
    assert "48 images of 6 classes" in capsys.readouterr().out


def test_one_class_is_one_class(home, capsys):
    lines = (home / "labels.csv").read_text().splitlines()
    (home / "single.csv").write_text("\n".join([*lines, ""]).replace(lines[1], f"{lines[1]}alone"))
    adapt("--method", "lda()", labels="single.csv")
    told = capsys.readouterr().out
    assert "1 class of one image only" in told and "1 classes" not in told


def test_one_that_harms_is_not_written_unless_it_is_forced(home, capsys):
    random = np.random.default_rng(1)
    numbers = np.repeat(np.arange(12), 8)
    vectors = 1.5 * np.eye(16)[numbers] + random.normal(size=(96, 16)) * 0.3
    names = [f"c{number:02d}/{row}.jpg" for row, number in enumerate(numbers)]
    Embeddings(names, vectors.astype(np.float32)).save(home / "apart")
    given = {"embeddings": "apart", "labels": "folders"}
    with pytest.raises(RunError, match="the adapter harms"):
        adapt("--blend", 1, **given)
    assert not list(home.glob("a.*"))
    adapt("--blend", 1, "--force", **given)
    assert "It harms, and was written because of --force." in capsys.readouterr().out
    assert (home / "a.safetensors").exists()


def test_one_that_was_not_judged_is_not_written_unless_it_is_forced(home, capsys):
    with pytest.raises(RunError, match="not judged"):
        adapt("--method", "ridge()", "--folds", 0)
    adapt("--method", "ridge()", "--folds", 0, "--force")
    assert "It was not judged" in capsys.readouterr().out
    assert not (home / "a.results.json").exists()


def test_nothing_foreign_is_overwritten_without_force(home):
    for name, content in (("a.safetensors", b"mine"), ("a.results.json", b'{"mine": 1}')):
        (home / name).write_bytes(content)
        with pytest.raises(UsageError, match="--force"):
            adapt()
        assert (home / name).read_bytes() == content
        adapt("--force")
        adapt()  # what it has written itself it replaces
        for file in home.glob("a.*"):
            file.unlink()


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"out": "a.npz"}, UsageError, "is a .safetensors file"),
        ({"out": "all/a.safetensors"}, UsageError, "is an input"),
        ({"embeddings": "nowhere"}, DataError, "nowhere"),
        ({"labels": "nowhere.csv"}, DataError, "nowhere.csv: cannot be read"),
    ],
)
def test_wrong_files_are_told(home, given, error, told):
    with pytest.raises(error, match=told):
        adapt(**given)


def test_an_adapter_of_another_model_is_refused_by_search(home):
    adapt()
    side = Embeddings.load(home / "all")
    Embeddings(side.ids, side.vectors[:], {"model": "other"}).save(home / "other")
    sides = ["--queries", "other", "--gallery", "other", "--out", "r.npz"]
    with pytest.raises(ArtefactError, match="another model"):
        call_verb("search", [*sides, "--enhance", "adapter('a.safetensors')"])


def test_vectors_without_ids_are_labeled_by_their_rows(home, capsys):
    side = Embeddings.load(home / "all")
    np.save(home / "v.npy", side.vectors[:])
    rows = [f"{row},{name[:3]}" for row, name in enumerate(side.ids)]
    (home / "rows.csv").write_text("\n".join(["id,label", *rows, ""]))
    adapt(embeddings="v.npy", labels="rows.csv")
    assert "144 images of 18 classes" in capsys.readouterr().out
