"""One command from photos to an answer, and embeddings of any photos, on the toy gallery."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import torch

import toy
from fastseek.config import recipe
from fastseek.data.fastreid_datasets import resolve
from fastseek.data.own_images import images_of
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.inference import embedding
from fastseek.inference.embed_parts.embed_request import EmbedRequest, embed_request
from fastseek.modeling.build import build_model
from fastseek.structures import Embeddings, GroundTruth, Ranking, embedding_job
from fastseek.structures.job_part import JobPart
from fastseek.training.random_state import seed_all
from fastseek.workflows import run as pipeline

RECIPE = pathlib.Path(__file__).parents[2] / "configs" / "quick" / "dolg.yml"
SHORT = ["SOLVER.MAX_EPOCH", "2", "MODEL.DEVICE", "cpu"]


def embed_images(recipe, weights, images, out, opts=()):
    how = str(recipe), str(weights), tuple(opts)
    return embed_request(EmbedRequest(str(images), str(out), recipe=how)).line


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return toy.gallery(tmp_path_factory.mktemp("photos"), classes=6, train=6, query=2, size=48)


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return out, pipeline.run_file(RECIPE, out, str(photos), SHORT)


def _bytes(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "log" not in path.name and "events" not in path.name
    }


def test_a_run_tells_every_step_in_order_and_writes_what_the_design_says(run):
    out, told = run
    results = json.loads((out / "results.json").read_text())
    assert [row["name"] for row in results["rows"]] == [
        "before training",
        "after training",
        "after re-ranking (k_reciprocal)",
    ]
    for row in results["rows"]:
        assert set(row["metrics"]) == {"recall(1)", "map(100)", "gap"}
        assert all(0 <= value <= 1 for value in row["metrics"].values())
        assert row["name"] in told
    assert results["seed"] == 0 and str(out / "report.html") in told
    told = (out / "report.html").read_text()
    assert told.startswith("<!doctype html>") and ", before training</title>" not in told


def test_F42_before_training_is_plain_pooling_of_the_network_and_not_a_head_of_chance(run):
    out, _ = run
    cfg = recipe.load(out / "train" / "config.yaml")
    seed_all(cfg.SEED)
    model = build_model(cfg).eval()
    items = [one for one in resolve(cfg.DATASETS.NAMES[0]) if one.split == "gallery"]

    def once(images):
        maps = model.backbone((images - model.pixel_mean) / model.pixel_std)
        return torch.nn.functional.normalize(maps[max(maps)].flatten(2).mean(2))

    def pooled(images):
        assert cfg.SEEK.VIEWS == ["hflip()"]
        return torch.nn.functional.normalize(once(images) + once(images.flip(3)))

    _, wanted, _ = embedding.in_memory(cfg, model, items, pooled)
    found = Embeddings.load(out / "embeddings" / "before" / "gallery")
    assert list(found.ids) == [one.id for one in items]
    np.testing.assert_allclose(found.vectors[:], wanted, atol=1e-5)


def test_the_saved_ranking_and_truth_belong_together(run):
    ranking, truth = Ranking.load(run[0] / "ranking.npz"), GroundTruth.load(run[0] / "truth.npz")
    assert list(ranking.query_ids) == list(truth.query_ids)
    assert list(ranking.gallery_ids) == list(truth.gallery_ids)
    assert "k_reciprocal" in json.dumps(ranking.provenance)


def test_the_same_command_again_trains_nothing_and_changes_no_vector(run, photos):
    out, _ = run
    before = _bytes(out / "embeddings") | _bytes(out / "train")
    pipeline.run_file(RECIPE, out, str(photos), SHORT)
    after = _bytes(out / "embeddings") | _bytes(out / "train")
    assert before == after


def test_parts_of_a_run_write_the_vectors_and_figures_of_one_process(
    run, photos, tmp_path, monkeypatch
):
    monkeypatch.setattr(embedding_job, "STEP", 2)
    shutil.copytree(run[0] / "train", tmp_path / "parts" / "train")
    command = (RECIPE, tmp_path / "parts", str(photos), SHORT)
    told = pipeline.run_file(*command, part=JobPart(1, 2))
    assert told.startswith("part 1/2 is done; ")
    assert not (tmp_path / "parts" / "results.json").exists()
    pipeline.run_file(*command, part=JobPart(0, 2))
    outs = (tmp_path / "parts", run[0])
    for name in ("before/query", "before/gallery", "after/query", "after/gallery"):
        found, wanted = (Embeddings.load(out / "embeddings" / name) for out in outs)
        assert list(found.ids) == list(wanted.ids)
        np.testing.assert_allclose(found.vectors[:], wanted.vectors[:], atol=1e-5)
    rows = [json.loads((out / "results.json").read_text())["rows"] for out in outs]
    assert [row["metrics"] for row in rows[0]] == [row["metrics"] for row in rows[1]]
    with pytest.raises(UsageError, match="every part would draw its own"):
        pipeline.run_file(
            *command[:1], tmp_path / "x", str(photos), [*SHORT, "SEED", "-1"], part=JobPart(0, 2)
        )


def test_the_first_page_stands_before_the_training_and_shows_the_network_as_it_came(
    photos, tmp_path, monkeypatch
):
    class Stopped(Exception):
        pass

    def stop(trainer, resume):
        raise Stopped

    monkeypatch.setattr(pipeline.Trainer, "resume_or_load", stop)
    with pytest.raises(Stopped):
        pipeline.run_file(RECIPE, tmp_path, str(photos), SHORT)
    told = (tmp_path / "report.html").read_text()
    assert ", before training</title>" in told and "after training" not in told
    assert (
        f"before training: {tmp_path / 'report.html'}"
        in (tmp_path / "train" / "log.txt").read_text()
    )


def test_other_images_or_fewer_epochs_into_a_finished_run_are_refused_before_a_file_is_touched(
    run, photos, tmp_path
):
    out, _ = run
    before = _bytes(out)
    other = toy.gallery(tmp_path / "other", classes=5, train=6, query=2, size=48)
    with pytest.raises(ArtefactError, match="name another --out: .*other classes"):
        pipeline.run_file(RECIPE, out, str(other), SHORT)
    with pytest.raises(ArtefactError, match="name another --out: .*steps behind it"):
        pipeline.run_file(RECIPE, out, str(photos), [*SHORT, "SOLVER.MAX_EPOCH", "1"])
    assert _bytes(out) == before


def test_a_folder_without_splits_holds_out_a_part_of_every_class(tmp_path):
    photos = toy.gallery(tmp_path / "toy", classes=5, train=6, query=1, size=40) / "train"
    out = tmp_path / "out"
    pipeline.run_file(RECIPE, out, str(photos), [*SHORT, "SOLVER.MAX_EPOCH", "1"])
    asked = Embeddings.load(out / "embeddings" / "after" / "query").ids
    found = Embeddings.load(out / "embeddings" / "after" / "gallery").ids
    assert not set(asked) & set(found) and len({name.split("/")[0] for name in asked}) == 5


def test_a_finished_run_goes_on_with_more_epochs_and_shows_the_new_model(photos, tmp_path):
    pipeline.run_file(RECIPE, tmp_path, str(photos), [*SHORT, "SOLVER.MAX_EPOCH", "1"])
    first = Embeddings.load(tmp_path / "embeddings" / "after" / "query")
    (
        tmp_path / "before.json"
    ).unlink()  # the untrained model is looked at again, beside the trained
    pipeline.run_file(RECIPE, tmp_path, str(photos), SHORT)
    assert "starts anew" not in (tmp_path / "train" / "log.txt").read_text()
    again = Embeddings.load(tmp_path / "embeddings" / "after" / "query")
    assert first.provenance["model"] != again.provenance["model"]
    assert (
        Ranking.load(tmp_path / "ranking.npz").provenance["queries"]["model"]
        == again.provenance["model"]
    )


def test_a_few_photos_of_ones_own_are_enough_and_a_bad_one_stops_nothing(tmp_path):
    photos = toy.gallery(tmp_path / "toy", classes=2, train=6, query=1, size=40) / "train"
    for folder in sorted(photos.iterdir()):
        (folder / "0003.jpg").write_bytes(b"")
    told = pipeline.run_file(
        RECIPE, tmp_path / "out", str(photos), [*SHORT, "SOLVER.MAX_EPOCH", "1"]
    )
    assert "after training" in told
    truth = GroundTruth.load(tmp_path / "out" / "truth.npz")
    assert not any("0003" in name for name in [*truth.query_ids, *truth.gallery_ids])
    rejects = (tmp_path / "out" / "embeddings" / "after" / "gallery" / "rejects.csv").read_text()
    rejects += (tmp_path / "out" / "embeddings" / "after" / "query" / "rejects.csv").read_text()
    assert rejects.count("0003.jpg,") == 2


def test_a_warm_up_is_half_of_the_training_at_most(photos, tmp_path):
    cfg = recipe.load(RECIPE, [*SHORT, "SOLVER.WARMUP_ITERS", "20", "SOLVER.IMS_PER_BATCH", "6"])
    assert pipeline._shorten_warm_up(cfg, 6 * 80).SOLVER.WARMUP_ITERS == 20
    assert pipeline._shorten_warm_up(cfg, 6 * 10).SOLVER.WARMUP_ITERS == 10
    assert pipeline._shorten_warm_up(cfg, 6).SOLVER.WARMUP_ITERS == 1


def test_a_recipe_without_metrics_is_refused_before_anything_is_built(photos, tmp_path):
    with pytest.raises(UsageError, match="SEEK.METRICS"):
        pipeline.run_file(RECIPE.with_name("bagtricks.yml"), tmp_path / "out", str(photos))
    assert not (tmp_path / "out" / "train").exists()


def _embed(run, images, out, *opts):
    train = run[0] / "train"
    return embed_images(train / "config.yaml", train / "model_final.safetensors", images, out, opts)


def test_embedding_a_folder_gives_the_vectors_of_the_run(run, photos, tmp_path):
    told = _embed(run, photos / "gallery", tmp_path / "e")
    ours = Embeddings.load(tmp_path / "e")
    theirs = Embeddings.load(run[0] / "embeddings" / "after" / "gallery")
    assert [f"gallery/{name}" for name in ours.ids] == list(
        theirs.ids
    ) and "36 of 36 images" in told
    np.testing.assert_allclose(np.asarray(ours.vectors), np.asarray(theirs.vectors), atol=1e-5)
    assert ours.provenance["model"] == theirs.provenance["model"]


def test_a_run_can_be_moved_and_used_from_anywhere(run, photos, tmp_path, monkeypatch):
    shutil.copytree(run[0] / "train", tmp_path / "moved")
    config = (tmp_path / "moved" / "config.yaml").read_text().replace(str(run[0] / "train"), "gone")
    (tmp_path / "moved" / "config.yaml").write_text(config)
    monkeypatch.chdir(tmp_path)
    told = embed_images("moved/config.yaml", "moved/model_final.safetensors", photos / "query", "e")
    assert "12 of 12 images" in told


def test_a_folder_that_changed_is_never_answered_with_old_embeddings(run, photos, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(photos / "query", own)
    _embed(run, own, tmp_path / "e")
    _embed(run, own, tmp_path / "e")
    first, other = sorted(own.rglob("*.jpg"))[0], sorted(own.rglob("*.jpg"))[-1]
    first.write_bytes(other.read_bytes() + b" ")
    with pytest.raises(ArtefactError, match="other images"):
        _embed(run, own, tmp_path / "e")


def test_the_pretrained_weights_a_model_started_from_are_not_needed_to_embed(run, photos, tmp_path):
    gone = "timm(name='mobilenetv2_050', stages=(3, 4), weights='gone.pth')"
    _embed(run, photos / "query", tmp_path / "e", "SEEK.BACKBONE", gone)
    assert len(Embeddings.load(tmp_path / "e")) == 12


def test_a_table_without_labels_is_enough_and_a_bad_photo_is_named(run, photos, tmp_path):
    names = sorted(str(path.relative_to(photos)) for path in (photos / "query").rglob("*.jpg"))[:5]
    (tmp_path / "bad.jpg").write_bytes(b"<html>")
    listed = ["path", *(str(photos / name) for name in names), "bad.jpg"]
    (tmp_path / "list.csv").write_text("\n".join(listed) + "\n")
    told = _embed(run, tmp_path / "list.csv", tmp_path / "e")
    assert "5 of 6 images" in told and "rejects.csv" in told
    assert "bad.jpg" in (tmp_path / "e" / "rejects.csv").read_text()


def test_weights_of_another_recipe_are_refused_with_the_differences(run, photos, tmp_path):
    train = run[0] / "train"
    with pytest.raises(ArtefactError, match="hidden|shape"):
        embed_images(
            train / "config.yaml",
            train / "model_final.safetensors",
            photos / "query",
            tmp_path / "e",
            ["SEEK.BRANCHES", "['dolg(dilations=(1, 2), atrous=16, hidden=48, dim=64)']"],
        )


def test_an_empty_folder_is_a_data_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image"):
        images_of(tmp_path / "empty")


def test_F40_a_row_from_a_file_has_its_columns_in_the_order_of_the_others():
    kept = {"name": "before", "metrics": {"gap": 0.1, "map(100)": 0.2, "old": 0.3}}
    made = {"name": "after", "metrics": {"recall(1)": 1.0, "map(100)": 0.4, "gap": 0.5}}
    ordered = pipeline._order_metrics(kept, made)
    assert list(ordered["metrics"].items()) == [("map(100)", 0.2), ("gap", 0.1), ("old", 0.3)]
    assert list(kept["metrics"]) == ["gap", "map(100)", "old"]
