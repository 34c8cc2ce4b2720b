import pathlib

import pytest
import torch

from fastseek.config import recipe
from fastseek.config.edits import without_pretrained
from fastseek.errors import UsageError
from fastseek.modeling.backbones.timm import Timm
from fastseek.modeling.branches.dolg import Dolg
from fastseek.modeling.layers.orthogonal import orthogonal
from fastseek.registry import BACKBONES, BRANCHES, build

CONFIGS = pathlib.Path(__file__).parents[3] / "configs" / "GLDv2"
CHANNELS = {"s3": 6, "s4": 10}
SMALL = {"hidden": 8, "atrous": 4, "dim": 5, "channels": CHANNELS}
FORMS = [
    {},
    {"project": "after", "neck": "fc", "pointwise": True, "image_pool": True},
    {"dilations": ()},
    {"trainable_p": False, "fusion": "legacy_single_norm"},
]


def maps(batch=2, near=(6, 5), deep=(3, 3)):
    return {"s3": torch.randn(batch, 6, *near), "s4": torch.randn(batch, 10, *deep)}


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("net", "millions"),
    [("tf_efficientnet_b5", 33.93), ("tf_efficientnet_b6", 46.44), ("tf_efficientnet_b7", 69.58)],
)
def test_the_winners_models_have_the_published_number_of_parameters(net, millions):
    """landmark row 21, facts table 1.2: the defaults are the winners' form."""
    with torch.device("meta"):
        backbone = Timm(net)
        branch = Dolg(channels=backbone.channels)
    assert round((size(backbone) + size(branch)) / 1e6, 2) == millions


@pytest.mark.parametrize(
    ("net", "millions"),
    [
        ("tf_efficientnet_b3", 10.10),
        ("tf_efficientnet_b5", 27.29),
        ("tf_efficientnet_b6", 39.40),
        ("tf_efficientnet_b7", 62.14),
    ],
)
def test_the_winners_backbones_have_the_published_number_of_parameters(net, millions):
    """landmark row 21: facts table 1.2, without conv_head."""
    with torch.device("meta"):
        assert round(size(Timm(net)) / 1e6, 2) == millions


def test_local_map_and_embedding_have_the_published_sizes():
    """landmark row 14: facts 1.2, B5 at 768 gives 48 x 48 local and 24 x 24 global positions."""
    with torch.device("meta"):
        backbone = Timm("tf_efficientnet_b5")
        branch = Dolg(dilations=(6, 12, 18), channels=backbone.channels)
        maps = backbone(torch.zeros(2, 3, 768, 768))
        local = branch.atrous(maps["s3"])
    assert maps["s3"].shape == (2, 176, 48, 48) and maps["s4"].shape == (2, 512, 24, 24)
    assert local.shape == (2, 1024, 48, 48) and branch(maps)["dolg"].shape == (2, 512)


def test_the_winners_neck_has_the_published_number_of_parameters():
    """Landmark facts 1.2: neck option-D."""
    with torch.device("meta"):
        branch = Dolg(channels=CHANNELS)
    assert size(branch.neck) == 1_050_113
    assert branch.pool[1].eps == 1e-3 and branch.attention.norm.eps == 1e-5


@pytest.mark.parametrize(
    ("net", "backbone_size"), [("resnet50", 23_508_032), ("resnet101", 42_500_160)]
)
def test_the_papers_models_can_be_built(net, backbone_size):
    """landmark row 21: Res3 (1024) to the local, Res4 (2048) to the global branch; counted by
    hand.
    """
    call = (
        "dolg(dilations=(6, 12, 18), pointwise=True, image_pool=True, project='after', neck='fc')"
    )
    with torch.device("meta"):
        backbone = Timm(net)
        branch = build(call, BRANCHES, channels=backbone.channels)
    assert backbone.channels == {"s3": 1024, "s4": 2048} and size(backbone) == backbone_size
    atrous = 2 * (1024 * 512 + 512) + 3 * (9 * 1024 * 512 + 512) + 2560 * 1024 + 1024
    attention = 1024 * 1024 + 1024 + 2 * 1024 + 1024 + 1
    assert size(branch) == atrous + attention + 1 + 2048 * 1024 + 1024 + 2048 * 512 + 512


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_an_embedding_and_every_parameter_a_gradient(form):
    branch = Dolg(**SMALL, **form)
    out = branch(maps(4))
    assert set(out) == set(branch.dims) == {"dolg"} and out["dolg"].shape == (
        4,
        branch.dims["dolg"],
    )
    (out["dolg"] * torch.randn(4, 5)).sum().backward()
    assert [name for name, parameter in branch.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("near", "deep"), [((6, 5), (3, 3)), ((1, 1), (1, 1)), ((7, 2), (4, 1))])
def test_one_photo_of_any_size_works_in_evaluation(form, near, deep):
    """landmark rows 14 and 20."""
    branch = Dolg(**SMALL, **form).eval()
    pair = maps(2, near, deep)
    both = branch(pair)["dolg"]
    one = branch({name: value[:1] for name, value in pair.items()})["dolg"]
    assert one.shape == (1, 5)
    torch.testing.assert_close(one, both[:1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("fusion", ["squared", "legacy_single_norm"])
def test_the_embedding_equals_the_definition_with_the_whole_map(fusion):
    """Landmark facts 1.1 steps 4 and 5: fuse at every position, append the global feature there,
    pool, neck.
    """
    branch = Dolg(**SMALL, fusion=fusion).eval()
    given = maps()
    whole = branch.pool(given["s4"])
    local, _ = branch.attention(branch.atrous(given["s3"]))
    rest = orthogonal(local, whole, fusion)
    joined = torch.cat([rest, whole[..., None, None].expand_as(rest)], dim=1)
    torch.testing.assert_close(
        branch(given)["dolg"], branch.neck(joined.mean((2, 3))), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("net", "backbone_size"), [("resnet50", 23_508_032), ("resnet101", 42_500_160)]
)
def test_the_papers_recipes_say_what_the_paper_says(net, backbone_size):
    """Landmark facts 1.1: the paper's text, and the form of its network."""
    cfg = without_pretrained(recipe.load(CONFIGS / f"dolg_{net.replace('esnet', '')}.yml"))
    solver = cfg.SOLVER
    assert (solver.OPT, solver.BASE_LR, solver.WEIGHT_DECAY) == ("SGD", 0.05, 1e-4)
    assert (solver.IMS_PER_BATCH, solver.MAX_EPOCH) == (128, 100)
    assert cfg.SEEK.SCHEDULE == "warmup_cosine(epochs=5)"
    assert list(cfg.SEEK.LOSSES) == ["arcface(on='dolg', s=30, margin=0.15)"]
    with torch.device("meta"):
        backbone = build(cfg.SEEK.BACKBONE, BACKBONES)
        branch = build(cfg.SEEK.BRANCHES[0], BRANCHES, channels=backbone.channels)
    assert size(backbone) == backbone_size
    assert "pool.0.p" not in dict(branch.named_parameters())  # fixed, at 3 by default


def test_a_map_the_backbone_lacks_is_named():
    with pytest.raises(UsageError, match="'s2'.*only s3, s4"):
        build("dolg(local='s2')", BRANCHES, channels=CHANNELS)


@pytest.mark.parametrize("wrong", ["neck='conv'", "project='twice'", "fusion='none'", "p=0"])
def test_an_unknown_choice_is_refused(wrong):
    with pytest.raises(UsageError, match="must be"):
        build(f"dolg({wrong})", BRANCHES, channels=CHANNELS)


def test_bfloat16_autocast_stays_near_float32():
    branch = Dolg(**SMALL).eval()
    given = maps()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = branch(given)["dolg"]
    torch.testing.assert_close(mixed.float(), branch(given)["dolg"], atol=0.03, rtol=0.03)
