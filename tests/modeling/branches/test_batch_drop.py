import collections

import pytest
import torch
from torch import nn

from fastseek.errors import UsageError
from fastseek.modeling import backbones, seeker  # noqa: F401
from fastseek.modeling.branches.batch_drop import BatchDrop
from fastseek.modeling.layers.drop_rectangle import DropRectangle
from fastseek.registry import BRANCHES, build

from fastreid.modeling.meta_arch import build_model


@pytest.mark.parametrize(
    ("share", "size", "hidden"),
    [
        ((0.33, 1.0), (24, 8), (8, 8)),
        ((0.5, 0.5), (7, 7), (4, 4)),
        ((0.5, 0.5), (5, 5), (2, 2)),
        ((0.5, 0.5), (9, 3), (4, 2)),
        ((0.1, 1.0), (4, 4), (0, 4)),
    ],
)
def test_one_rectangle_is_hidden_from_every_image_and_channel(share, size, hidden):
    """finegrained row 51; trap 19: 2.5 and 4.5 are rounded to the even number."""
    drop, maps = DropRectangle(*share).train(), torch.rand(3, 4, *size) + 1
    for _ in range(10):
        out = drop(maps)
        gone = out == 0
        assert (gone == gone[:1, :1]).all() and torch.equal(out[~gone], maps[~gone])
        rows, columns = gone[0, 0].any(1).sum().item(), gone[0, 0].any(0).sum().item()
        assert (rows, columns) == (hidden if 0 not in hidden else (0, 0))
        assert gone[0, 0].sum() == rows * columns


def test_every_place_has_the_same_chance():
    """finegrained row 51: 9 - 4 + 1 = 6 places."""
    drop, maps = DropRectangle(4 / 9, 1.0).train(), torch.ones(1, 1, 9, 2)
    found = collections.Counter(
        int((drop(maps)[0, 0, :, 0] == 0).nonzero()[0]) for _ in range(1200)
    )
    assert sorted(found) == list(range(6))
    assert (
        sum((number - 200) ** 2 / 200 for number in found.values()) < 20.5
    )  # chi-square, 5 degrees, p = 0.001


def test_the_rectangle_follows_torchs_seed():
    drop, maps, found = DropRectangle(0.3, 0.3).train(), torch.ones(1, 1, 30, 30), []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(drop(maps))
    assert torch.equal(*found)


def test_evaluation_hides_nothing():
    """finegrained row 51: identity in eval."""
    maps = torch.randn(2, 3, 6, 4)
    assert DropRectangle(0.5, 0.5).eval()(maps) is maps


def test_the_head_is_its_definition():
    """finegrained row 51: facts 3, on the map of evaluation."""
    branch, maps = BatchDrop(channels={"s4": 16}).eval(), torch.randn(3, 16, 6, 4)
    out = branch({"s4": maps})
    conv, norm = branch.whole[1], branch.whole[2]
    whole = norm(conv(maps.mean((2, 3), keepdim=True))).relu().flatten(1)
    block, line, last = branch.part[0], branch.part[4], branch.part[5]
    hidden = block.bn1(block.conv1(maps)).relu()
    hidden = block.bn2(block.conv2(hidden)).relu()
    hidden = (block.bn3(block.conv3(hidden)) + maps).relu()
    part = last(line(hidden.amax((2, 3)))).relu()
    torch.testing.assert_close(out["batch_drop/global"], whole)
    torch.testing.assert_close(out["batch_drop/drop"], part)
    torch.testing.assert_close(out["batch_drop"], torch.cat([whole, part], 1))
    assert branch.dims == {"batch_drop": 1536, "batch_drop/global": 512, "batch_drop/drop": 1024}


def test_the_map_it_is_given_stays_as_it_was():
    branch, maps = BatchDrop(channels={"s4": 16}).train(), torch.randn(3, 16, 6, 4)
    before = maps.clone()
    branch({"s4": maps})
    assert torch.equal(maps, before)


def test_the_recipe_of_the_third_place_takes_a_step_and_every_weight_gets_a_gradient(config, batch):
    """finegrained row 51: each branch with a soft-margin triplet and a smoothed softmax."""
    on = ("batch_drop/global", "batch_drop/drop")
    losses = [
        f"{loss}('{name}'{more})"
        for name in on
        for loss, more in (("triplet", ", margin=None"), ("cross_entropy", ", smoothing=0.1"))
    ]
    model = build_model(
        config(
            "SEEK.BACKBONE",
            "timm('test_efficientnet', stages=(4,))",
            "SEEK.BLOCKS",
            ["last_stride()"],
            "SEEK.BRANCHES",
            ["batch_drop()"],
            "SEEK.LOSSES",
            losses,
        )
    ).train()
    found = model(batch)
    sum(found.values()).backward()
    assert sorted(found) == sorted(
        f"loss_{name}/{one}" for name in ("triplet", "cross_entropy") for one in on
    )
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert model.eval()(batch).shape == (4, 1536)


def test_its_norms_and_layers_start_as_the_source_has_them():
    branch = BatchDrop(channels={"s4": 400})
    assert branch.part[4].weight.std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.05)
    assert all(
        (norm.weight == 1).all() for norm in branch.modules() if isinstance(norm, nn.BatchNorm1d)
    )


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("batch_drop(height=1.0)", "not both 1"),
        ("batch_drop(width=0.0)", "shares"),
        ("batch_drop(on='s3')", "only"),
        ("batch_drop(on='odd')", "4 divides"),
    ],
)
def test_an_impossible_setting_is_a_usage_error(call, says):
    with pytest.raises(UsageError, match=says):
        build(call, BRANCHES, channels={"s4": 16, "odd": 18})
