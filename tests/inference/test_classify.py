"""Classification inside the trainer, and of any photos."""

import json
import pathlib

import numpy as np
import pytest
import torch

from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.inference import classification, evaluation
from fastseek.structures import Embeddings
from fastseek.structures.splits import select_split
from fastseek.training.trainer import Trainer


@pytest.fixture
def trained(recipe_of, tests_on):
    """A short training that is evaluated by classification alone."""
    cfg = recipe_of(
        SEEK__CLASS_METRICS=["top(1, 2)", "class_mean"], SEEK__METRICS=[], DATASETS__TESTS=tests_on
    )
    trainer = Trainer(cfg)
    return trainer, trainer.train()


def test_a_training_is_evaluated_by_its_figures_in_percent(trained):
    trainer, found = trained
    assert set(found) == {"top(1)", "top(2)", "class_mean", "metric"}
    assert found["metric"] == found["top(1)"] <= found["top(2)"]
    assert found["top(1)"] == found["class_mean"]  # one query photo a class
    items = evaluation.resolve(trainer.cfg.DATASETS.TESTS[0])
    queries = select_split(items, "query", "toy")
    rows, logits, _ = classification.embedding.in_memory(
        trainer.cfg, trainer.model, queries, trainer.model.logits
    )
    labels, counts = classification.classes_of(trainer.cfg)
    right = [labels[logits[n].argmax()] == queries[row].label for n, row in enumerate(rows)]
    assert found["top(1)"] == pytest.approx(100 * np.mean(right))
    assert counts.tolist() == [6] * 6


def test_figures_and_metrics_stand_side_by_side(recipe_of, tests_on):
    cfg = recipe_of(SEEK__CLASS_METRICS=["top(1)"], DATASETS__TESTS=tests_on, SOLVER__MAX_EPOCH=1)
    found = Trainer(cfg).train()
    assert {"recall(1)", "map(10)", "top(1)"} < set(found) and found["metric"] == found["recall(1)"]


def test_views_are_averaged_as_probabilities_or_as_logits(recipe_of):
    """finegrained row 67."""
    torch.manual_seed(0)
    table = torch.randn(2, 5)

    class Two(torch.nn.Module):
        """Logits of a photo and of its mirror image."""

        def logits(self, images):
            return torch.where((images[:, 0, 0, 0] > 0)[:, None], table[0], table[1]) * 3

    images = torch.zeros(2, 3, 4, 4)
    images[:, :, :, 0] = 1
    means = {
        "probabilities": (3 * table).softmax(1).mean(0),
        "logits": (3 * table).mean(0).softmax(0),
    }
    for vote, expected in means.items():
        cfg = recipe_of(SEEK__VIEWS=["hflip()"], SEEK__VOTE=vote)
        assert torch.allclose(
            classification.classifier(cfg, Two())(images), expected.expand(2, 5), atol=1e-6
        )


def test_probabilities_on_disk_are_those_of_the_model_and_name_their_classes(
    trained, photos, tmp_path
):
    trainer, _ = trained
    out = tmp_path / "probabilities"
    told = classification.classify_images(
        pathlib.Path(trainer.cfg.OUTPUT_DIR) / "config.yaml",
        pathlib.Path(trainer.cfg.OUTPUT_DIR) / "model_final.safetensors",
        photos / "query",
        out,
    )
    found = Embeddings.load(out)
    assert (
        told.startswith("6 of 6 images, 6 classes") and found.provenance["kind"] == "probabilities"
    )
    assert np.allclose(np.asarray(found.vectors).sum(axis=1), 1, atol=1e-5)
    labels = json.loads((pathlib.Path(trainer.cfg.OUTPUT_DIR) / "classes.json").read_text())[
        "labels"
    ]
    assert found.provenance["classes"] == labels
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    classification.classify_images(
        pathlib.Path(trainer.cfg.OUTPUT_DIR) / "config.yaml",
        pathlib.Path(trainer.cfg.OUTPUT_DIR) / "model_final.safetensors",
        photos / "query",
        out,
    )
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_a_model_without_classes_cannot_classify(trained, recipe_of, photos, tmp_path):
    trainer, _ = trained
    lost = tmp_path / "lost.safetensors"
    lost.write_bytes(
        (pathlib.Path(trainer.cfg.OUTPUT_DIR) / "model_final.safetensors").read_bytes()
    )
    with pytest.raises(DataError, match="classes.json"):
        classification.classify_images(
            pathlib.Path(trainer.cfg.OUTPUT_DIR) / "config.yaml", lost, photos, tmp_path / "x"
        )
    with pytest.raises(ArtefactError, match="SEEK.CLASSES"):
        classification.classes_of(recipe_of())
    with pytest.raises(UsageError, match="Seeker"):
        classification.classifier(recipe_of(), torch.nn.Linear(2, 2))
