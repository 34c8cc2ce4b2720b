"""Class probabilities to image, label and confidence."""

import csv
import json

import numpy as np
import pytest

from fastseek.classification.gate import (
    Gate,
    check_score,
    fit_gate,
    load_gate,
    measure_gate,
    save_gate,
    score_images,
)
from fastseek.classification.predictions import predict, write_predictions
from fastseek.errors import ArtefactError, UsageError
from fastseek.structures import Embeddings

CLASSES = ["=1+1", "b", "c"]


def probabilities(rows=20, seed=0):
    table = np.random.default_rng(seed).dirichlet(np.ones(3), rows).astype(np.float32)
    return Embeddings(np.array([f"{n}.jpg" for n in range(rows)]), table, {"classes": CLASSES})


def test_F56_a_prediction_is_the_most_probable_class_or_none():
    found = probabilities()
    plain, gated = list(predict(found)), list(predict(found, Gate(0.6, 0.95)))
    for row, (one, other) in enumerate(zip(plain, gated, strict=True)):
        values = found.vectors[row]
        assert one.label == CLASSES[int(values.argmax())] == other.nearest
        assert one.confidence == values.max()
        assert other.label == (one.label if values.max() >= 0.6 else "none of these")
    assert {one.label for one in gated} > {"none of these"}


def test_F56_the_files_hold_every_image_once_in_order(tmp_path):
    found = probabilities()
    made = list(predict(found, Gate(0.6, 0.95)))
    write_predictions(tmp_path, made, Gate(0.6, 0.95))
    rows = list(csv.DictReader((tmp_path / "predictions.csv").open()))
    assert [row["image"] for row in rows] == found.ids.tolist()
    page = json.loads((tmp_path / "predictions.json").read_text())
    assert [row["label"] for row in page["rows"]] == [one.label for one in made]
    assert page["labels"] == {
        label: sum(one.label == label for one in made) for label in page["labels"]
    }
    assert list(page["gate"]) == ["by", "keep", "threshold"]


def test_F56_what_is_no_table_of_probabilities_is_refused():
    found = Embeddings(np.array(["a"]), np.ones((1, 3), np.float32), {"classes": ["x"]})
    with pytest.raises(ArtefactError, match="class probabilities"):
        list(predict(found))


def test_F56_a_gate_is_read_as_it_was_written_and_its_figures_are_those_of_all_pairs(tmp_path):
    """finegrained row 69."""
    inside, outside = (
        score_images(probabilities().vectors),
        score_images(probabilities(12, seed=1).vectors),
    )
    gate = Gate(0.55, 0.9)
    found = measure_gate(gate, inside, outside)
    pairs = [(a > b) + (a == b) / 2 for a in inside for b in outside]
    assert found.auroc == pytest.approx(np.mean(pairs))
    assert found.let_in == np.mean(outside >= 0.55) and found.kept == np.mean(inside >= 0.55)
    made_by = dict.fromkeys(("model", "preprocessing", "views", "vote", "classes"), "x")
    save_gate(tmp_path / "gate.json", gate, found, made_by)
    assert load_gate(tmp_path / "gate.json", made_by) == gate
    with pytest.raises(ArtefactError, match="another vote"):
        load_gate(tmp_path / "gate.json", made_by | {"vote": "y"})
    assert measure_gate(gate, inside, np.empty(0)).auroc is None


def test_F56_a_gate_goes_by_probability_margin_or_entropy(tmp_path):
    rows = np.random.default_rng(3).dirichlet(np.ones(4) / 2, 60).astype(np.float32)
    rows[0], rows[1] = [1, 0, 0, 0], 0.25
    ordered = np.sort(rows, axis=1)
    np.testing.assert_allclose(score_images(rows, "margin"), ordered[:, -1] - ordered[:, -2])
    slow = [1 + sum(p * np.log(p) for p in row.astype(float) if p > 0) / np.log(4) for row in rows]
    np.testing.assert_allclose(score_images(rows, "entropy"), slow, atol=1e-5)
    np.testing.assert_array_equal(score_images(rows), rows.max(axis=1))
    made_by = {"model": "m", "preprocessing": {}, "views": [], "vote": "x", "classes": list("abcd")}
    found = Embeddings(np.array([f"{row:03d}" for row in range(60)]), rows, made_by)
    for by in ("probability", "margin", "entropy"):
        scores = score_images(rows, by)
        assert scores[0] == pytest.approx(1) and scores[1] == min(scores)
        assert score_images(rows[:, :1], by).tolist() == rows[:, 0].tolist()
        gate = fit_gate(scores, 0.5, by)
        save_gate(tmp_path / "gate.json", gate, measure_gate(gate, scores, scores), made_by)
        assert load_gate(tmp_path / "gate.json", made_by) == gate
        told = [one.label != "none of these" for one in predict(found, gate)]
        assert told == (scores >= gate.threshold).tolist() and sum(told) == 30
    with pytest.raises(UsageError, match="probability, margin, entropy"):
        check_score("energy")
