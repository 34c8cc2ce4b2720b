"""Exported models against the models themselves."""

import json
import logging
import re
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

from fastseek.errors import RunError, UsageError
from fastseek.inference import export as exporting
from fastseek.inference.export import export
from fastseek.inference.pretrained import load_model
from fastseek.modeling.build import build_model

TINY = {"embed_dim": 16, "depths": (1, 2), "num_heads": (1, 2), "img_size": 32, "window_size": 4}
MODELS = {
    "dolg": ("timm('test_efficientnet')", "dolg(hidden=16, atrous=8, dim=8)"),
    "tf_dolg": (
        "timm('test_efficientnet', kwargs={'pad_type': 'same'})",
        (
            "dolg(hidden=16, atrous=8, dim=8, project='after', neck='fc', pointwise=True,"
            " image_pool=True)"
        ),
    ),
    "hybrid": (
        (
            f"hybrid_swin('mobilenetv2_050', 1, 'swin_tiny_patch4_window7_224', kwargs={TINY!r}, "
            "pool='virtual_token', position=True)"
        ),
        "linear_neck(pool='none', dim=8)",
    ),
}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """torch traces every guess about a size at level debug, which pytest would keep."""
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "propagate", False)


@pytest.fixture
def trained(recipe_of, tmp_path):
    """trained("dolg") -> recipe, weights and the model in evaluation."""

    def make(name, **changes):
        torch.manual_seed(0)
        backbone, branch = MODELS[name]
        cfg = recipe_of(
            SEEK__BACKBONE=backbone, SEEK__BRANCHES=[branch], SEEK__LOSSES=[], **changes
        )
        model = build_model(cfg).eval()
        for module in model.modules():  # as after training: statistics that are not 0 and 1
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
        save_file(model.state_dict(), tmp_path / "weights.safetensors")
        (tmp_path / "config.yaml").write_text(cfg.dump())
        return tmp_path / "config.yaml", tmp_path / "weights.safetensors", model

    return make


def photos(rows, height, width):
    return torch.rand(rows, 3, height, width, generator=torch.Generator().manual_seed(rows)) * 255


@pytest.mark.parametrize(
    ("name", "size", "others"),
    [
        ("dolg", (64, 64), [(1, 64, 64), (5, 96, 64)]),
        ("tf_dolg", (45, 70), [(1, 45, 70), (3, 45, 70)]),
    ],
)
def test_an_exported_program_gives_the_models_embeddings(trained, tmp_path, name, size, others):
    config, weights, model = trained(name)
    told = export(config, weights, tmp_path / "model.pt2", size)
    run = torch.export.load(tmp_path / "model.pt2").module()
    for shape in others:
        with torch.no_grad():
            expected = F.normalize(model(photos(*shape)))
            found = run(photos(*shape))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(len(found)))
    assert ("multiples of 32" in told) == (size == (64, 64))


def test_a_model_that_torch_cannot_write_as_onnx_is_told_in_a_line_and_nothing_is_written(
    trained, tmp_path, monkeypatch
):
    def refuse(*_, **__):
        raise torch.onnx.errors.OnnxExporterError("no translation\nof this node")

    config, weights, _ = trained("dolg")
    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(
        RunError, match=r"take a newer torch, or write a .pt2 file \(no translation\)$"
    ):
        export(config, weights, tmp_path / "model.onnx", (64, 64))
    assert not list(tmp_path.glob("model*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "others"),
    [
        ("tf_dolg", (64, 64), [(1, 64, 64), (3, 64, 96)]),
        ("hybrid", (32, 32), [(1, 32, 32), (3, 32, 32)]),
    ],
)
def test_onnx_gives_the_models_embeddings_and_says_where_they_come_from(
    trained, tmp_path, name, size, others
):
    import onnxruntime

    config, weights, model = trained(name)
    export(config, weights, tmp_path / "model.onnx", size)
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    for shape in others:
        with torch.no_grad():
            expected = F.normalize(model(photos(*shape))).numpy()
        found = session.run(["embedding"], {"images": photos(*shape).numpy()})[0]
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-3)
    provenance = json.loads(session.get_modelmeta().custom_metadata_map["fastseek"])
    assert provenance["preprocessing"]["test"] == ["resize(32)"] and re.fullmatch(
        "[0-9a-f]{64}", provenance["model"]
    )
    by_name = load_model(str(tmp_path / "model.onnx"))
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    with torch.no_grad():
        batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
        expected = F.normalize(model({"images": batch})).numpy()
    assert np.abs(by_name.embed([Image.fromarray(pixels)]) - expected).max() < 1e-5
    assert by_name.provenance["model"] == provenance["model"]


def test_a_program_that_differs_from_the_model_is_not_written(trained, tmp_path, monkeypatch):
    config, weights, _ = trained("dolg")
    honest = exporting._pt2

    def lying(program, provenance):
        content, run = honest(program, provenance)
        return content, lambda images: run(images) + 0.01

    monkeypatch.setattr(exporting, "_pt2", lying)
    with pytest.raises(RunError, match="differs from the model.*nothing was written"):
        export(config, weights, tmp_path / "model.pt2", (40, 40))
    assert not (tmp_path / "model.pt2").exists()


def test_another_ending_a_missing_package_and_a_size_that_does_not_fit_are_wrong_use(
    trained, tmp_path, monkeypatch
):
    config, weights, _ = trained("hybrid")
    with pytest.raises(UsageError, match="onnx or .pt2"):
        export(config, weights, tmp_path / "model.bin")
    with pytest.raises(UsageError, match="8 x 8: give images of 32 x 32"):
        export(config, weights, tmp_path / "model.pt2", (64, 64))
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UsageError, match=r"onnxscript.*fastseek\[export\]"):
        export(config, weights, tmp_path / "model.onnx", (32, 32))


def test_the_padding_of_tensorflow_is_constant_for_multiples_of_32():
    from timm.layers.conv2d_same import Conv2dSame

    for kernel, stride, dilation in (
        (3, 2, 1),
        (5, 2, 1),
        (7, 2, 1),
        (3, 4, 1),
        (1, 2, 1),
        (3, 2, 2),
    ):
        same = Conv2dSame(2, 3, kernel, stride, dilation=dilation)
        fixed = exporting._fixed_padding(torch.nn.Sequential(same))
        for size in ((32, 64), (160, 96)):
            maps = torch.randn(1, 2, *size)
            torch.testing.assert_close(fixed(maps), same(maps))
