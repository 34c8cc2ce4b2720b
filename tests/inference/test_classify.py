"""Classification inside the trainer, and of any photos."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import torch

from fastseek.config import recipe
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.inference import classification, embed_images, evaluation
from fastseek.structures import Embeddings, class_file
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


def _copy_run(trainer, home):
    """The weights of a run with their manifest and classes, to be damaged."""
    for name in ("model_final.safetensors", "model_final.json", "classes.json", "config.yaml"):
        shutil.copy(pathlib.Path(trainer.cfg.OUTPUT_DIR) / name, home / name)
    return home / "config.yaml", home / "model_final.safetensors"


def test_F50_classes_in_another_order_than_in_training_are_refused(trained, photos, tmp_path):
    config, weights = _copy_run(trained[0], tmp_path)
    page = json.loads((tmp_path / "classes.json").read_text())
    page["labels"] = page["labels"][::-1]
    (tmp_path / "classes.json").write_text(json.dumps(page))
    with pytest.raises(
        ArtefactError, match=r"classes\.json: not the file that .* was trained with"
    ):
        classification.classify_images(config, weights, photos / "query", tmp_path / "x")
    with pytest.raises(ArtefactError, match="not the file"):
        embed_images.load_model(recipe.load(config), weights)


def test_F50_the_best_model_is_compared_with_its_run_and_bare_weights_are_taken(trained, tmp_path):
    _, weights = _copy_run(trained[0], tmp_path)
    best = tmp_path / "model_best.safetensors"
    shutil.copy(weights, best)
    run = json.loads((tmp_path / "model_final.json").read_text())["run"]
    (tmp_path / "model_best.json").write_text(json.dumps({"run": run}))
    class_file.check_class_file(tmp_path / "classes.json", best)
    (tmp_path / "classes.json").write_text('{"labels": ["a"], "counts": [1]}')
    with pytest.raises(ArtefactError, match="not the file"):
        class_file.check_class_file(tmp_path / "classes.json", best)
    class_file.check_class_file(tmp_path / "classes.json", tmp_path / "bare.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        '{"labels": "ab", "counts": [1, 2]}',
        '{"labels": ["a"], "counts": [1, 2]}',
        '{"labels": ["a", "a"], "counts": [1, 2]}',
        '{"labels": ["a"], "counts": [1.5]}',
    ],
)
def test_F50_a_file_of_other_json_is_told_in_one_line(content, tmp_path):
    (tmp_path / "classes.json").write_text(content)
    with pytest.raises(ArtefactError, match=r"classes\.json: ") as told:
        class_file.read_class_file(tmp_path / "classes.json")
    assert "\n" not in str(told.value)


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
