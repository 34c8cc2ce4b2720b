import copy
import math

import pytest
import torch
import torch.nn.functional as F

from fastseek.errors import UsageError
from fastseek.modeling import seeker  # noqa: F401

from fastreid.modeling.meta_arch import build_model
from fastreid.utils.events import EventStorage

DOLG = "dolg(hidden=16, atrous=8, dim=8)"


def test_every_loss_stands_under_its_own_name_and_every_parameter_gets_a_gradient(config, batch):
    model = build_model(
        config(
            "SEEK.BRANCHES",
            [DOLG, "bnneck(dim=6)"],
            "SEEK.LOSSES",
            [
                "subcenter_arcface('dolg')",
                "cross_entropy('bnneck')",
                "triplet('bnneck/before')",
                "triplet('dolg')",
            ],
        )
    ).train()
    found = model(batch)
    assert list(found) == [
        "loss_subcenter_arcface",
        "loss_cross_entropy",
        "loss_triplet/bnneck/before",
        "loss_triplet/dolg",
    ]
    assert all(value.dim() == 0 and torch.isfinite(value) for value in found.values())
    sum(found.values()).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_a_few_steps_lower_the_loss(config, batch):
    model = build_model(
        config("SEEK.BRANCHES", [DOLG], "SEEK.LOSSES", ["subcenter_arcface('dolg', s=10)"])
    ).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    values = []
    for _ in range(6):
        loss = sum(model(batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < values[0]


def test_the_batch_is_not_changed_so_that_a_flipped_copy_is_honest(config, batch):
    """fast-reid facts 3.3: upstream normalises in place."""
    before = copy.deepcopy(batch)
    model = build_model(config())
    for mode in (True, False):
        model.train(mode)(batch)
        assert torch.equal(batch["images"], before["images"]) and torch.equal(
            batch["targets"], before["targets"]
        )
    assert batch.keys() == before.keys()


def test_images_are_normalised_with_the_configs_mean_and_deviation(config, batch):
    cfg = config("MODEL.PIXEL_MEAN", [10.0, 20.0, 30.0], "MODEL.PIXEL_STD", [2.0, 4.0, 5.0])
    found = build_model(cfg).preprocess(batch["images"])
    for channel, (mean, deviation) in enumerate([(10, 2), (20, 4), (30, 5)]):
        torch.testing.assert_close(
            found[:, channel], (batch["images"][:, channel] - mean) / deviation
        )


def test_evaluation_gives_the_branchs_own_embedding(config, batch):
    model = build_model(config()).eval()
    with torch.no_grad():
        out = model(batch)
        assert torch.equal(out, model.embed(model.preprocess(batch["images"]))["gem"])
        assert torch.equal(out, model(batch["images"]))
    assert out.shape == (4, model.dim) == (4, 8) and out.dtype == torch.float32


def test_several_branches_count_equally(config, batch):
    model = build_model(
        config("SEEK.BRANCHES", ["bnneck()", "gem(dim=8)"], "SEEK.LOSSES", [])
    ).eval()
    with torch.no_grad():
        out = model(batch)
        parts = model.embed(model.preprocess(batch["images"]))
    assert out.shape == (4, 72) == (4, model.dim)
    torch.testing.assert_close(
        out, torch.cat([F.normalize(parts["bnneck"]), F.normalize(parts["gem"])], 1)
    )


def test_one_photo_gives_what_it_gives_in_a_batch(config, batch):
    """landmark row 20."""
    model = build_model(config("SEEK.BRANCHES", [DOLG], "SEEK.LOSSES", [])).eval()
    with torch.no_grad():
        torch.testing.assert_close(
            model(batch["images"][1:2]), model(batch)[1:2], atol=1e-4, rtol=1e-3
        )


def test_fast_reids_own_backbone_is_map_s4(config, batch):
    model = build_model(
        config(
            "SEEK.BACKBONE",
            "",
            "MODEL.BACKBONE.NAME",
            "build_resnet_backbone",
            "MODEL.BACKBONE.DEPTH",
            "18x",
            "MODEL.BACKBONE.FEAT_DIM",
            512,
            "SEEK.BRANCHES",
            ["bnneck()"],
            "SEEK.LOSSES",
            ["cross_entropy('bnneck')"],
        )
    ).train()
    found = model(batch)
    sum(found.values()).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert model.dim == 512


def test_class_sizes_reach_the_losses(config, classes):
    cfg = config(
        "SEEK.CLASSES",
        classes([2, 5, 5, 50]),
        "SEEK.LOSSES",
        ["subcenter_arcface('gem', margin='dynamic(0.05, 0.5)')"],
    )
    table = build_model(cfg).losses["subcenter_arcface"].margins
    assert (
        float(table[0]) == pytest.approx(0.5)
        and float(table[3]) == pytest.approx(0.05)
        and table[1] == table[2]
    )


def test_without_classes_there_are_no_losses_and_no_training(config, batch):
    model = build_model(config("MODEL.HEADS.NUM_CLASSES", 0))
    assert len(model.losses) == 0
    with torch.no_grad():
        assert model.eval()(batch).shape == (4, 8)
    with pytest.raises(UsageError, match="NUM_CLASSES"):
        model.train()(batch)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("SEEK.BRANCHES", []), "SEEK.BRANCHES is empty"),
        (("SEEK.BRANCHES", ["gem()", "gem(dim=4)"]), "two embeddings called gem"),
        (("SEEK.LOSSES", ["triplet('gem')", "triplet('gem', margin=1)"]), "two of triplet/gem"),
        (("SEEK.LOSSES", ["triplet('dolg')"]), "'dolg', only gem"),
        (("SEEK.LOSSES", ["tripled('gem')"]), "did you mean 'triplet'"),
        (("SEEK.BRANCHES", ["gem(channels={})"]), "channels cannot be set"),
        (("SEEK.BACKBONE", "tim('resnet18')"), "did you mean 'timm'"),
    ],
)
def test_a_recipe_that_cannot_be_built_says_why(config, changes, says):
    with pytest.raises(UsageError, match=says):
        build_model(config(*changes))


def test_training_without_losses_says_so(config, batch):
    with pytest.raises(UsageError, match="SEEK.LOSSES"):
        build_model(config("SEEK.LOSSES", [])).train()(batch)


def test_precise_bn_may_hide_the_targets(config, batch):
    """fast-reid's PreciseBN fills the targets with -1; one unknown label among others stays an
    error.
    """
    model = build_model(
        config("SEEK.LOSSES", ["cross_entropy('gem')", "subcenter_arcface('gem')"])
    ).train()
    assert all(
        torch.isfinite(value)
        for value in model({**batch, "targets": torch.full((4,), -1)}).values()
    )
    with pytest.raises((IndexError, RuntimeError)):
        model({**batch, "targets": torch.tensor([0, 1, -1, 2])})


def test_accuracy_is_logged_when_a_trainer_listens(config, batch):
    model = build_model(config()).train()
    with EventStorage(0) as storage:
        model(batch)
    assert 0 <= storage.latest()["accuracy_cross_entropy"][0] <= 1


def test_bfloat16_autocast_gives_float32_embeddings_near_the_plain_ones(config, batch):
    model = build_model(config("SEEK.BRANCHES", [DOLG], "SEEK.LOSSES", [])).eval()
    with torch.no_grad():
        plain = model(batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = model(batch)
    assert mixed.dtype == torch.float32
    assert (F.cosine_similarity(plain, mixed) > 0.99).all()


def test_the_evaluation_path_can_be_exported_for_any_batch(config, batch):
    model = build_model(
        config("SEEK.BRANCHES", [DOLG, "bnneck(pool='gem')"], "SEEK.LOSSES", [])
    ).eval()
    size = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(
        model, (batch["images"],), dynamic_shapes=({0: size},), strict=False
    )
    with torch.no_grad():
        for rows in (1, 3):
            torch.testing.assert_close(
                program.module()(batch["images"][:rows]),
                model(batch["images"][:rows]),
                atol=1e-4,
                rtol=1e-3,
            )


def test_the_state_holds_no_derived_tables(config):
    model = build_model(config("SEEK.LOSSES", ["subcenter_arcface('gem')"]))
    derived = [key for key in model.state_dict() if "pixel" in key or "margins" in key]
    assert derived == []
    assert math.prod(model.state_dict()["losses.subcenter_arcface.weight"].shape) == 4 * 3 * 8
