"""The size of an ensemble against its budget."""

import pytest
import torch
from torch import nn

from fastseek.errors import ArtefactError
from fastseek.workflows.contest.model_size import check_budget, size


class Model(nn.Module):
    """A backbone, and the classifier of a loss, which no one embeds with."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(250, 1000, bias=False)
        self.register_buffer("kept", torch.zeros(500, dtype=torch.float16))
        self.losses = nn.ModuleDict(
            {"cross_entropy": nn.ModuleDict({"classifier": nn.Linear(8, 100_000)})}
        )


def test_class_weights_do_not_count():
    assert size(Model()) == 4 * 250_000 + 2 * 500


def test_an_ensemble_above_its_budget_is_refused_with_every_size():
    """finegrained row 55."""
    sizes = {"b3": 43_000_000, "densenet": 50_100_000, "b5": 407_000_000}
    check_budget(sizes, 0)
    check_budget(sizes, 500.1)
    told = r"500.1 MB together, BUDGET_MB is 500 \(b5 407.0, densenet 50.1, b3 43.0\)"
    with pytest.raises(ArtefactError, match=told):
        check_budget(sizes, 500)
