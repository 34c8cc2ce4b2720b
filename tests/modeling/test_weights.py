import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fastseek.config.edits import replace_values
from fastseek.errors import ArtefactError, DataError
from fastseek.modeling.build import build_model
from fastseek.modeling.layers.tensor_files import strip_wrappers
from fastseek.modeling.weight_files import load_weights, read_tensors
from fastseek.modeling.weight_transfer import take_over


class Head(nn.Module):
    """Named as fast-reid's EmbeddingHead names its tensors."""

    def __init__(self, classes=5, embedding=0):
        super().__init__()
        layers = [nn.Conv2d(4, embedding, 1)] if embedding else []
        self.bottleneck = nn.Sequential(*layers, nn.BatchNorm2d(embedding or 4))
        self.weight = nn.Parameter(torch.rand(classes, embedding or 4))


class Net(nn.Module):
    def __init__(self, classes=5, embedding=0):
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 1)
        self.heads = Head(classes, embedding)


def state(seed=1, **kwargs):
    torch.manual_seed(seed)
    net = Net(**kwargs)
    for value in net.state_dict().values():
        if value.is_floating_point():
            nn.init.uniform_(value)
    return net.state_dict()


def assert_holds(net, expected, but=()):
    for name, value in net.state_dict().items():
        assert name in but or torch.equal(value, expected[name]), name


@pytest.mark.parametrize(
    "form", ["safetensors", "fast-reid", "state_dict", "plain", "DDP", "numpy"]
)
def test_every_form_of_weight_file_loads(tmp_path, form):
    tensors = state()
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    forms = {
        "fast-reid": {"model": tensors, "epoch": 3, "metric": np.float64(0.5)},
        "state_dict": {"state_dict": tensors},
        "plain": tensors,
        "DDP": {"model": {f"module.{name}": value for name, value in tensors.items()}},
        "numpy": {"model": {name: value.numpy() for name, value in tensors.items()}},
    }
    if form == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(forms[form], path)
    net = Net()
    load_weights(net, path)
    assert_holds(net, tensors)


@pytest.mark.parametrize("embedding, place", [(0, 0), (6, 1)])
def test_the_old_names_of_the_model_zoo_are_known(tmp_path, embedding, place):
    tensors = state(embedding=embedding)
    names = {
        f"heads.bottleneck.{place}.": "heads.bnneck.",
        "heads.weight": "heads.classifier.weight",
    }
    old = {}
    for name, value in tensors.items():
        start = next((start for start in names if name.startswith(start)), "")
        old[name.replace(start, names.get(start, ""), 1)] = value
    assert "heads.bnneck.running_mean" in old and "heads.classifier.weight" in old
    old |= {"pixel_mean": torch.zeros(1, 3, 1, 1), "pixel_std": torch.ones(1, 3, 1, 1)}
    torch.save({"model": old}, tmp_path / "market_bot_R50.pth")
    net = Net(embedding=embedding)
    load_weights(net, tmp_path / "market_bot_R50.pth")
    assert_holds(net, tensors)


def test_class_weights_of_another_data_set_are_left_out_and_the_rest_is_loaded(tmp_path):
    tensors = state(classes=751)
    torch.save({"model": tensors}, tmp_path / "w.pth")
    net = Net(classes=5)
    own = net.heads.weight.detach().clone()
    load_weights(net, tmp_path / "w.pth")
    assert_holds(net, tensors, but=["heads.weight"])
    assert torch.equal(net.heads.weight, own)


def test_a_checkpoint_that_does_not_fit_is_refused_with_a_table_and_changes_nothing(tmp_path):
    tensors = state()
    del tensors["backbone.bias"]
    tensors |= {f"extra.{n:02d}": torch.zeros(1) for n in range(13)}
    tensors["backbone.weight"] = torch.zeros(4, 3, 7, 7)
    torch.save({"model": tensors}, tmp_path / "w.pth")
    net = Net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ArtefactError) as told:
        load_weights(net, tmp_path / "w.pth")
    lines = str(told.value).splitlines()
    assert "    backbone.bias" in lines[lines.index("  1 not in the file:") + 1]
    assert "  13 not in the model:" in lines and "    … and 3 more" in lines
    assert "    backbone.weight (4, 3, 7, 7), model (4, 3, 1, 1)" in lines
    assert_holds(net, before)


def test_a_file_with_no_name_in_common_is_refused(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(ArtefactError, match="6 not in the file"):
        load_weights(Net(), tmp_path / "w.pth")


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_nan_and_infinity_are_refused_by_name(tmp_path, suffix):
    tensors = state()
    tensors["backbone.weight"][0, 0] = float("nan")
    tensors["heads.bottleneck.0.running_var"][1] = float("inf")
    path = tmp_path / f"w.{suffix}"
    save_file(tensors, path) if suffix == "safetensors" else torch.save(tensors, path)
    with pytest.raises(
        ArtefactError, match="2 tensors hold NaN.*backbone.weight, heads.bottleneck.0.running_var"
    ):
        read_tensors(path)


class Evil:
    def __reduce__(self):
        return eval, ("open('harmed', 'w')",)


def test_a_pickle_that_wants_to_run_code_is_refused_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": state(), "args": Evil()}, "a.pth")
    with open("b.pth", "wb") as file:
        pickle.dump(Evil(), file)
    for path in ("a.pth", "b.pth"):
        with pytest.raises(ArtefactError):
            read_tensors(path)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"PK\x03\x04" + b"\0" * 50])
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_what_is_no_weight_file_is_an_artefact_error(tmp_path, content, suffix):
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="w."):
        read_tensors(path)


def test_files_that_hold_something_else_are_named(tmp_path):
    torch.save({"epoch": 3, "name": "x"}, tmp_path / "w.pth")
    with pytest.raises(ArtefactError, match="no tensors: epoch, name"):
        read_tensors(tmp_path / "w.pth")
    torch.save([1, 2], tmp_path / "w.pth")
    with pytest.raises(ArtefactError, match="list"):
        read_tensors(tmp_path / "w.pth")


def test_a_missing_file_is_bad_input(tmp_path):
    with pytest.raises(DataError, match="nowhere.pth"):
        load_weights(Net(), tmp_path / "nowhere.pth")


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."]
)
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_F32_names_are_those_of_the_bare_model(tmp_path, prefix, suffix):
    tensors = {f"{prefix}{name}": value for name, value in state().items()}
    path = tmp_path / f"w.{suffix}"
    save_file(tensors, path) if suffix == "safetensors" else torch.save({"model": tensors}, path)
    assert read_tensors(path).keys() == state().keys()


def test_F32_a_part_that_was_compiled_has_the_names_of_the_part():
    found = strip_wrappers({"backbone._orig_mod.conv.weight": torch.ones(1)})
    assert list(found) == ["backbone.conv.weight"]


def test_F32_a_part_called_module_keeps_its_name():
    names = ["module.weight", "other.weight"]
    assert list(strip_wrappers(dict.fromkeys(names, torch.ones(1)))) == names


@pytest.mark.parametrize("key, name", [("PIXEL_MEAN", "pixel_mean"), ("PIXEL_STD", "pixel_std")])
def test_F51_weights_that_want_other_pixels_are_refused(tmp_path, key, name):
    net = Net()
    net.register_buffer(name, torch.tensor([120.0, 110.0, 100.0]).view(1, 3, 1, 1), False)
    file = tmp_path / "w.pth"
    same = state() | {name: torch.tensor([120.0, 110.0, 100.0]).view(3, 1, 1)}
    torch.save({"model": same}, file)
    load_weights(net, file)
    torch.save({"model": same | {name: torch.full((3, 1, 1), 127.5)}}, file)
    before = {one: value.clone() for one, value in net.state_dict().items()}
    with pytest.raises(
        ArtefactError, match=rf"{key} \[127.5, .*\[120.0, 110.0, 100.0\].*MODEL.{key}"
    ):
        load_weights(net, file)
    with pytest.raises(ArtefactError, match=key):
        take_over(net, file)
    assert_holds(net, before)


def zoo_file(folder, cfg, old_names=False):
    """A file as fast-reid's zoo has them, of a Baseline with these settings."""
    torch.manual_seed(5)
    model = build_model(replace_values(cfg, {"MODEL.META_ARCHITECTURE": "Baseline"}))
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    tensors = model.state_dict()
    if old_names:
        tensors = {
            name.replace("heads.bottleneck.0.", "heads.bnneck.").replace(
                "heads.weight", "heads.classifier.weight"
            ): value
            for name, value in tensors.items()
        }
    torch.save({"model": tensors}, folder / "zoo.pth")
    return model


@pytest.mark.parametrize("dim, old_names", [(0, False), (32, False), (0, True)])
def test_F24_a_model_of_the_zoo_loads_into_seeker_and_embeds_alike(
    tmp_path, recipe_of, dim, old_names
):
    cfg = recipe_of(
        SEEK__BACKBONE="",
        SEEK__BRANCHES=[f"bnneck(dim={dim})"],
        SEEK__LOSSES=["cross_entropy(on='bnneck')"],
        MODEL__BACKBONE__NAME="build_resnet_backbone",
        MODEL__BACKBONE__DEPTH="18x",
        MODEL__BACKBONE__FEAT_DIM=512,
        MODEL__BACKBONE__PRETRAIN=False,
        MODEL__HEADS__NAME="EmbeddingHead",
        MODEL__HEADS__POOL_LAYER="GlobalAvgPool",
        MODEL__HEADS__WITH_BNNECK=True,
        MODEL__HEADS__EMBEDDING_DIM=dim,
        MODEL__HEADS__NUM_CLASSES=7,
    )
    theirs = zoo_file(tmp_path, cfg, old_names).eval()
    ours = build_model(cfg).eval()
    load_weights(ours, tmp_path / "zoo.pth")
    images = torch.rand(2, 3, 32, 32) * 255
    torch.testing.assert_close(ours(images), theirs({"images": images}).float())
