import logging

import pytest
import safetensors.torch
import timm
import torch

from fastseek.errors import ArtefactError, DataError
from fastseek.io.digests import sha256
from fastseek.io.paths import data_roots
from fastseek.modeling.backbones.timm import Timm
from fastseek.modeling.layers.tensor_files import read_tensors

NETS = {
    "test_resnet": (2, 4),
    "test_efficientnet": (2, 4),
    "test_convnext": (2, 4),
    "test_vit": (4,),
}


def classifier(name, classes=7):
    """A whole classifier whose normalisation is not at its start values."""
    whole = timm.create_model(name, num_classes=classes)
    for value in whole.state_dict().values():
        if value.dtype.is_floating_point:
            value.uniform_(0.1, 0.2)
    return whole


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_every_tensor_of_the_net_comes_from_the_classifiers_file(name, ending, tmp_path):
    whole, file = classifier(name), tmp_path / f"weights.{ending}"
    save = torch.save if ending == "pth" else safetensors.torch.save_file
    save(whole.state_dict(), file)
    net = Timm(name, NETS[name], weights=str(file))
    given = {key.replace(".", "_"): value for key, value in whole.state_dict().items()}
    for key, value in net.net.state_dict().items():
        assert torch.equal(value, given[key.removeprefix("model.").replace(".", "_")]), key


def test_the_loaded_net_computes_the_maps_of_the_classifier(tmp_path):
    whole = timm.create_model("test_resnet", num_classes=3).eval()
    torch.save({"state_dict": whole.state_dict()}, tmp_path / "w.pth")
    net = Timm("test_resnet", (4,), weights=str(tmp_path / "w.pth")).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(net(images)["s4"], whole.forward_features(images))


def test_path_and_hash_are_logged_where_fast_reid_listens(tmp_path, caplog):
    file = tmp_path / "w.pth"
    torch.save(classifier("test_resnet").state_dict(), file)
    with caplog.at_level(logging.INFO, "fastreid"):
        Timm("test_resnet", weights=str(file))
    assert sha256(file) in caplog.text and str(file) in caplog.text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: state.pop("layer1.0.conv1.weight"), "1 missing: layer1.0.conv1.weight"),
        (lambda state: state.update(layer9=torch.ones(1)), "1 unknown: layer9"),
        (
            lambda state: state.update({"bn1.weight": torch.ones(5)}),
            r"shape: bn1.weight \(5,\) instead of \(32,\)",
        ),
    ],
)
def test_every_difference_is_an_error_that_lists_it(change, says, tmp_path):
    state = classifier("test_resnet").state_dict()
    change(state)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ArtefactError, match=says):
        Timm("test_resnet", weights=str(tmp_path / "w.pth"))


def test_weights_of_another_net_are_refused(tmp_path):
    torch.save(classifier("test_resnet").state_dict(), tmp_path / "w.pth")
    with pytest.raises(
        ArtefactError, match="does not fit test_efficientnet.*missing.* more; .*unknown"
    ):
        Timm("test_efficientnet", weights=str(tmp_path / "w.pth"))


def test_stages_that_were_cut_away_are_not_called_unknown(tmp_path):
    torch.save(classifier("test_efficientnet").state_dict(), tmp_path / "w.pth")
    assert Timm("test_efficientnet", (2,), weights=str(tmp_path / "w.pth")).channels == {"s2": 32}


def test_the_classifier_of_the_file_is_left_out_when_the_net_is_built_without_one(tmp_path):
    torch.save(classifier("test_resnet").state_dict(), tmp_path / "w.pth")
    assert (
        Timm("test_resnet", weights=str(tmp_path / "w.pth"), kwargs={"num_classes": 0}).channels[
            "s4"
        ]
        == 96
    )


class Malicious:
    def __reduce__(self):
        return print, ("code from a weights file ran",)


@pytest.mark.parametrize("content", [Malicious(), [1, 2], {"a": 1}])
def test_a_file_with_more_than_tensors_is_refused_and_runs_nothing(content, tmp_path, capsys):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ArtefactError, match="w.pth"):
        read_tensors(tmp_path / "w.pth")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_damaged_file_is_an_artefact_error(ending, tmp_path):
    file = tmp_path / f"w.{ending}"
    file.write_bytes(b"not weights at all")
    with pytest.raises(ArtefactError, match="w\\."):
        read_tensors(file)


def test_a_missing_file_says_where_to_put_it():
    with pytest.raises(DataError, match="nowhere.pth not found"):
        Timm("test_resnet", weights="nowhere.pth")


def test_the_shared_mobilenet_fits_whole():
    file = next(
        (
            root / "weights/mobilenetv2_100_in1k_coral_ptq.pth"
            for root in data_roots()
            if (root / "weights/mobilenetv2_100_in1k_coral_ptq.pth").exists()
        ),
        None,
    )
    if file is None:
        pytest.skip("the shared weights are not here")
    net = Timm("mobilenetv2_100", weights=str(file), kwargs={"pad_type": "same"})
    state = read_tensors(file)
    assert net.channels == {"s3": 96, "s4": 320}
    assert all(torch.equal(value, state[key]) for key, value in net.net.state_dict().items())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_F32_the_prefixes_of_wrapped_models_are_known_here_too(prefix, tmp_path):
    whole = classifier("test_resnet").state_dict()
    torch.save({f"{prefix}{name}": value for name, value in whole.items()}, tmp_path / "w.pth")
    net = Timm("test_resnet", weights=str(tmp_path / "w.pth")).net.state_dict()
    assert all(torch.equal(net[name], value) for name, value in whole.items() if name in net)


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ({"a": 1}, "these entries are no tensors: a"),
        ({"state_dict": {"x": 2}}, "these entries are no tensors: x"),
        ([1, 2], "no weights in it, but a list"),
        (torch.ones(2), "no weights in it, but a Tensor"),
    ],
)
def test_F32_what_a_file_holds_instead_of_weights_is_told(held, told, tmp_path):
    """A dict of numbers was "expected a dict … got dict"."""
    torch.save(held, tmp_path / "w.pth")
    with pytest.raises(ArtefactError, match=told):
        Timm("test_resnet", weights=str(tmp_path / "w.pth"))
