"""Evaluation: what is embedded, what is refused, and fast-reid's own figures as the oracle."""

import dataclasses
import pathlib
import shutil

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve
from torch import nn

import fastseek
from fastseek import compat  # noqa: F401  (before anything that imports fastreid)
from fastseek.errors import DataError, RunError, UsageError
from fastseek.inference import embedding, evaluation
from fastseek.inference.reid_metrics import roc
from fastseek.io.locks import hold_folder
from fastseek.structures import GroundTruth
from fastseek.structures.splits import split_sides
from fastseek.training.trainer import Trainer
from toy import gallery

from fastreid.config import get_cfg
from fastreid.evaluation.rank import evaluate_rank
from fastreid.evaluation.rerank import re_ranking
from fastreid.evaluation.roc import evaluate_roc
from fastreid.modeling import build_model


class MeanColour(nn.Module):
    """A 'network' whose embedding can be computed by hand: the mean colour of 16 cells."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, batch):
        images = batch["images"] if isinstance(batch, dict) else batch
        return nn.functional.adaptive_avg_pool2d(images - 128, 4).flatten(1) * self.scale

    def class_weight_names(self):
        return ("losses",)


@pytest.fixture
def photos(tmp_path):
    return gallery(tmp_path / "toy", classes=5, train=4, query=2)


@pytest.fixture
def cfg(photos, tmp_path):
    cfg = get_cfg()
    fastseek.register(cfg)
    cfg.DATASETS.TESTS = (f"folder({str(photos)!r})",)
    cfg.INPUT.SIZE_TEST, cfg.DATALOADER.NUM_WORKERS, cfg.TEST.IMS_PER_BATCH = [32, 32], 0, 7
    cfg.OUTPUT_DIR, cfg.MODEL.DEVICE = str(tmp_path / "out"), "cpu"
    return cfg


def _evaluate(cfg, model=None):
    return Trainer.test(cfg, model or MeanColour())


def _items(cfg):
    return split_sides(evaluation.resolve(cfg.DATASETS.TESTS[0]), "toy")


def _oracle(cfg):
    """fast-reid's own evaluation of the same features, one big distance matrix."""
    queries, found = _items(cfg)
    _, vectors, _ = embedding.in_memory(cfg, MeanColour(), queries + found)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pids = np.array([int(item.label[-2:]) for item in queries + found])
    cameras = np.array([0] * len(queries) + [1] * len(found))
    q = len(queries)
    distance = 1 - unit[:q] @ unit[q:].T
    cmc, ap, inp = evaluate_rank(
        distance, pids[:q], pids[q:], cameras[:q], cameras[q:], use_cython=False
    )
    return {
        "Rank-1": cmc[0],
        "Rank-5": cmc[4],
        "Rank-10": cmc[9],
        "mAP": np.mean(ap),
        "mINP": np.mean(inp),
    }


def test_a_plain_recipe_gets_the_figures_of_fastreids_own_evaluation(cfg):
    figures = _evaluate(cfg)
    for name, value in _oracle(cfg).items():
        assert figures[name] == pytest.approx(100 * value, abs=1e-4), name
    assert figures["metric"] == pytest.approx((figures["mAP"] + figures["Rank-1"]) / 2)


def test_a_seek_recipe_gets_its_own_metrics_in_percent_and_the_first_decides(cfg):
    cfg.SEEK.METRICS, cfg.SEEK.SEARCH = ["map()", "recall(1, 5)"], "exact(k=20)"
    figures, oracle = _evaluate(cfg), _oracle(cfg)
    assert figures["map"] == pytest.approx(100 * oracle["mAP"], abs=1e-4)
    assert figures["recall(1)"] == pytest.approx(100 * oracle["Rank-1"], abs=1e-4)
    assert figures["metric"] == figures["map"]


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_the_batch_size_changes_no_vector(cfg, batch):
    queries, found = _items(cfg)
    rows, vectors, _ = embedding.in_memory(cfg, MeanColour(), queries + found)
    cfg.TEST.IMS_PER_BATCH = batch
    again = embedding.in_memory(cfg, MeanColour(), queries + found)
    np.testing.assert_array_equal(again[0], rows)
    np.testing.assert_allclose(again[1], vectors, atol=1e-4)


def test_a_query_that_cannot_be_read_ends_the_evaluation_by_name(cfg, photos):
    broken = sorted((photos / "query").rglob("*.jpg"))[3]
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(DataError, match=broken.name):
        _evaluate(cfg)


def test_a_gallery_photo_that_cannot_be_read_is_absent_and_nothing_else_changes(cfg, photos):
    broken = sorted((photos / "gallery").rglob("*.jpg"))[0]
    queries, found = _items(cfg)
    _, whole, _ = embedding.in_memory(cfg, MeanColour(), found)
    broken.write_bytes(b"")
    rows, vectors, rejects = embedding.in_memory(cfg, MeanColour(), found)
    lost = [
        number
        for number, item in enumerate(found)
        if item.path.endswith(f"{broken.parent.name}/{broken.name}") and "/gallery/" in item.path
    ]
    assert [reject["row"] for reject in rejects] == lost
    np.testing.assert_array_equal(rows, np.setdiff1d(np.arange(len(found)), lost))
    np.testing.assert_array_equal(vectors, np.delete(whole, lost, axis=0))
    assert _evaluate(cfg)["mAP"] > 0


def test_F44_gallery_images_that_cannot_be_read_are_named_and_counted_beside_the_figures(
    cfg, photos, caplog
):
    assert evaluation.UNREAD not in _evaluate(cfg)
    broken = sorted((photos / "gallery").rglob("*.jpg"))[:3]
    for file in broken:
        file.write_bytes(b"")
    with caplog.at_level("WARNING"):
        figures = _evaluate(cfg)
    assert figures[evaluation.UNREAD] == 3 and list(figures)[-1] == evaluation.UNREAD
    rows = (pathlib.Path(cfg.OUTPUT_DIR) / "rejects.csv").read_text()
    assert all(str(file) in rows and str(file) in caplog.text for file in broken)
    cfg.SEEK.METRICS = ["map()"]
    assert _evaluate(cfg)[evaluation.UNREAD] == 3


def test_F44_queries_that_cannot_be_read_are_all_named_before_the_end(cfg, photos):
    broken = sorted((photos / "query").rglob("*.jpg"))[:2]
    for file in broken:
        file.write_bytes(b"")
    with pytest.raises(DataError, match="and 1 more"):
        _evaluate(cfg)
    rows = (pathlib.Path(cfg.OUTPUT_DIR) / "rejects.csv").read_text()
    assert all(str(file) in rows for file in broken)


def test_F44_a_gallery_of_which_nothing_can_be_read_is_an_error(cfg, photos):
    for file in (photos / "gallery").rglob("*.jpg"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match="none of 20 gallery images can be read"):
        _evaluate(cfg)


@pytest.mark.parametrize("metrics", [[], ["map()"]])
def test_F62_the_log_of_an_evaluation_tells_what_the_figures_are_over(cfg, photos, caplog, metrics):
    cfg.SEEK.METRICS = metrics
    (photos / "query" / "class_99").mkdir()
    shutil.copy(next((photos / "query").rglob("*.jpg")), photos / "query" / "class_99" / "x.jpg")
    with caplog.at_level("INFO"):
        _evaluate(cfg)
    assert "11 queries in a gallery of 20" in caplog.text
    assert "counted are the 10 queries with a relevant image in the gallery, 1 have none" in (
        caplog.text
    )


def test_F47_a_folder_that_another_run_writes_is_left_as_it_is(cfg, tmp_path):
    queries, found = _items(cfg)
    out = tmp_path / "e"
    embedding.to_store(cfg, MeanColour(), found, out)
    (out / "sub").mkdir()
    before = {file.name: file.stat().st_mtime_ns for file in out.iterdir() if file.name != "sub"}
    with hold_folder(out), pytest.raises(RunError, match="already writing here"):
        embedding.to_store(cfg, MeanColour(), queries, out, replace=True)
    after = {file.name: file.stat().st_mtime_ns for file in out.iterdir() if file.name != "sub"}
    assert after == before and (out / "sub").exists()
    with pytest.raises(UsageError, match="'sub', which is none of theirs"):
        embedding.to_store(cfg, MeanColour(), queries, out, replace=True)
    (out / "sub").rmdir()
    assert len(embedding.to_store(cfg, MeanColour(), queries, out, replace=True)) == len(queries)


def test_the_model_trains_on_after_an_evaluation_that_failed(cfg, photos):
    model = MeanColour()
    model.frozen = nn.BatchNorm2d(3).eval()
    model.train()
    model.frozen.eval()
    sorted((photos / "query").rglob("*.jpg"))[0].write_bytes(b"")
    with pytest.raises(DataError):
        _evaluate(cfg, model)
    assert model.training and not model.frozen.training


class InPlace(MeanColour):
    """Normalises the batch it is given in place, as fast-reid's own architectures do."""

    def forward(self, batch):
        batch["images"].sub_(100).div_(50)
        return super().forward(batch)


def test_flip_test_is_honest_for_models_that_change_their_batch(cfg):
    queries, _ = _items(cfg)
    _, straight, _ = embedding.in_memory(cfg, InPlace(), queries)
    cfg.TEST.FLIP.ENABLED = True
    _, both, _ = embedding.in_memory(cfg, InPlace(), queries)
    cells = straight.reshape(-1, 3, 4, 4)
    np.testing.assert_allclose(
        both, ((cells + cells[..., ::-1]) / 2).reshape(both.shape), atol=1e-3
    )


def test_flip_test_of_fastreids_own_baseline_is_the_mean_of_two_honest_passes(cfg):
    cfg.MODEL.BACKBONE.DEPTH, cfg.MODEL.BACKBONE.FEAT_DIM = "18x", 512
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    images = torch.rand(3, 3, 64, 32) * 255
    cfg.TEST.FLIP.ENABLED = True
    with torch.no_grad():
        expected = (model({"images": images.clone()}) + model({"images": images.flip(3)})) / 2
        given = images.clone()
        torch.testing.assert_close(embedding.embedder(cfg, model)(given), expected)
    torch.testing.assert_close(given, images, rtol=0, atol=0)


def test_flip_test_in_a_seek_recipe_is_a_view_and_the_provenance_says_so(cfg):
    cfg.SEEK.METRICS, cfg.TEST.FLIP.ENABLED = ["map"], True
    queries, _ = _items(cfg)
    _, flipped, _ = embedding.in_memory(cfg, MeanColour(), queries)
    assert embedding.describe_model(cfg, MeanColour())["views"] == ["hflip()"]
    cfg.TEST.FLIP.ENABLED, cfg.SEEK.VIEWS = False, ["hflip()"]
    _, viewed, _ = embedding.in_memory(cfg, MeanColour(), queries)
    np.testing.assert_array_equal(flipped, viewed)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("INPUT.CROP.ENABLED", True),
        ("INPUT.SIZE_TEST", [48, 48]),
        ("SEEK.METRICS", ["map"]),
        ("TEST.FLIP.ENABLED", True),
        ("MODEL.PIXEL_MEAN", [1.0, 2.0, 3.0]),
        ("SEEK.TEST", ["resize(32)"]),
    ],
)
def test_what_changes_the_vectors_changes_the_provenance(cfg, key, value):
    before = embedding.describe_model(cfg, MeanColour())
    cfg.merge_from_list([key, value])
    assert embedding.describe_model(cfg, MeanColour()) != before


def test_the_source_follows_the_photos_and_not_where_they_lie(cfg, photos, tmp_path):
    queries, found = _items(cfg)
    source = embedding.source_of(found)
    moved = [
        dataclasses.replace(item, path=item.path.replace(str(photos), str(tmp_path / "moved")))
        for item in found
    ]
    shutil.copytree(photos, tmp_path / "moved")
    assert embedding.source_of(moved) == source != embedding.source_of(queries)
    photo = pathlib.Path(found[0].path)
    photo.write_bytes(photo.read_bytes() + b"x")
    assert embedding.source_of(found) != source


def test_flip_test_is_the_mean_of_both_sides(cfg):
    queries, _ = _items(cfg)
    _, straight, _ = embedding.in_memory(cfg, MeanColour(), queries)
    cfg.TEST.FLIP.ENABLED = True
    _, both, _ = embedding.in_memory(cfg, MeanColour(), queries)
    cells = straight.reshape(-1, 3, 4, 4)
    np.testing.assert_allclose(
        both, ((cells + cells[..., ::-1]) / 2).reshape(both.shape), atol=1e-3
    )


@pytest.mark.parametrize("flag", ["AQE", "RERANK"])
def test_expansion_and_reranking_flags_change_the_ranking_and_keep_the_figures_legal(cfg, flag):
    plain = _evaluate(cfg)
    cfg.TEST[flag].ENABLED = True
    cfg.TEST.RERANK.K1, cfg.TEST.RERANK.K2 = 4, 2
    figures = _evaluate(cfg)
    assert figures.keys() == plain.keys() and figures["mAP"] != plain["mAP"]
    assert all(0 <= value <= 100 for value in figures.values())


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_reranking_of_a_plain_recipe_is_fastreids_own_cpu_code(cfg, metric):
    cfg.TEST.RERANK.ENABLED, cfg.TEST.RERANK.K1, cfg.TEST.RERANK.K2, cfg.TEST.METRIC = (
        True,
        4,
        2,
        metric,
    )
    queries, found = _items(cfg)
    _, vectors, _ = embedding.in_memory(cfg, MeanColour(), queries + found)
    if metric == "cosine":
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distance = np.sqrt(
        np.maximum(((vectors[:, None].astype(np.float64) - vectors[None]) ** 2).sum(2), 0)
    )
    q = len(queries)
    reranked = re_ranking(
        distance[:q, q:], distance[:q, :q], distance[q:, q:], k1=4, k2=2, lambda_value=0.3
    )
    pids = np.array([int(item.label[-2:]) for item in queries + found])
    _, ap, _ = evaluate_rank(
        reranked, pids[:q], pids[q:], np.zeros(q), np.ones(len(found)), use_cython=False
    )
    assert _evaluate(cfg)["mAP"] == pytest.approx(100 * np.mean(ap), abs=1e-3)


def test_roc_figures_are_fastreids_own(cfg):
    random = np.random.default_rng(3)
    pids, cameras = random.integers(0, 4, 30), random.integers(0, 3, 30)
    distance = random.random((8, 22)).astype(np.float32)
    scores, labels = evaluate_roc(
        distance, pids[:8], pids[8:], cameras[:8], cameras[8:], use_cython=False
    )
    false, true, _ = roc_curve(labels, scores)
    ids = [f"i{number}" for number in range(30)]
    truth = GroundTruth.from_labels(
        ids[:8],
        pids[:8].astype(str),
        ids[8:],
        pids[8:].astype(str),
        cameras[:8].astype(str),
        cameras[8:].astype(str),
    )
    for name, value in roc(-distance, truth).items():
        assert value == pytest.approx(true[np.argmin(np.abs(false - float(name.split("=")[1])))])


def test_a_data_set_without_queries_says_what_is_missing(cfg, photos):
    with pytest.raises(DataError, match="no query images"):
        split_sides([], "toy")


def test_the_store_holds_the_vectors_of_the_memory_and_the_provenance_of_the_model(cfg, tmp_path):
    _, found = _items(cfg)
    cfg.SEEK.METRICS = ["map(100)"]
    _, vectors, _ = embedding.in_memory(cfg, MeanColour(), found)
    stored = embedding.to_store(cfg, MeanColour(), found, tmp_path / "e", root="/photos")
    np.testing.assert_array_equal(np.asarray(stored.vectors), vectors)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert stored.provenance["root"] == "/photos"
    assert stored.provenance["model"] == embedding.weights_hash(MeanColour())


def test_the_model_hash_follows_the_weights_and_not_the_classes():
    model, other = MeanColour(), MeanColour()
    other.losses = nn.Linear(3, 5)
    assert embedding.weights_hash(model) == embedding.weights_hash(other)
    with torch.no_grad():
        other.scale.mul_(2)
    assert embedding.weights_hash(model) != embedding.weights_hash(other)
