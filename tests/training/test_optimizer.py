import pytest
import torch
from torch import nn

from fastseek.training.optimizer import group_rates
from fastseek.training.recipe_border import build_optimizer, build_schedule


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
        self.heads = nn.Linear(4, 2)

    def forward(self, images):
        return self.heads(self.backbone(images).mean((2, 3)))


def pair():
    torch.manual_seed(0)
    one, two = Net(), Net()
    two.load_state_dict(one.state_dict())
    return one, two


SETTINGS = [
    {"SOLVER__OPT": "SGD", "SOLVER__NESTEROV": True},
    {"SOLVER__OPT": "AdamW"},
    {
        "SOLVER__BIAS_LR_FACTOR": 2.0,
        "SOLVER__HEADS_LR_FACTOR": 3.0,
        "SOLVER__WEIGHT_DECAY_NORM": 0.0,
        "SOLVER__WEIGHT_DECAY_BIAS": 0.1,
    },
    {"SOLVER__CLIP_GRADIENTS__ENABLED": True, "SOLVER__CLIP_GRADIENTS__CLIP_VALUE": 0.01},
    {
        "SOLVER__CLIP_GRADIENTS__ENABLED": True,
        "SOLVER__CLIP_GRADIENTS__CLIP_TYPE": "value",
        "SOLVER__CLIP_GRADIENTS__CLIP_VALUE": 0.01,
    },
]


@pytest.mark.parametrize("changes", SETTINGS)
def test_grouped_parameters_move_as_fast_reids_single_ones(recipe_of, changes):
    from fastreid.solver import build_optimizer as upstream

    cfg = recipe_of(**changes)
    one, two = pair()
    ours, (theirs, _) = build_optimizer(cfg, one), upstream(cfg, two, contiguous=False)
    assert len(ours.param_groups) < len(theirs.param_groups) == 8
    for _ in range(3):
        images = torch.rand(5, 3, 4, 4)
        for net, optimizer in ((one, ours), (two, theirs)):
            optimizer.zero_grad()
            net(images).square().sum().backward()
            optimizer.step()
    for first, second in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.allclose(first, second, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "changes",
    [
        {"SOLVER__SCHED": "MultiStepLR", "SOLVER__STEPS": [1, 3]},
        {"SOLVER__SCHED": "CosineAnnealingLR"},
        {"SOLVER__SCHED": "CosineAnnealingLR", "SOLVER__DELAY_EPOCHS": 2},
        {"SOLVER__SCHED": "MultiStepLR", "SOLVER__STEPS": [2], "SOLVER__WARMUP_ITERS": 0},
        {"SOLVER__SCHED": "MultiStepLR", "SOLVER__STEPS": [1, 2], "SOLVER__WARMUP_ITERS": 6},
        {"SOLVER__WARMUP_ITERS": 7, "SOLVER__WARMUP_METHOD": "exp", "SOLVER__STEPS": [2]},
        {
            "SOLVER__WARMUP_ITERS": 4,
            "SOLVER__WARMUP_METHOD": "constant",
            "SOLVER__ETA_MIN_LR": 1e-5,
        },
        {"SOLVER__SCHED": "CosineAnnealingLR", "SOLVER__HEADS_LR_FACTOR": 3.0},
    ],
)
def test_learning_rates_are_those_of_fast_reids_schedules(recipe_of, changes):
    from fastreid.solver import build_lr_scheduler as upstream

    cfg = recipe_of(SOLVER__MAX_EPOCH=8, **changes)
    one, two = pair()
    own = build_schedule(cfg, group_rates(build_optimizer(cfg, one)), 3)
    optimizer = build_optimizer(cfg, two)
    schedule = upstream(cfg, optimizer, 3)
    theirs = []
    for step in range(24):
        theirs.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        if "warmup_sched" in schedule and step + 1 <= cfg.SOLVER.WARMUP_ITERS:
            schedule["warmup_sched"].step()
        ended = (step + 1) // 3 if (step + 1) % 3 == 0 else 0
        # as fast-reid's hook LRScheduler has it, which counts one step more than there were
        if ended > cfg.SOLVER.DELAY_EPOCHS and step + 2 > cfg.SOLVER.WARMUP_ITERS:
            schedule["lr_sched"].step()
    assert [own.rates(step) for step in range(24)] == theirs
    assert len({rates[0] for rates in theirs}) > 1


def test_the_optimizer_holds_the_models_own_parameters(recipe_of):
    net = Net()
    held = [
        parameter
        for group in build_optimizer(recipe_of(), net).param_groups
        for parameter in group["params"]
    ]
    assert {id(parameter) for parameter in held} == {
        id(parameter) for parameter in net.parameters()
    }
    assert len(held) == len(set(held))


def test_parameters_without_gradient_are_left_out(recipe_of):
    net = Net()
    net.backbone.requires_grad_(False)
    held = [
        parameter
        for group in build_optimizer(recipe_of(), net).param_groups
        for parameter in group["params"]
    ]
    assert len(held) == 2
