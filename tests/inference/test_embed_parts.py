"""`fastseek embed` in parts: named, given by a launcher, or carried out by Ray."""

import os
import pathlib
import pickle
import re
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from fastseek.cli import call_verb
from fastseek.errors import DataError, UsageError
from fastseek.inference.embed_parts.embed_request import EmbedRequest, embed_request
from fastseek.inference.embed_parts.part_choice import choose_part
from fastseek.inference.pretrained import ModelOptions
from fastseek.structures import Embeddings, embedding_job
from fastseek.structures.job_part import JobPart

ROOT = pathlib.Path(__file__).parents[2]
COUNT = 11
BAD = (2, 9)
LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Images, two of which cannot be read; a network of chance; and both as one process embeds."""
    home = tmp_path_factory.mktemp("parts")
    (home / "images").mkdir()
    random = np.random.default_rng(0)
    for number in range(COUNT):
        pixels = random.integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(home / "images" / f"{number:02d}.png")
    for number in BAD:
        (home / "images" / f"{number:02d}.png").write_bytes(b"no image")
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit").state_dict(), home / "w.safetensors")
    return home


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(embedding_job, "STEP", 2)
    for name in [*LAUNCHERS, *(name for name in os.environ if name.startswith("SLURM_"))]:
        monkeypatch.delenv(name, raising=False)


def request_of(home, out):
    how = ModelOptions(size=32, engine="eager")
    model = f"timm:test_vit@{home / 'w.safetensors'}"
    return EmbedRequest(str(home / "images"), str(out), model, how, threads=1)


@pytest.fixture(scope="module")
def whole(home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding_job, "STEP", 2)
        embed_request(request_of(home, home / "whole"))
    return contents(home / "whole")


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def command(home, out, *more):
    model = ("--model", f"timm:test_vit@{home / 'w.safetensors'}", "--size", 32)
    images = ("--images", home / "images", "--out", out, "--engine", "eager")
    call_verb("embed", [str(word) for word in (*model, *images, *more)])


def test_parts_by_name_are_told_one_by_one_and_end_in_the_bytes_of_one(
    home, whole, tmp_path, capsys
):
    told = []
    for number in (2, 0, 1):
        command(home, tmp_path / "e", "--part", f"{number}/3")
        told.append(capsys.readouterr().out)
    assert "part 2/3 is done; 4 of 6 shards of" in told[0] and "2 of 6 shards" in told[1]
    assert f"9 of {COUNT} images" in told[2] and "2 could not be read" in told[2]
    rejects = (tmp_path / "e" / "rejects.csv").read_text()
    assert all(f"{number:02d}.png" in rejects for number in BAD)
    assert contents(tmp_path / "e") == whole


def test_a_launcher_gives_every_process_its_part(home, whole, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        command(home, tmp_path / "e")
    assert contents(tmp_path / "e") == whole
    # What is named is not overruled.
    command(home, tmp_path / "e", "--part", "0/1")
    with pytest.raises(UsageError, match="the last of 2 is 1/2"):
        command(home, tmp_path / "e", "--part", "2/2")
    assert choose_part("1/4", {"RANK": "0", "WORLD_SIZE": "2"}) == JobPart(1, 4)
    assert choose_part("", {}) == JobPart()


def test_a_part_begun_by_another_engine_goes_on_with_that(home, whole, tmp_path, monkeypatch):
    """Two machines may find another engine the fastest; the job has the one it was begun with."""
    from fastseek.inference.pretrained import embed, image_model

    request = request_of(home, tmp_path / "e")
    embed_request(request, JobPart(0, 2))
    chosen = []
    real = image_model.ImageModel.tuned

    def tuned(self, count, engine=""):
        chosen.append(engine)
        made = real(self, count, engine)
        other = {**made.provenance, "engine": engine or "onnx"}
        return image_model.dataclasses.replace(made, provenance=other)

    looked = iter(["", *["eager"] * 9])
    monkeypatch.setattr(image_model.ImageModel, "tuned", tuned)
    monkeypatch.setattr(embed, "_engine_of", lambda out: next(looked))
    embed_request(request, JobPart(1, 2))
    assert chosen == ["", "eager"] and len(Embeddings.load(tmp_path / "e")) == 9


class Ray(types.ModuleType):
    """Stands in for Ray: its tasks get copies of their arguments and run at the same time."""

    def __init__(self):
        super().__init__("ray")
        self.options, self.pool = [], ThreadPoolExecutor(4)

    def is_initialized(self):
        return False

    def init(self, address=None):
        self.address = address

    def remote(self, **options):
        self.options.append(options)

        def task(function):
            def remote(*given):
                copied = pickle.loads(pickle.dumps((function, given)))
                return self.pool.submit(copied[0], *copied[1])

            return types.SimpleNamespace(remote=remote)

        return task

    def get(self, tasks):
        return [task.result() for task in tasks]


def test_tasks_of_ray_do_the_parts(home, whole, tmp_path, capsys, monkeypatch):
    ray = Ray()
    monkeypatch.setitem(sys.modules, "ray", ray)
    command(home, tmp_path / "e", "--ray", "3", "--gpus-per-part", "0.5")
    assert f"9 of {COUNT} images" in capsys.readouterr().out
    assert contents(tmp_path / "e") == whole
    assert [(one["num_gpus"], one["max_retries"]) for one in ray.options] == [(0.5, 5)]
    (home / "empty").mkdir(exist_ok=True)
    with pytest.raises(DataError, match="no image"):
        call_verb(
            "embed",
            [
                "--model",
                "default",
                "--images",
                str(home / "empty"),
                "--out",
                str(tmp_path / "x"),
                "--ray",
                "2",
            ],
        )
    with pytest.raises(UsageError, match="leave out --part"):
        command(home, tmp_path / "e", "--ray", "3", "--part", "0/3")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="pip install ray"):
        command(home, tmp_path / "e", "--ray", "3")


def test_the_launchers_of_the_documentation_start_a_command_that_reads_their_environment(
    home, whole, tmp_path, monkeypatch
):
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    block = page.partition("## Embedding on many machines")[2].partition("```text\n")[2]
    lines = re.findall(r"^(?:torchrun|srun) .*fastseek embed (.*)$", block, re.M)
    assert len(lines) == 2
    assert "--part 3/64\n" in block and "--ray 64 --gpus-per-part 1\n" in block
    environments = (
        [{"RANK": f"{n}", "WORLD_SIZE": "2"} for n in range(2)],
        [
            {
                "SLURM_ARRAY_TASK_ID": f"{task}",
                "SLURM_ARRAY_TASK_COUNT": "2",
                "SLURM_PROCID": f"{n}",
                "SLURM_NTASKS": "2",
            }
            for task in range(2)
            for n in range(2)
        ],
    )
    for number, (line, processes) in enumerate(zip(lines, environments, strict=True)):
        words = dict(zip(line.split()[::2], line.split()[1::2], strict=True))
        assert set(words) == {"--model", "--images", "--out"}
        for environ in processes:
            with monkeypatch.context() as patch:
                for name, value in environ.items():
                    patch.setenv(name, value)
                command(home, tmp_path / f"{number}")
        assert contents(tmp_path / f"{number}") == whole


def test_a_part_of_a_classification_tells_what_is_missing(home, tmp_path, monkeypatch):
    from fastseek.inference import classification

    def feed(runs):
        for run in runs:
            yield [f"{row}" for row in run], np.ones((len(run), 3), np.float32), []

    job = embedding_job.EmbeddingJob(COUNT, {"classes": ["a", "b", "c"]}, dim=3)
    monkeypatch.setattr(classification, "images_of", lambda images: ([None] * COUNT, ""))
    monkeypatch.setattr(classification.recipe, "load", lambda *given: None)
    monkeypatch.setattr(classification, "load_classifier", lambda *given: (None, None))
    monkeypatch.setattr(classification, "job_of", lambda *given: (feed, job))
    monkeypatch.setattr(classification, "_write_page", lambda *given: None)
    monkeypatch.setattr(classification, "predict", lambda found, gate: [])
    told = [
        classification.classify_images("r", "w", "i", tmp_path / "e", part=JobPart(number, 2))
        for number in (1, 0)
    ]
    assert "part 1/2 is done; 3 of 6 shards" in told[0] and told[1].startswith("11 of 11 images")
    assert (tmp_path / "e" / "predictions.csv").exists()
