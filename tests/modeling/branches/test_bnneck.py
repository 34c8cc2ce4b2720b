import pytest
import torch
import torch.nn.functional as F

from fastseek.errors import UsageError
from fastseek.modeling import backbones, seeker  # noqa: F401
from fastseek.modeling.branches.bnneck import Bnneck
from fastseek.registry import BRANCHES, build
from fastseek.training.trainer import Trainer

from fastreid.modeling.meta_arch import build_model


@pytest.mark.parametrize(("pool", "dim"), [("avg", 0), ("gem", 0), ("avg", 5), ("gem", 5)])
def test_both_embeddings_have_the_dimensions_told(pool, dim):
    branch = Bnneck(pool=pool, dim=dim, channels={"s4": 6})
    out = branch({"s4": torch.randn(3, 6, 4, 5)})
    assert {name: value.shape[1] for name, value in out.items()} == branch.dims
    assert set(out) == {"bnneck", "bnneck/before"} and branch.dims["bnneck"] == (dim or 6)


def test_after_is_the_batch_norm_of_before_without_bias():
    """Fine-grained facts 1.1 step 4."""
    branch = Bnneck(channels={"s4": 6})
    maps = torch.randn(8, 6, 4, 5)
    out = branch({"s4": maps})
    torch.testing.assert_close(out["bnneck/before"], maps.mean((2, 3)))
    torch.testing.assert_close(
        out["bnneck"], F.batch_norm(maps.mean((2, 3)), None, None, training=True)
    )


def test_the_bias_of_the_batch_norm_stays_zero_and_its_weight_learns():
    """finegrained row 10."""
    branch = Bnneck(channels={"s4": 6})
    trained = [parameter for parameter in branch.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1.0)
    (branch({"s4": torch.randn(8, 6, 4, 5)})["bnneck"] * torch.randn(8, 6)).sum().backward()
    optimizer.step()
    assert (branch.norm.bias == 0).all() and (branch.norm.weight != 1).any()


def test_a_map_the_backbone_lacks_is_named():
    with pytest.raises(UsageError, match="'s3'.*only s4"):
        build("bnneck(on='s3')", BRANCHES, channels={"s4": 6})


def test_the_classifier_has_no_bias_and_sees_the_feature_after_and_the_metric_loss_the_one_before(
    config, batch
):
    """finegrained rows 10 and 14: routing, and every loss under its own name."""
    model = build_model(
        config(
            "SEEK.BRANCHES",
            ["bnneck()"],
            "SEEK.LOSSES",
            ["cross_entropy('bnneck')", "triplet('bnneck/before')", "center('bnneck/before')"],
        )
    ).train()
    seen = {}
    for name, loss in model.losses.items():
        loss.register_forward_pre_hook(
            lambda _, args, name=name: seen.update({name: args[0].detach()})
        )
    found = model(batch)
    assert list(found) == ["loss_cross_entropy", "loss_triplet", "loss_center"]
    assert torch.equal(seen["triplet"], seen["center"]) and not torch.allclose(
        seen["triplet"], seen["cross_entropy"]
    )
    torch.testing.assert_close(
        seen["cross_entropy"], F.batch_norm(seen["triplet"], None, None, training=True)
    )
    assert model.losses["cross_entropy"].classifier.bias is None


@pytest.mark.parametrize("test", ["after", "before"])
def test_one_word_chooses_the_feature_of_the_test_and_nothing_else(config, batch, test):
    """finegrained row 11."""
    model = build_model(
        config(
            "SEEK.BRANCHES", [f"bnneck(test={test!r})"], "SEEK.LOSSES", ["cross_entropy('bnneck')"]
        )
    ).eval()
    model.branches["bnneck"].norm.running_var.fill_(4.0)
    with torch.no_grad():
        parts, tested = model.embed(model.preprocess(batch["images"])), model(batch)
        classes = model.logits(batch["images"])
        torch.testing.assert_close(tested, parts["bnneck" if test == "after" else "bnneck/before"])
        torch.testing.assert_close(classes, model.losses["cross_entropy"].logits(parts["bnneck"]))
    assert not torch.allclose(parts["bnneck"], parts["bnneck/before"])


def test_dropout_stands_before_the_classifier_in_training_alone():
    """finegrained row 66."""
    branch, maps = Bnneck(dropout=0.5, channels={"s4": 600}), {"s4": torch.randn(8, 600, 2, 2)}
    out = branch.train()(maps)
    assert (out["bnneck"] == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert (out["bnneck/before"] != 0).all() and (branch.eval()(maps)["bnneck"] != 0).all()


def test_dropout_starts_at_its_step():
    """finegrained row 66: late-phase switch."""
    branch, maps = (
        Bnneck(dropout=0.5, dropout_from=3, channels={"s4": 600}).train(),
        {"s4": torch.randn(8, 600, 2, 2)},
    )
    dropped = []
    for step in (0, 2, 3, 9):
        branch.at_step(step)
        dropped.append(bool((branch(maps)["bnneck"] == 0).any()))
    assert dropped == [False, False, True, True]
    early = Bnneck(dropout=0.5, channels={"s4": 600}).train()
    assert (early(maps)["bnneck"] == 0).any()


def test_F55_dropout_starts_after_a_share_of_the_training():
    """26,000 "of 38,000 steps" never came in one round and came elsewhere in another."""
    branch = Bnneck(dropout=0.5, dropout_from=0.7, channels={"s4": 8}).train()
    with pytest.raises(UsageError, match="how long it trains"):
        branch.at_step(0)
    for steps in (10, 1000):
        branch.start_training(steps)
        dropping = []
        for step in range(steps):
            branch.at_step(step)
            dropping.append(branch.dropping)
        assert dropping == [step >= round(0.7 * steps) for step in range(steps)]


def test_F55_the_trainer_tells_how_long_it_trains(recipe_of):
    cfg = recipe_of(
        SEEK__BRANCHES=["bnneck(dropout=0.5, dropout_from=0.5)"],
        SEEK__LOSSES=["cross_entropy(on='bnneck')"],
        SOLVER__MAX_EPOCH=2,
    )
    trainer = Trainer(cfg)
    branch = trainer.model.branches["bnneck"]
    assert branch.steps == trainer.max_iter
    trainer.train()
    assert branch.dropping


def test_the_weight_of_the_batch_norm_starts_as_told():
    branch = Bnneck(gamma_std=0.02, channels={"s4": 4000})
    assert branch.norm.weight.mean().item() == pytest.approx(1.0, abs=0.002)
    assert branch.norm.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert (Bnneck(channels={"s4": 6}).norm.weight == 1).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("dropout=1.0", "dropout"),
        ("test='both'", "after"),
        ("gamma_std=-1.0", "gamma_std"),
        ("dropout_from=-1", "dropout_from"),
        ("dropout_from=1.5", "dropout_from"),
    ],
)
def test_an_impossible_setting_is_a_usage_error(options, says):
    with pytest.raises(UsageError, match=says):
        build(f"bnneck({options})", BRANCHES, channels={"s4": 6})
