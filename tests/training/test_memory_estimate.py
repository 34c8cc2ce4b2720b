"""The memory estimate against what the CPU's allocator says, and against sums by hand."""

import pathlib

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from fastseek.errors import UsageError
from fastseek.modeling.build import build_model
from fastseek.training.memory_estimate import kept_bytes, memory_of, memory_table

ROOT = pathlib.Path(__file__).parents[2]


class Plain(nn.Module):
    """Two layers, so that the sum can be made by hand."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(30, 20), nn.Linear(20, 5)

    def embed(self, images):
        return self.second(torch.relu(self.first(images)))


def test_what_is_kept_is_the_input_and_the_result_of_every_layer_once():
    """finegrained row 57: the weights are not counted; the relu's result, which two layers keep, is
    counted once.
    """
    assert kept_bytes(Plain(), torch.zeros(7, 30)) == 4 * 7 * (30 + 20)
    with torch.device("meta"):
        assert kept_bytes(Plain(), torch.zeros(7, 30)) == 4 * 7 * (30 + 20)


def test_the_estimate_of_a_small_net_is_what_the_allocator_holds_after_its_forward_pass(recipe_of):
    """finegrained row 57: within a tenth."""
    cfg = recipe_of(
        SEEK__BACKBONE="timm(name='mobilenetv2_050', stages=(4,))",
        SEEK__TRAIN=["resize(64)"],
        SEEK__LOSSES=[],
    )
    model = build_model(cfg).train()
    images = torch.randn(8, 3, 64, 64)
    model.embed(images)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        answer = model.embed(images)
    held = sum(event.self_cpu_memory_usage for event in found.events())
    assert answer and held > 0
    assert 8 * memory_of(cfg).image == pytest.approx(held, rel=0.1)


def test_frozen_layers_and_mixed_precision_take_less_and_a_larger_photo_takes_more(recipe_of):
    small = memory_of(recipe_of())
    assert (
        small.size == (32, 32)
        and small.batch == 12
        and small.together > small.fixed > small.weights
    )
    larger = memory_of(recipe_of(SEEK__TRAIN=["resize(64)"]))
    assert larger.image == pytest.approx(4 * small.image, rel=0.1) and larger.fixed == small.fixed
    assert memory_of(recipe_of(SOLVER__AMP__ENABLED=True)).image == small.image / 2
    frozen = memory_of(recipe_of(SEEK__FREEZE=["blocks(3)"]))
    assert (
        frozen.gradients < small.gradients
        and frozen.image < small.image
        and frozen.weights == small.weights
    )


def test_another_architecture_is_refused(recipe_of):
    with pytest.raises(UsageError, match="Seeker"):
        memory_of(recipe_of(MODEL__META_ARCHITECTURE="Baseline"))


def test_the_two_sizes_of_sorghum_are_told_with_the_largest_batch():
    """finegrained row 57: 83.6 million weights with the embedding's; 960 pixels need 3.5 times as
    much as 512.
    """
    found = []
    for name in ("regnety_512", "regnety_960"):
        told = memory_table(ROOT / "projects" / "Sorghum100" / "configs" / f"{name}.yml", gib=80)
        photo = next(line for line in told.splitlines() if line.startswith("an image of"))
        found.append(float(photo.split()[-2].replace(",", "")))
        assert f"{name[-3:]} x {name[-3:]}" in photo and "largest batch in 80 GiB" in told
    assert found[1] / found[0] == pytest.approx((960 / 512) ** 2, rel=0.05)


def test_F60_the_second_image_of_a_recipe_with_crops_is_counted(recipe_of):
    branch = {"SEEK__BRANCHES": ['two_stream(of="gem(dim=32)")'], "SEEK__LOSSES": []}
    cfg = recipe_of(SEEK__CROPS="boxes()", SEEK__TRAIN=["resize(64)"], **branch)
    model = build_model(cfg).train()
    images, crops = torch.randn(2, 8, 3, 64, 64)
    model.embed(images, crops)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        answer = model.embed(images, crops)
    held = sum(event.self_cpu_memory_usage for event in found.events())
    assert answer and 8 * memory_of(cfg).image == pytest.approx(held, rel=0.1)
