import pytest
import torch
import torch.nn.functional as F

from fastseek.errors import UsageError
from fastseek.modeling import backbones, heads  # noqa: F401
from fastseek.modeling.losses.subcenter_arcface import SubcenterArcface

from fastreid.modeling.heads import REID_HEADS_REGISTRY
from fastreid.modeling.meta_arch import build_model
from fastreid.utils.events import EventStorage

HEADS = ["BNNeckHead", "SubCenterArcFaceHead"]


@pytest.fixture
def stock(config):
    """A function: keys and values -> a config of fast-reid's own Baseline with one of our heads."""

    def make(head, *changes):
        return config(
            "MODEL.META_ARCHITECTURE",
            "Baseline",
            "MODEL.BACKBONE.NAME",
            "build_timm_backbone",
            "MODEL.BACKBONE.FEAT_DIM",
            64,
            "MODEL.HEADS.NAME",
            head,
            "MODEL.HEADS.EMBEDDING_DIM",
            8,
            "MODEL.HEADS.MARGIN",
            0.3,
            "MODEL.HEADS.SCALE",
            30,
            *changes,
        )

    return make


def head_of(cfg):
    return REID_HEADS_REGISTRY.get(cfg.MODEL.HEADS.NAME)(cfg)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("pool", ["GlobalAvgPool", "GeneralizedMeanPoolingP"])
@pytest.mark.parametrize("losses", [("CrossEntropyLoss",), ("CrossEntropyLoss", "TripletLoss")])
def test_fast_reids_own_baseline_takes_a_step_and_every_parameter_gets_a_gradient(
    stock, batch, head, pool, losses
):
    model = build_model(
        stock(head, "MODEL.HEADS.POOL_LAYER", pool, "MODEL.LOSSES.NAME", losses)
    ).train()
    with EventStorage(0):
        found = model(batch)
    assert list(found) == ["loss_cls", "loss_triplet"][: len(losses)]
    sum(found.values()).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("head", HEADS)
def test_without_classes_the_head_embeds_and_refuses_to_train(stock, batch, head):
    model = build_model(stock(head, "MODEL.HEADS.NUM_CLASSES", 0)).eval()
    with torch.no_grad():
        assert model(batch["images"][:1].clone()).shape == (1, 8)
    with pytest.raises(UsageError, match="NUM_CLASSES"):
        model.train()(batch)


@pytest.mark.parametrize("head", HEADS)
def test_training_returns_what_baseline_reads(stock, head):
    """fast-reid facts 1.6."""
    maps, targets = torch.randn(4, 64, 3, 2), torch.tensor([0, 1, 1, 3])
    for feature in ("before", "after"):
        module = head_of(
            stock(head, "MODEL.HEADS.NECK_FEAT", feature, "MODEL.HEADS.WITH_BNNECK", True)
        ).train()
        out = module(maps, targets)
        assert set(out) == {"cls_outputs", "pred_class_logits", "features"}
        assert out["cls_outputs"].shape == out["pred_class_logits"].shape == (4, 4)
        pooled = maps.mean((2, 3))
        wanted = (
            pooled if feature == "before" else module.bottleneck(pooled[..., None, None]).flatten(1)
        )
        torch.testing.assert_close(out["features"], wanted)


def test_the_cross_entropy_of_the_arcface_head_is_our_loss(stock, classes):
    """The two roads to sub-center ArcFace, a head under Baseline and a loss under Seeker, agree."""
    counts = [2, 10, 100, 1000]
    module = head_of(
        stock(
            "SubCenterArcFaceHead",
            "SEEK.CLASSES",
            classes(counts),
            "SEEK.HEAD.SUBCENTERS",
            2,
            "SEEK.HEAD.MARGIN",
            "dynamic(0.05, 0.50)",
            "MODEL.HEADS.NECK_FEAT",
            "after",
        )
    ).train()
    maps, targets = torch.randn(4, 64, 3, 2), torch.tensor([0, 1, 1, 3])
    out = module(maps, targets)
    loss = SubcenterArcface(
        "e", 2, 30, "dynamic(0.05, 0.50)", dims={"e": 8}, counts=torch.tensor(counts)
    )
    loss.load_state_dict({"weight": module.weight.detach()})
    torch.testing.assert_close(
        F.cross_entropy(out["cls_outputs"], targets), loss(out["features"], targets)
    )


def test_the_margin_key_of_fast_reid_is_the_default(stock):
    assert head_of(stock("SubCenterArcFaceHead")).margins.tolist() == pytest.approx([0.3] * 4)


def test_dynamic_margins_without_class_sizes_say_what_is_missing(stock):
    with pytest.raises(UsageError, match="SEEK.CLASSES"):
        head_of(stock("SubCenterArcFaceHead", "SEEK.HEAD.MARGIN", "dynamic(0.05, 0.50)"))


def test_the_bias_of_the_bnneck_is_frozen_at_zero(stock):
    norm = head_of(stock("BNNeckHead")).bottleneck[-1]
    assert not norm.bias.requires_grad and (norm.bias == 0).all() and norm.weight.requires_grad


def test_the_bnneck_head_classifies_linearly_and_starts_small(stock):
    module = head_of(stock("BNNeckHead"))
    embedding = torch.randn(4, 8)
    with_margin, plain = module.logits(embedding, torch.tensor([0, 1, 1, 3]))
    torch.testing.assert_close(plain, 30 * embedding @ module.weight.T)
    assert torch.equal(with_margin, plain) and module.weight.abs().max() < 0.01


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_classifier_works_in_float32_under_autocast(stock, head, dtype):
    module = head_of(stock(head)).train()
    embedding, targets = torch.randn(4, 8), torch.tensor([0, 1, 1, 3])
    with torch.autocast("cpu", dtype=dtype):
        mixed = module.logits(embedding, targets)
    for one, plain in zip(mixed, module.logits(embedding, targets), strict=True):
        assert one.dtype == torch.float32 and torch.equal(one, plain)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.HEADS.NECK_FEAT", "between"),
        ("SEEK.HEAD.SUBCENTERS", 0),
        ("SEEK.HEAD.MARGIN", "static(1)"),
        ("MODEL.HEADS.MARGIN", 4.0),
    ],
)
def test_an_impossible_key_is_a_usage_error(stock, key, value):
    with pytest.raises(UsageError):
        head_of(stock("SubCenterArcFaceHead", key, value))
