"""Engines: the same vectors whatever runs the network, chosen by measurement, kept for a job."""

import dataclasses
import logging

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from fastseek.errors import ArtefactError, RunError, UsageError
from fastseek.inference.pretrained import ModelOptions, embed_images, engines, load_model
from fastseek.inference.pretrained.cache import cache_folder, read_record, write_record
from fastseek.structures.provenance import check_same_model


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home of this file's own, in which the network is written as ONNX once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _own_home(home, monkeypatch):
    monkeypatch.setenv("HOME", str(home))
    (cache_folder() / engines.RECORDS).unlink(missing_ok=True)
    # torch traces every guess about a size at level debug, which pytest would keep
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "propagate", False)


@pytest.fixture(scope="module")
def name(tmp_path_factory):
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), file)
    return f"timm:test_vit@{file}"


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(5):
        pixels = random.integers(0, 256, (90, 70, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.mark.slow
def test_onnx_gives_the_vectors_of_plain_torch_and_is_written_once(name, images, monkeypatch):
    plain = load_model(name, ModelOptions(size=64, engine="eager"))
    onnx = load_model(name, ModelOptions(size=64, engine="onnx"))
    files = sorted(images.iterdir())
    one, other = plain.embed(files), onnx.embed(files)
    assert np.linalg.norm(one - other, axis=1).max() < 1e-5
    assert onnx.provenance["engine"] == "onnx" and onnx.dim == plain.dim
    written = list((cache_folder() / "onnx").glob("*.onnx"))
    assert len(written) == 1

    content = written[0].read_bytes()

    monkeypatch.setattr(engines.Engines, "_write_onnx", lambda self: pytest.fail("written again"))
    again = load_model(name, ModelOptions(size=64, engine="onnx"))
    assert np.array_equal(again.embed(files), other)

    written[0].write_bytes(b"half a file")
    monkeypatch.setattr(engines.Engines, "_write_onnx", lambda self: content)
    mended = load_model(name, ModelOptions(size=64, engine="onnx"))
    assert np.array_equal(mended.embed(files), other) and written[0].read_bytes() == content


def test_embeddings_of_two_engines_may_be_compared_and_those_of_two_precisions_not(
    name, images, tmp_path
):
    plain = embed_images(load_model(name, ModelOptions(size=64)), images, tmp_path / "a")
    onnx = load_model(name, ModelOptions(size=64, engine="onnx"))
    check_same_model(embed_images(onnx, images, tmp_path / "b"), plain)
    half = load_model(name, ModelOptions(size=64, precision="bf16"))
    with pytest.raises(ArtefactError, match="differ in preprocessing"):
        check_same_model(embed_images(half, images, tmp_path / "c"), plain)


def test_an_engine_whose_vectors_differ_is_refused(name, monkeypatch):
    made = load_model(name, ModelOptions(size=64)).engines

    def lie(tensors):
        return torch.nn.functional.normalize(torch.ones(len(tensors), 64))

    monkeypatch.setattr(engines.Engines, "_open_onnx", lambda self: lie)
    with pytest.raises(RunError, match="engine onnx: its vectors are .* from those of plain torch"):
        made.build("onnx")


def fake_network(seconds, clock):
    def run(tensors):
        clock[0] += seconds
        return torch.zeros(len(tensors), 64)

    return run


@pytest.mark.parametrize("onnx, faster", [(0.1, "onnx"), (9.0, "eager")])
def test_the_faster_engine_is_chosen_once_and_remembered(name, monkeypatch, onnx, faster):
    made, clock = load_model(name, ModelOptions(size=64)).engines, [0.0]
    seconds = {"eager": 1.0, "onnx": onnx}
    monkeypatch.setattr(
        engines.Engines, "build", lambda self, engine: fake_network(seconds[engine], clock)
    )
    monkeypatch.setattr(engines.time, "perf_counter", lambda: clock[0])
    assert made.choose(10) == "eager" and read_record(engines.RECORDS) == {}
    assert made.choose(engines.WORTHWHILE) == faster
    assert [one["engine"] for one in read_record(engines.RECORDS).values()] == [faster]
    monkeypatch.setattr(engines.Engines, "_measure", lambda self: pytest.fail("measured again"))
    assert made.choose(engines.FEW) == made.choose(10**6) == faster
    assert made.choose(engines.FEW - 1) == "eager"  # opening the file would cost more than it saves


def test_a_network_that_onnx_cannot_hold_is_run_by_plain_torch(name, monkeypatch):
    made = load_model(name, ModelOptions(size=64)).engines

    def fail(self):
        raise RunError("torch cannot write this model as ONNX")

    monkeypatch.setattr(engines.Engines, "_open_onnx", fail)
    assert made.choose(engines.WORTHWHILE) == "eager"


def test_a_job_goes_on_with_the_engine_it_was_begun_with(name, images, tmp_path, monkeypatch):
    model = dataclasses.replace(load_model(name, ModelOptions(size=64)), batch_size=2)

    class Killed(Exception):
        pass

    def stop(ids, vectors):
        raise Killed

    with pytest.raises(Killed):
        embed_images(model, images, tmp_path / "out", watch=stop)
    monkeypatch.setattr(engines.Engines, "choose", lambda self, count: "onnx")
    found = embed_images(model, images, tmp_path / "out")
    assert found.provenance["engine"] == "eager"
    other = embed_images(model, images, tmp_path / "other")
    assert other.provenance["engine"] == "onnx"


def test_onnx_of_lower_precision_and_a_device_that_is_not_there_are_wrong_use(name):
    with pytest.raises(UsageError, match="engine onnx runs on the CPU in float32"):
        load_model(name, ModelOptions(engine="onnx", precision="bf16"))
    with pytest.raises(UsageError, match="device cuda:77: there is no such device here"):
        load_model(name, ModelOptions(device="cuda:77"))


def test_a_compiled_module_sees_one_shape_and_gives_no_vector_of_what_fills_it():
    shapes = []

    def module(images):
        shapes.append(tuple(images.shape))
        return images.float().flatten(1)[:, :4]

    network = engines.TorchNetwork(module, torch.device("cpu"), batch_size=8)
    tensors = torch.arange(3 * 12, dtype=torch.uint8).reshape(3, 3, 2, 2)
    assert torch.equal(network(tensors), tensors.float().flatten(1)[:, :4])
    assert shapes == [(8, 3, 2, 2)]


def test_records_of_several_runs_stand_beside_one_another():
    write_record("r.json", "a", {"engine": "onnx"})
    write_record("r.json", "b", {"engine": "eager"})
    assert read_record("r.json") == {"a": {"engine": "onnx"}, "b": {"engine": "eager"}}


def test_a_damaged_file_of_measurements_stops_nothing_and_is_made_anew(
    name, images, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(engines, "WORTHWHILE", 3)
    monkeypatch.setattr(engines, "FEW", 0)
    measured = {"engine": "eager", "images_per_second": {"eager": 1.0}}
    monkeypatch.setattr(engines.Engines, "_measure", lambda self: measured)
    file = cache_folder() / engines.RECORDS
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('{"half')
    embed_images(load_model(name, ModelOptions(size=64)), images, tmp_path / "e")
    assert "engines.json" in caplog.text and "anew" in caplog.text
    assert list(read_record(engines.RECORDS).values()) == [measured]
