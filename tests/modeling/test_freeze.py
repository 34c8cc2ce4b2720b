"""SEEK.FREEZE."""

import pytest
import timm
import torch
from torch import nn

from fastseek.errors import UsageError
from fastseek.modeling.freezing import freeze
from fastseek.training.lr_groups import factors
from fastseek.training.trainer import Trainer

BLOCKS = {"SEEK__BACKBONE": "timm(name='mobilenetv2_050', stages=(4,), drop_path=0.1)"}


class Wrapped(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.backbone, self.head = nn.Module(), nn.Linear(3, 2)
        self.backbone.net = net


def featured(name, **options):
    return Wrapped(timm.create_model(name, features_only=True, **options))


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def trained(cfg, kind=Trainer):
    trainer = kind(cfg)
    before = state(trainer.model)
    trainer.train()
    after = state(trainer.model)
    return {name for name in after if torch.equal(before[name], after[name])}, trainer


def test_frozen_parameters_and_statistics_are_bit_identical_after_an_epoch_and_the_others_moved(
    recipe_of,
):
    """landmark row 35, finegrained row 42."""
    cfg = recipe_of(
        SEEK__FREEZE=["backbone.net.conv_stem", "backbone.net.bn1", "backbone.net.blocks.0."],
        SOLVER__MAX_EPOCH=1,
    )
    same, trainer = trained(cfg)
    wanted = {
        name
        for name in trainer.model.state_dict()
        if name.startswith(("backbone.net.conv_stem", "backbone.net.bn1", "backbone.net.blocks.0."))
    }
    assert wanted and wanted <= same
    assert {name for name in same - wanted if not name.endswith("num_batches_tracked")} == set()


def test_ten_steps_leave_the_statistics_of_frozen_blocks_bit_equal(recipe_of):
    """finegrained row 42."""
    same, trainer = trained(recipe_of(SEEK__FREEZE=["blocks(5)"], SOLVER__MAX_EPOCH=4, **BLOCKS))
    assert trainer.iter >= 10
    running = {name for name in trainer.model.state_dict() if "running_" in name}
    first = {
        name for name in running if name.split(".")[2] != "blocks" or int(name.split(".")[3]) < 3
    }
    assert {name for name in running if name in same} == {
        name for name in first if name.startswith("backbone.net.")
    }


def test_an_evaluation_that_ends_with_train_thaws_nothing(recipe_of, tests_on):
    """trap 12."""

    class Careless(Trainer):
        @classmethod
        def test(cls, cfg, model):
            model.train()
            return {"metric": 1.0}

    cfg = recipe_of(
        SEEK__FREEZE=["blocks(16)"],
        TEST__EVAL_PERIOD=1,
        SOLVER__MAX_EPOCH=3,
        DATASETS__TESTS=tests_on,
        **BLOCKS,
    )
    same, trainer = trained(cfg, Careless)
    assert {name for name in trainer.model.state_dict() if name.startswith("backbone.")} <= same


@pytest.mark.parametrize(
    "fragment, kept", [("norms", ("backbone.", "branches.")), ("norms('backbone')", ("backbone.",))]
)
def test_all_norms_of_a_network_or_of_a_part_of_it_rest_and_everything_else_is_trained(
    recipe_of, fragment, kept
):
    """finegrained row 86: frozen BN is no gradient to gamma and beta, and running statistics
    unchanged.
    """
    same, trainer = trained(
        recipe_of(
            SEEK__FREEZE=[fragment],
            SEEK__BRANCHES=["bnneck(dim=32)"],
            SEEK__LOSSES=["cross_entropy(on='bnneck')"],
            SOLVER__MAX_EPOCH=1,
        )
    )
    norms = {
        name
        for name, module in trainer.model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    }
    wanted = {
        name
        for name in trainer.model.state_dict()
        if name.rpartition(".")[0] in norms and name.startswith(kept)
    }
    assert any(
        name.startswith("branches.")
        for name in trainer.model.state_dict()
        if name.rpartition(".")[0] in norms
    )
    moved = set(trainer.model.state_dict()) - same
    assert wanted <= same and moved and not {name for name in wanted if name in moved}
    assert {name for name, _ in trainer.model.named_parameters()} - wanted <= moved | {
        name for name, one in trainer.model.named_parameters() if not one.requires_grad
    }


@pytest.mark.parametrize(
    "name, blocks",
    [("tf_efficientnet_b3", 26), ("tf_efficientnet_b4", 32), ("tf_efficientnet_b5", 39)],
)
def test_blocks_are_counted_one_by_one_over_the_stages_from_0_to_k_inclusive(name, blocks):
    """finegrained row 42: B3, B4 and B5 have 26, 32 and 39 blocks."""
    with torch.device("meta"):
        model = featured(name)
    freeze(model, ["blocks(15)"])
    single = [block for stage in model.backbone.net.blocks for block in stage]
    assert len(single) == blocks
    for number, block in enumerate(single):
        assert {one.requires_grad for one in block.parameters()} == {number > 15}
        assert all(module.training == (number > 15) for module in block.modules())
    assert not any(one.requires_grad for one in model.backbone.net.conv_stem.parameters())
    assert not any(one.requires_grad for one in model.backbone.net.bn1.parameters())
    with pytest.raises(UsageError, match=f"blocks 0 to {blocks - 1}"):
        freeze(model, [f"blocks({blocks})"])


@pytest.mark.parametrize(
    "name, last, wanted",
    [
        ("resnet50", 3, ["conv1", "bn1", "layer1.0", "layer1.1", "layer1.2", "layer2.0"]),
        ("convnext_atto", 1, ["stem_0", "stem_1", "stages_0.blocks.0", "stages_0.blocks.1"]),
        # finegrained 2.2: of DenseNet all up to transition2; 6 + 1 + 12 + 1 layers
        (
            "densenet121",
            19,
            ["features_conv0", "features_norm0", "features_denseblock1", "features_transition1"]
            + ["features_denseblock2", "features_transition2"],
        ),
    ],
)
def test_F17_blocks_are_the_stem_and_the_first_blocks_of_any_net_for_freezing_and_for_rates(
    name, last, wanted
):
    """SEEK.FREEZE blocks(3) froze conv1 and bn1 of a ResNet-50 and nothing else."""
    with torch.device("meta"):
        model, other = featured(name), featured(name)
    frozen = freeze(model, [f"blocks({last})"])
    known = [one.removeprefix("backbone.net.") for one, _ in model.named_parameters()]
    assert [one.removeprefix("backbone.net.") for one in frozen.names] == [
        one for one in known if any(one.startswith(f"{start}.") for start in wanted)
    ]
    rates = factors(other, [f"blocks({last}): 0.1"])
    assert {one for one, rate in rates.items() if rate == 0.1} == set(frozen.names)


def test_layers_behind_the_last_stage_are_no_blocks():
    with torch.device("meta"):
        model = featured("mobilenetv2_050")
        model.backbone.net.conv_head, model.backbone.net.bn2 = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
    assert not any("conv_head" in name for name in freeze(model, ["blocks(16)"]).names)
    with pytest.raises(UsageError, match="blocks 0 to 16"):
        freeze(model, ["blocks(17)"])


def test_layer_norms_rest_too():
    """trap 21: timm's freeze_batch_norm_2d leaves LayerNorm alone."""
    with torch.device("meta"):
        model = featured("convnext_atto")
    frozen = freeze(model, ["norms"])
    wanted = {
        name
        for name, _ in model.named_parameters()
        if "norm" in name or "stem_1" in name or ".downsample.0." in name
    }
    assert set(frozen.names) == wanted


def test_a_norm_of_which_only_the_bias_is_named_keeps_learning_its_statistics():
    model = Wrapped(
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=False))
    )
    frozen = freeze(model, ["net.1.bias"])
    assert frozen.names == ("backbone.net.1.bias",) and frozen.modules == ()
    assert [type(one).__name__ for one in freeze(model, ["net."]).modules] == [
        "BatchNorm2d",
        "BatchNorm2d",
    ]


@pytest.mark.parametrize(
    "entry, told",
    [
        ("backbone.net.conv_stm", "backbone.net.conv_stem"),
        ("blocks('a')", "one whole number"),
        ("blocks(99)", "blocks.0.0"),
        ("norms('necks')", "no normalisation layer"),
        ("norms(3)", "expected"),
        ("xyz", "names begin with backbone, branches, losses"),
    ],
)
def test_what_fits_nothing_is_told_with_near_names(recipe_of, entry, told):
    with pytest.raises(UsageError, match=told):
        Trainer(recipe_of(SEEK__FREEZE=[entry], **BLOCKS))


def test_a_model_that_is_frozen_whole_cannot_be_trained(recipe_of):
    with pytest.raises(UsageError, match="SEEK.FREEZE"):
        Trainer(recipe_of(SEEK__FREEZE=["backbone", "branches", "losses"]))
