"""What a recipe gets wrong is told when it is read, before any image is."""

import pytest
import torch

from fastseek.config import recipe, trial
from fastseek.config.validation import check_training
from fastseek.errors import UsageError

GOOD = {
    "MODEL.META_ARCHITECTURE": "Seeker",
    "SEEK.BACKBONE": "timm(name='mobilenetv2_050', stages=(3, 4), head=True)",
    "SEEK.BRANCHES": "['gem(dim=8)', \"bnneck(on='head')\"]",
    "SEEK.LOSSES": "[\"arcface(on='gem')\", \"triplet(on='bnneck/before')\"]",
    "SEEK.SAMPLER": "pk(k=4)",
    "SEEK.SCHEDULE": "warmup_cosine()",
    "SOLVER.IMS_PER_BATCH": "16",
    "DATASETS.NAMES": "('folder(\"nowhere\")',)",
}


def load(folder, **changes):
    file = folder / "r.yml"
    file.write_text("SEED: 0\n")
    keys = GOOD | {key.replace("__", "."): value for key, value in changes.items()}
    return recipe.load(file, [part for pair in keys.items() for part in pair])


@pytest.mark.parametrize(
    "key, value, told",
    [
        ("SEEK.BACKBONE", "timm(name='mobilnetv2_050')", "mobilenetv2_050"),
        ("SEEK.BACKBONE", "timm(name='mobilenetv2_100.in21k')", "only ra_in1k"),
        ("SEEK.BACKBONE", "timm(name='mobilenetv2_050', stages=(7,))", "0 to 4"),
        ("SEEK.BRANCHES", "['gem(dim=-3)']", "dim must be 0 or more, got -3"),
        ("SEEK.BRANCHES", "['linear_neck(dim=0)']", "dim must be 1 or more"),
        (
            "SEEK.BRANCHES",
            "[\"gem(on='s2')\"]",
            "wants the map 's2', the backbone gives s3, s4, head",
        ),
        ("SEEK.LOSSES", "[\"arcface(on='gem', margin=9)\"]", "margin"),
        ("SEEK.LOSSES", "[\"arcface(on='dolg')\"]", "the branches give gem, bnneck, bnneck/before"),
        ("SEEK.SAMPLER", "pk(k=0)", "k"),
        ("SEEK.SAMPLER", "pk(k=5)", "16"),
        ("SEEK.SCHEDULE", "warmup_steps(preset='mine')", "paper"),
    ],
)
def test_F68_a_mistake_of_a_part_is_told_before_any_data_is_read(tmp_path, key, value, told):
    load(tmp_path)
    with pytest.raises(UsageError, match=told) as error:
        load(tmp_path, **{key: value})
    assert str(error.value).startswith("command line: " + key)


def test_trying_parts_draws_no_random_number():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    trial.try_loss("subcenter_arcface('e')")
    trial.try_branch("dolg()")
    assert torch.equal(torch.rand(4), expected)


def test_a_part_of_others_is_not_tried(monkeypatch):
    monkeypatch.setattr(trial, "PACKAGE", "another")
    assert (
        trial.try_branch("gem(dim=-3)") is None and trial.try_loss("arcface('e', margin=9)") == ""
    )


def test_F11_crops_that_no_branch_looks_at_are_refused_before_training(tmp_path):
    """Every image went through the network twice, and moved BatchNorm, for nothing."""
    crops = {"SEEK.CROPS": "boxes(file='b.json')"}
    with pytest.raises(UsageError, match="no branch of SEEK.BRANCHES looks at the crops"):
        check_training(load(tmp_path, **crops))
    fine = {
        "SEEK.BRANCHES": "[\"two_stream(of='gem()')\"]",
        "SEEK.LOSSES": "[\"arcface(on='two_stream')\"]",
    }
    check_training(load(tmp_path, **crops, **fine))
    check_training(load(tmp_path))
