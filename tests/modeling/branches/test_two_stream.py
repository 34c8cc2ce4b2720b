"""The photo and its crop through one network."""

import pytest
import torch

from fastseek.errors import UsageError
from fastseek.modeling import branches  # noqa: F401
from fastseek.modeling.seeker import Seeker
from fastseek.registry import BRANCHES, build

CHANNELS = {"s4": 6}


def maps(seed):
    return {"s4": torch.randn(5, 6, 3, 3, generator=torch.Generator().manual_seed(seed))}


def branch(fuse, of="linear_neck(dim=4, neck='fc')"):
    return build(f"two_stream(of={of!r}, fuse='{fuse}')", BRANCHES, channels=CHANNELS).eval()


def size(module):
    return sum(one.numel() for one in module.parameters())


def test_both_streams_share_one_branch():
    """finegrained row 77: parameters almost unchanged."""
    alone = build("linear_neck(dim=4, neck='fc')", BRANCHES, channels=CHANNELS)
    assert (
        size(branch("mean")) == size(alone)
        and size(branch("concat")) == size(alone) + 2 * 4 * 4 + 4
    )


@pytest.mark.parametrize("fuse", ["mean", "concat"])
def test_it_is_the_mean_of_the_two_features_before_training(fuse):
    """finegrained row 77."""
    made = branch(fuse)
    found = made({**maps(0), "crops": maps(1)})
    for name, one in (("two_stream/whole", maps(0)), ("two_stream/crop", maps(1))):
        torch.testing.assert_close(found[name], made.of(one)["linear_neck"])
    torch.testing.assert_close(
        found["two_stream"], (found["two_stream/whole"] + found["two_stream/crop"]) / 2
    )


@pytest.mark.parametrize("fuse", ["mean", "concat"])
def test_a_photo_without_a_crop_is_its_own_crop(fuse):
    """finegrained row 77: whole-image fallback."""
    made = branch(fuse)
    torch.testing.assert_close(
        made(maps(0))["two_stream"], made({**maps(0), "crops": maps(0)})["two_stream"]
    )


def test_in_training_batch_norm_sees_both_streams_as_one_batch():
    made = branch("mean", "bnneck()").train()
    both = torch.cat([maps(0)["s4"], maps(1)["s4"]]).mean((2, 3))
    made({**maps(0), "crops": maps(1)})
    torch.testing.assert_close(made.of.norm.running_mean, 0.1 * both.mean(0))


def test_places_go_into_both_streams():
    made = branch("mean", "geo(dim=4, hidden=8)")
    torch.nn.init.normal_(made.of.project.weight)
    places = torch.tensor([(10.0, 20.0, 0.1, 5.0)] * 5)
    found = made({**maps(0), "crops": maps(1), "places": places})
    torch.testing.assert_close(
        found["two_stream/crop"], made.of({**maps(1), "places": places})["geo"]
    )


@pytest.mark.parametrize(
    "call",
    [
        "two_stream(of='gem()', fuse='sum')",
        "two_stream(of='gam()')",
        "two_stream(of=\"gem(on='s9')\")",
    ],
)
def test_settings_that_cannot_be_are_usage_errors(call):
    with pytest.raises(UsageError):
        build(call, BRANCHES, channels=CHANNELS)


def test_a_seeker_runs_images_and_crops_through_one_backbone(config, batch):
    """finegrained row 77."""
    told = {**batch, "crops": batch["images"].flip(0)}
    plain = Seeker(
        config("SEEK.BRANCHES", ["linear_neck(dim=8)"], "SEEK.LOSSES", ["arcface('linear_neck')"])
    )
    model = Seeker(
        config(
            "SEEK.BRANCHES",
            ["two_stream(of='linear_neck(dim=8)')"],
            "SEEK.LOSSES",
            ["arcface('two_stream')"],
        )
    )
    assert size(model) - size(plain) == 2 * 8 * 8 + 8 < 0.01 * size(plain)
    loss = sum(model.train()(told).values())
    loss.backward()
    assert all(
        one.grad is not None and one.grad.isfinite().all()
        for one in model.parameters()
        if one.requires_grad
    )
    with torch.no_grad():
        model.eval()
        both, swapped = (
            model(told),
            model({**batch, "images": told["crops"], "crops": told["images"]}),
        )
        torch.testing.assert_close(
            both, swapped, atol=1e-4, rtol=1e-3
        )  # the fusion starts as the mean
        assert not torch.allclose(both, model(batch), atol=1e-3)
