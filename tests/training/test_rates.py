"""SEEK.RATES."""

import pathlib

import pytest
import timm
import torch
from torch import nn

from fastseek.errors import UsageError
from fastseek.modeling.layer_order import layer_blocks
from fastseek.training import lr_groups
from fastseek.training.trainer import Trainer


class Wrapped(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.backbone, self.head = nn.Module(), nn.Linear(3, 2)
        self.backbone.net = net


def rate_of(trainer):
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    return {
        names[id(one)]: group["lr"]
        for group in trainer.optimizer.param_groups
        for one in group["params"]
    }


class Watched(Trainer):
    def run_step(self):
        self.seen = [*getattr(self, "seen", []), rate_of(self)]
        super().run_step()


@pytest.mark.parametrize(
    "schedule", ["", "warmup_steps('paper', epochs=2, milestones=(2,))", "warmup_cosine()"]
)
@pytest.mark.parametrize("kind", ["MultiStepLR", "CosineAnnealingLR"])
def test_factors_are_in_the_real_rates_at_every_step_of_every_schedule(recipe_of, schedule, kind):
    """finegrained row 86, trap 21."""
    changes = {
        "SEEK__SCHEDULE": schedule,
        "SOLVER__SCHED": kind,
        "SOLVER__STEPS": [1],
        "SOLVER__MAX_EPOCH": 3,
        "SOLVER__ETA_MIN_LR": 0.0,
    }
    plain, rated = (
        Watched(recipe_of(**changes)),
        Watched(recipe_of(**changes, SEEK__RATES=["net.conv_stem: 0.5", "layer_decay: 0.75"])),
    )
    factors = lr_groups.factors(rated.model, ["net.conv_stem: 0.5", "layer_decay: 0.75"])
    plain.train()
    rated.train()
    assert len({next(iter(one.values())) for one in plain.seen}) > 1
    for before, after in zip(plain.seen, rated.seen, strict=True):
        assert after == pytest.approx(
            {name: rate * factors[name] for name, rate in before.items()}, rel=1e-9
        )


def test_the_decay_falls_by_one_power_a_block_from_the_head_to_the_stem():
    """finegrained row 86."""
    with torch.device("meta"):
        model = Wrapped(timm.create_model("tf_efficientnet_b0", features_only=True))
    found = lr_groups.factors(model, ["layer_decay: 0.5"])
    blocks = [
        f"backbone.net.blocks.{s}.{b}."
        for s, stage in enumerate(model.backbone.net.blocks)
        for b in range(len(stage))
    ]
    for name, factor in found.items():
        depth = next(
            (number + 1 for number, block in enumerate(blocks) if name.startswith(block)), 0
        )
        expected = 1 if name.startswith("head") else 0.5 ** (len(blocks) + 1 - depth)
        assert factor == expected, name


def test_F52_a_power_a_stage_leaves_no_big_model_behind():
    """layer_decay 0.75 gave 54 % of a ResNeSt-269e less than a hundredth, its stem 5.7e-12."""
    with torch.device("meta"):
        model = Wrapped(timm.create_model("resnest269e", features_only=True))
    found = lr_groups.factors(model, ["stage_decay: 0.5"])
    wanted = {"conv1": 5, "bn1": 5, "layer1": 4, "layer2": 3, "layer3": 2, "layer4": 1}
    for name, factor in found.items():
        power = 0 if name.startswith("head") else wanted[name.split(".")[2]]
        assert factor == 0.5**power, name


@pytest.mark.parametrize(
    "name, options, count, first",
    [
        ("resnet18", {}, 1 + 8, ["conv1", "bn1", "act1", "maxpool"]),
        ("resnet18d", {}, 1 + 8, ["conv1", "bn1", "act1", "maxpool"]),
        ("regnety_002", {}, 1 + 13, ["stem"]),
        ("swin_tiny_patch4_window7_224", {}, 1 + 12, ["patch_embed"]),
        ("convnext_atto", {}, 1 + 12, ["stem_0", "stem_1"]),
        ("densenet121", {}, 1 + 58 + 3 + 1, ["features_conv0", "features_norm0", "features_pool0"]),
        ("vit_tiny_patch16_224", {"img_size": 64}, 1 + 12 + 1, None),
    ],
)
def test_timm_nets_are_cut_into_their_single_blocks_and_no_parameter_is_left_out(
    name, options, count, first
):
    with torch.device("meta"):
        net = timm.create_model(name, features_only=True, **options)
        net = net.model if name.startswith("vit") else net
    made = layer_blocks(net)
    assert len(made) in (count, count - 1) if name.startswith("vit") else len(made) == count
    assert first is None or made[0] == first
    parts = [part for unit in made for part in unit]
    direct = {key for key, _ in net.named_parameters(recurse=False)}
    for key, _ in net.named_parameters():
        assert key in direct or sum(key.startswith(f"{part}.") for part in parts) == 1, key


def test_the_first_entry_that_fits_wins_and_the_rest_stays_as_it_is(recipe_of):
    model = Trainer(recipe_of()).model
    found = lr_groups.factors(model, ["blocks.0: 0.1", "backbone: 0.2", "blocks: 9"])
    assert {factor for name, factor in found.items() if ".blocks.0" in name} == {0.1}
    rest = {name: factor for name, factor in found.items() if ".blocks.0" not in name}
    assert {factor for name, factor in rest.items() if name.startswith("backbone")} == {0.2}
    assert {factor for name, factor in rest.items() if not name.startswith("backbone")} == {1}


def test_factors_come_on_top_of_fast_reids_own(recipe_of):
    trainer = Trainer(
        recipe_of(
            SEEK__RATES=["backbone: 0.1"],
            SOLVER__BIAS_LR_FACTOR=2.0,
            SOLVER__BASE_LR=1.0,
            SOLVER__WARMUP_ITERS=0,
        )
    )
    assert {
        round(rate, 9)
        for name, rate in rate_of(trainer).items()
        if name.startswith("backbone") and name.endswith("bias")
    } == {0.2}
    assert {
        round(rate, 9)
        for name, rate in rate_of(trainer).items()
        if name.startswith("backbone") and name.endswith("weight")
    } == {0.1}


def test_frozen_parameters_have_no_rate(recipe_of):
    trainer = Trainer(recipe_of(SEEK__RATES=["layer_decay: 0.9"], SEEK__FREEZE=["conv_stem"]))
    assert "backbone.net.conv_stem.weight" not in rate_of(trainer)


def test_the_table_of_factors_is_logged(recipe_of):
    cfg = recipe_of(SEEK__RATES=["backbone.net: 0.25"])
    trainer = Trainer(cfg)
    told = lr_groups.table(trainer.model, lr_groups.factors(trainer.model, ["backbone.net: 0.25"]))
    lines = told.splitlines()
    assert lines[0].split()[0] == "0.25" and lines[0].split()[2].startswith("backbone.net")
    assert (
        lines[-1].split()[0] == "1"
        and told in (pathlib.Path(cfg.OUTPUT_DIR) / "log.txt").read_text()
    )
    total = sum(int(line.split()[1].replace(",", "")) for line in lines)
    assert total == sum(one.numel() for one in trainer.model.parameters() if one.requires_grad)


@pytest.mark.parametrize(
    "entry, told",
    [
        ("backbone", "part of a name: factor"),
        ("backbone: x", "part of a name"),
        (": 3", "part of a name"),
        ("backbone: -1", "part of a name"),
        ("backbone: nan", "part of a name"),
        ("layer_decay: 1.5", "up to 1"),
        ("layer_decay: 0", "above 0"),
        ("backbone.nett: 1", "near it: .*backbone.net"),
    ],
)
def test_other_entries_are_refused(recipe_of, entry, told):
    with pytest.raises(UsageError, match=told):
        Trainer(recipe_of(SEEK__RATES=[entry]))
