"""The picture and the place, added."""

import math

import pytest
import torch
import torch.nn.functional as F

from fastseek.errors import UsageError
from fastseek.modeling import branches, losses  # noqa: F401
from fastseek.modeling.seeker import Seeker
from fastseek.registry import BRANCHES, LOSSES, build

CHANNELS = {"s4": 6}
NAN = math.nan


@pytest.fixture
def maps():
    return {"s4": torch.randn(5, 6, 3, 3, generator=torch.Generator().manual_seed(2))}


@pytest.fixture
def places():
    return torch.tensor(
        [
            (10.0, 20.0, 0.1, NAN),
            (-80.0, 170.0, 0.9, 5.0),
            (NAN, NAN, 0.5, NAN),
            (NAN,) * 4,
            (1.0, 2.0, NAN, 1e6),
        ]
    )


def branch(call="geo(dim=4, hidden=8, blocks=1)"):
    made = build(call, BRANCHES, channels=CHANNELS)
    return made


def taught(call="geo(dim=4, hidden=8, blocks=1)"):
    made = branch(call)
    torch.nn.init.normal_(made.project.weight)
    torch.nn.init.normal_(made.net.places.no_place)
    return made


def test_it_starts_as_the_picture_alone(maps, places):
    """finegrained row 75."""
    found = branch().eval()({**maps, "places": places})
    assert torch.equal(found["geo"], found["geo/image"]) and not found["geo/place"].any()


def test_the_embedding_is_the_sum_of_the_two_features(maps, places):
    """finegrained row 75."""
    made = taught().eval()
    found = made({**maps, "places": places})
    assert torch.equal(found["geo"], found["geo/image"] + found["geo/place"])
    assert torch.equal(found["geo/image"], made.neck(maps["s4"].mean((2, 3))))
    known, vague = found["geo/place"][:4], found["geo/place"][4]
    assert len({tuple(row) for row in known.tolist()}) == 4
    # a place known to 1,000 km and no date are as good as nothing
    torch.testing.assert_close(vague, known[3])


def test_without_places_every_photo_gets_the_one_feature_of_the_unknown(maps, places):
    """finegrained row 75: absent from the batch is as NaN, and as unknown place and date of a
    single photo.
    """
    made = taught().eval()
    absent = made(maps)
    unknown = made({**maps, "places": torch.full((5, 4), NAN)})
    assert torch.equal(absent["geo"], unknown["geo"]) and absent["geo"].isfinite().all()
    constant = made.project(made.net(torch.full((1, 4), NAN)))
    torch.testing.assert_close(absent["geo"], absent["geo/image"] + constant)
    torch.testing.assert_close(absent["geo"][3], made({**maps, "places": places})["geo"][3])


def test_in_training_a_share_of_the_photos_hides_its_place(places):
    """finegrained row 75."""
    made = taught("geo(dim=4, hidden=8, blocks=1, dropout=0.0, drop=0.3)").train()
    many = {"s4": torch.zeros(2000, 6, 1, 1), "places": places[:1].expand(2000, 4)}
    torch.manual_seed(3)
    found = made(many)["geo/place"]
    unknown = made.place(torch.full((1, 4), NAN))
    hidden = torch.isclose(found, unknown, atol=1e-5).all(1)
    assert hidden.float().mean() == pytest.approx(0.3, abs=0.04)
    torch.testing.assert_close(
        found[~hidden], made.place(places[:1]).expand(int((~hidden).sum()), 4)
    )
    assert not torch.isclose(made.eval()(many)["geo/place"], unknown, atol=1e-5).all(1).any()


def test_gradients_reach_both_networks_and_the_trained_vectors(maps, places):
    made = taught("geo(dim=4, hidden=8, blocks=1, drop=0.0)").train()
    made({**maps, "places": places})["geo"].square().sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert made.net.places.no_place.grad.any() and made.project.weight.grad.any()


def test_half_precision_around_it_does_not_blur_the_place(places):
    made = taught().eval()
    near = torch.tensor([(50.0, 8.0, NAN, NAN), (50.01, 8.0, NAN, NAN)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = made({"s4": torch.zeros(2, 6, 1, 1), "places": near})["geo/place"]
    torch.testing.assert_close(found, made.place(near))
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize(
    "call",
    [
        "geo(drop=1)",
        "geo(dropout=-0.1)",
        "geo(encoding='flat')",
        "geo(on='s9')",
        "geo(uncertainty=0)",
        "geo(pool='max')",
        "geo(hidden=0)",
    ],
)
def test_settings_that_cannot_be_are_usage_errors(call):
    with pytest.raises(UsageError):
        build(call, BRANCHES, channels=CHANNELS)


def test_a_seeker_takes_places_in_training_and_evaluation_and_works_without(config, batch):
    """finegrained row 75."""
    told = {**batch, "places": torch.tensor([(10.0, 20.0, 0.1, NAN)] * 3 + [(NAN,) * 4])}
    model = Seeker(
        config(
            "SEEK.BRANCHES",
            ["geo(dim=8, hidden=8)"],
            "SEEK.LOSSES",
            ["arcface('geo')", "cross_entropy('geo/place')"],
        )
    )
    for one in (told, batch):
        loss = sum(model.train()(one).values())
        loss.backward()
        assert loss.isfinite()
    torch.nn.init.normal_(model.branches["geo"].project.weight)
    with torch.no_grad():
        model.eval()
        assert not torch.allclose(model(told)[:3], model(batch)[:3], atol=1e-4)
        torch.testing.assert_close(model(told)[3], model(batch)[3])
        assert torch.equal(model.logits(batch["images"]), model.logits(batch)) and model.logits(
            told
        ).shape == (4, 4)


def test_a_model_with_places_can_be_exported_for_photos_without(config, batch):
    """finegrained row 75."""
    model = Seeker(config("SEEK.BRANCHES", ["geo(dim=8, hidden=8)"], "SEEK.LOSSES", [])).eval()
    size = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(
        model, (batch["images"],), dynamic_shapes=({0: size},), strict=False
    )
    with torch.no_grad():
        torch.testing.assert_close(
            program.module()(batch["images"][:3]), model(batch["images"][:3]), atol=1e-4, rtol=1e-3
        )


def trained(features, places, targets, call, steps=60):
    """A classifier over map "s4" and places, as accuracy on the second half."""
    torch.manual_seed(0)
    made = build(call, BRANCHES, channels={"s4": features.shape[1]})
    loss = build(
        "cross_entropy('geo', smoothing=0.0)",
        LOSSES,
        dims=made.dims,
        counts=torch.bincount(targets),
    )
    optimizer = torch.optim.Adam([*made.parameters(), *loss.parameters()], 1e-2)
    half = len(targets) // 2

    def logits(rows):
        told = {} if places is None else {"places": places[rows]}
        return made({"s4": features[rows, :, None, None], **told})["geo"]

    for _ in range(steps):
        optimizer.zero_grad()
        loss(logits(slice(0, half)), targets[:half]).backward()
        optimizer.step()
    made.eval()
    with torch.no_grad():
        return float(
            (loss.logits(logits(slice(half, None))).argmax(1) == targets[half:]).float().mean()
        )


def test_a_planted_signal_of_places_is_gained_and_a_shuffled_one_is_not():
    """finegrained row 75: pairs of classes look alike and live apart."""
    random = torch.Generator().manual_seed(5)
    targets = torch.arange(8).repeat(60)[torch.randperm(480, generator=random)]
    looks = F.one_hot(targets // 2, 4).float() + 0.3 * torch.randn(480, 4, generator=random)
    homes = torch.stack(
        [torch.rand(8, generator=random) * 120 - 60, torch.rand(8, generator=random) * 360 - 180], 1
    )
    places = torch.full((480, 4), NAN)
    places[:, :2] = homes[targets] + 4 * torch.randn(480, 2, generator=random)
    places[:, 1] = (places[:, 1] + 180) % 360 - 180
    places[::7] = NAN
    call = "geo(dim=16, hidden=32, blocks=1, dropout=0.0)"
    without = trained(looks, None, targets, call)
    planted = trained(looks, places, targets, call)
    shuffled = trained(looks, places[torch.randperm(480, generator=random)], targets, call)
    assert planted > without + 0.25 and shuffled < without + 0.05
    assert without < 0.6
