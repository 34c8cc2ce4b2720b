"""A classifier looked at: rows of changed photos, confused classes, pictures."""

import csv
import json
import pathlib
import re
import runpy
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from fastseek import register
from fastseek.config import recipe
from fastseek.data.fastreid_datasets import resolve
from fastseek.data.own_images import images_of
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.inference import classification, embedding
from fastseek.structures import Embeddings, with_split
from fastseek.training.trainer import Trainer
from fastseek.workflows import classification_report

from fastreid.config import get_cfg

ROOT = pathlib.Path(__file__).parents[2]
STRANGE = "<b>one</b>"


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    """A short training on photos one class of which has a strange name, and its report."""
    home = tmp_path_factory.mktemp("report")
    mine = home / "photos"
    for split in ("train", "query", "gallery"):
        for folder in (photos / split).iterdir():
            shutil.copytree(folder, mine / split / folder.name)
    lines = [
        f'"{file.relative_to(mine)}","{STRANGE if file.parent.name == "class_00" else file.parent.name}",'
        f"{file.parents[1].name}"
        for file in sorted(mine.rglob("*.jpg"))
    ]
    (mine / "list.csv").write_text("\n".join(["path,label,split", *lines]) + "\n")
    cfg = get_cfg()
    register(cfg)
    keys = {
        "MODEL.META_ARCHITECTURE": "Seeker",
        "MODEL.DEVICE": "cpu",
        "OUTPUT_DIR": str(home / "run"),
        "PLUGINS": ["fastseek"],
        "SEEK.BACKBONE": "timm(name='test_efficientnet', stages=(4,))",
        "SEEK.BRANCHES": ["gem(dim=16)"],
        "SEEK.LOSSES": ["cross_entropy(on='gem')"],
        "SEEK.TRAIN": ["resize(32)"],
        "SEEK.TEST": ["resize(32)"],
        "SOLVER.IMS_PER_BATCH": 12,
        "SOLVER.MAX_EPOCH": 1,
        "SOLVER.BASE_LR": 1e-4,
        "SOLVER.WARMUP_ITERS": 0,
        "DATALOADER.NUM_WORKERS": 0,
        "DATASETS.NAMES": (f"manifest('{mine / 'list.csv'}')",),
        "SEEK.CLASS_METRICS": ["top(1)"],
        "DATASETS.TESTS": (f"manifest('{mine / 'list.csv'}')",),
        "TEST.EVAL_PERIOD": 0,
    }
    cfg.merge_from_list([part for pair in keys.items() for part in pair])
    cfg.freeze()
    Trainer(cfg).train()
    run = home / "run"
    told = classification_report.report(
        run / "config.yaml", run / "model_final.safetensors", home / "out"
    )
    return home, told


def test_dark_overexposed_and_blurred_photos_are_rows_with_their_paired_loss(finished):
    """finegrained row 71."""
    home, told = finished
    rows = json.loads((home / "out" / "results.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["as they are", "dark", "over-exposed", "blurred"]
    first = rows[0]["metrics"]["top(1)"]
    for row in rows[1:]:
        assert row["metrics"]["top(1) gain"] == pytest.approx(row["metrics"]["top(1)"] - first)
        assert row["name"] in told


def test_the_rows_are_the_models_answers_to_changed_photos(finished, monkeypatch):
    """finegrained row 71: the change is the last transform of the test."""
    seen = []

    def uniform(cfg, model, queries):
        seen.append(list(cfg.SEEK.TEST))
        return np.full((len(queries), 6), 1 / 6)

    monkeypatch.setattr(classification_report, "_classify_images", uniform)
    home, _ = finished
    classification_report.report(
        home / "run" / "config.yaml", home / "run" / "model_final.safetensors", home / "again"
    )
    assert seen == [
        ["resize(32)"],
        ["resize(32)", "brightness(0.3)"],
        ["resize(32)", "brightness(2.5)"],
        ["resize(32)", "blur(0.02)"],
    ]


def test_confused_pairs_are_listed_and_shown_with_what_the_network_looked_at_and_names_escaped(
    finished,
):
    """finegrained row 72."""
    home, _ = finished
    pairs = json.loads((home / "out" / "confusion.json").read_text())["pairs"]
    page = (home / "out" / "report.html").read_text()
    rows = json.loads((home / "out" / "results.json").read_text())["rows"]
    wrong = round(6 * (1 - rows[0]["metrics"]["top(1)"]))
    assert (
        wrong > 0
        and sum(pair["first_as_second"] + pair["second_as_first"] for pair in pairs) == wrong
    )
    assert page.count('<img src="data:image/png;base64,') == wrong
    assert STRANGE in {name for pair in pairs for name in (pair["first"], pair["second"])}
    assert (
        STRANGE not in page
        and "&lt;b&gt;one&lt;/b&gt;" in page
        and "<script" not in page
        and "http:" not in page
    )


@pytest.fixture(scope="module")
def gated(finished, tmp_path_factory):
    """The report again, with images of nothing the classifier knows, one of them broken."""
    home, _ = finished
    strangers = tmp_path_factory.mktemp("strangers")
    random = np.random.default_rng(0)
    for number in range(5):
        noise = Image.fromarray(random.integers(0, 256, (40, 40, 3)).astype(np.uint8))
        noise.save(strangers / f"{number}.png")
    (strangers / "5.png").write_bytes(b"no image")
    told = classification_report.report(
        home / "run" / "config.yaml",
        home / "run" / "model_final.safetensors",
        home / "gated",
        gate=classification_report.GateChoice(0.5, strangers),
    )
    return home, strangers, told


def test_F56_the_report_fits_a_gate_and_tells_what_it_is_worth(gated):
    """finegrained row 69."""
    home, strangers, told = gated
    gate = json.loads((home / "gated" / "gate.json").read_text())
    found = gate["figures"]
    assert found["inside"] == 6 and found["outside"] == 5 and found["kept"] >= 0.5
    cfg, model = classification.load_classifier(
        recipe.load(home / "run" / "config.yaml"), home / "run" / "model_final.safetensors"
    )
    function = classification.classifier(cfg, model)
    items = with_split(resolve(cfg.DATASETS.TESTS[0]), "query")
    inside, outside = (
        embedding.in_memory(cfg, model, side, function)[1].max(axis=1)
        for side in (items, images_of(strangers)[0])
    )
    assert gate["threshold"] == np.sort(inside)[3]  # three of six are kept
    assert found["let_in"] == np.mean(outside >= gate["threshold"])
    pairs = [(a > b) + (a == b) / 2 for a in inside for b in outside]
    assert found["auroc"] == pytest.approx(np.mean(pairs))
    assert "AUROC" in told and "1 of the others cannot be read" in told
    assert "5.png" in (home / "gated" / "rejects.csv").read_text()
    row = json.loads((home / "gated" / "results.json").read_text())["rows"][-1]
    assert row["name"] == "none of these" and row["metrics"]["auroc"] == found["auroc"]


@pytest.mark.parametrize("wrong", [{"outside": "nowhere"}, {"keep": 1.5}, {"keep": float("nan")}])
def test_F56_a_gate_that_cannot_be_made_is_told_before_the_work(
    wrong, gated, tmp_path, monkeypatch
):
    run = gated[0] / "run"
    monkeypatch.setattr(classification_report, "_rows", lambda *_: pytest.fail("it has begun"))
    with pytest.raises(DataError):
        classification_report.report(
            run / "config.yaml",
            run / "model_final.safetensors",
            tmp_path / "out",
            gate=classification_report.GateChoice(**wrong),
        )
    assert not (tmp_path / "out").exists()


def test_a_test_set_without_a_known_class_is_told_before_the_work(gated, tmp_path, monkeypatch):
    home = gated[0]
    text = (home / "photos" / "list.csv").read_text()
    others = re.sub(r'","[^"]*",', '","never seen",', text)
    (home / "photos" / "others.csv").write_text(others)
    monkeypatch.setattr(classification_report, "_rows", lambda *_: pytest.fail("it has begun"))
    where = f"manifest('{home / 'photos' / 'others.csv'}')"
    with pytest.raises(DataError, match="none of its 6 query images is of one of the 6 classes"):
        classification_report.report(
            home / "run" / "config.yaml",
            home / "run" / "model_final.safetensors",
            tmp_path / "out",
            opts=["DATASETS.TESTS", f'["{where}"]'],
        )
    assert not (tmp_path / "out").exists()


def test_images_of_none_of_the_classes_are_listed_once(gated, tmp_path, monkeypatch):
    home, strangers, _ = gated
    listed = []

    def images_of_once(images):
        listed.append(images)
        return images_of(images)

    monkeypatch.setattr(classification_report, "images_of", images_of_once)
    classification_report.report(
        home / "run" / "config.yaml",
        home / "run" / "model_final.safetensors",
        tmp_path,
        gate=classification_report.GateChoice(0.5, strangers),
    )
    assert listed == [strangers]


def test_F56_classify_writes_who_is_none_of_these(gated, tmp_path):
    home, strangers, _ = gated
    run, out = home / "run", tmp_path / "out"
    arguments = [run / "config.yaml", run / "model_final.safetensors", strangers, out]
    told = classification.classify_images(*arguments, gate=home / "gated" / "gate.json")
    gate = json.loads((home / "gated" / "gate.json").read_text())
    found = Embeddings.load(out)
    vectors, classes = np.asarray(found.vectors[:]), found.provenance["classes"]
    rows = list(csv.DictReader((out / "predictions.csv").open()))
    assert [row["image"] for row in rows] == found.ids.tolist()
    for row, vector in zip(rows, vectors, strict=True):
        said = classes[vector.argmax()] if vector.max() >= gate["threshold"] else "none of these"
        assert row["label"] == said
        assert float(row["confidence"]) == pytest.approx(vector.max(), abs=1e-6)
    away = sum(row["label"] == "none of these" for row in rows)
    assert f"{away} are none of these" in told and "1 could not be read" in told
    page = json.loads((out / "predictions.json").read_text())
    assert page["images"] == 5 and sum(page["labels"].values()) == 5
    assert page["gate"]["threshold"] == gate["threshold"]
    html = (out / "predictions.html").read_text()
    assert html.count("<img ") == 5 and STRANGE not in html and "<script" not in html


def test_F56_a_gate_of_another_model_is_refused(gated, tmp_path):
    home, strangers, _ = gated
    gate = json.loads((home / "gated" / "gate.json").read_text())
    gate["fitted on"]["model"] = "another"
    (tmp_path / "gate.json").write_text(json.dumps(gate))
    run = home / "run"
    arguments = [run / "config.yaml", run / "model_final.safetensors", strangers, tmp_path / "out"]
    with pytest.raises(ArtefactError, match="another model"):
        classification.classify_images(*arguments, gate=tmp_path / "gate.json")
    (tmp_path / "gate.json").write_text("[]")
    with pytest.raises(DataError, match="holds no gate"):
        classification.classify_images(*arguments, gate=tmp_path / "gate.json")
    assert not (tmp_path / "out").exists()  # told before the work


def test_a_recipe_without_transforms_of_its_own_is_refused(finished, tmp_path):
    home, _ = finished
    with pytest.raises(UsageError, match="SEEK.TEST and DATASETS.TESTS are needed"):
        classification_report.report(
            home / "run" / "config.yaml",
            home / "run" / "model_final.safetensors",
            tmp_path,
            ["SEEK.TEST", "[]"],
        )
    with pytest.raises(UsageError, match="map 's9': the backbone gives s4"):
        classification_report.report(
            home / "run" / "config.yaml",
            home / "run" / "model_final.safetensors",
            tmp_path,
            on="s9",
        )


def test_the_tool_prints_the_table(finished, monkeypatch, capsys):
    home, told = finished
    tool = str(ROOT / "tools" / "classify_report.py")
    monkeypatch.setattr(
        sys,
        "argv",
        [
            tool,
            "--config-file",
            str(home / "run" / "config.yaml"),
            "--weights",
            str(home / "run" / "model_final.safetensors"),
            "--out",
            str(home / "tool"),
        ],
    )
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(tool, run_name="__main__")
    assert ended.value.code == 0 and "over-exposed" in capsys.readouterr().out
