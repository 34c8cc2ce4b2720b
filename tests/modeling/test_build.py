"""Building a recipe's model."""

import pytest
import torch
from torch import nn

from fastseek.errors import UsageError
from fastseek.modeling import build


class Toy(nn.Module):
    def __init__(self, device="cpu"):
        super().__init__()
        self.linear, self.norm = nn.Linear(2, 3, device=device), nn.BatchNorm1d(3, device=device)


def test_F14_batch_norm_over_processes_keeps_names_and_needs_gpus(monkeypatch):
    assert type(build.synchronize_norms(Toy()).norm) is nn.BatchNorm1d
    monkeypatch.setattr(build, "has_several_processes", lambda: True)
    with pytest.raises(UsageError, match="syncBN"):
        build.synchronize_norms(Toy())
    model = Toy("meta")  # no GPU is at hand: what counts is that it is not the CPU
    made = build.synchronize_norms(model)
    assert type(made.norm) is nn.SyncBatchNorm
    assert made.state_dict().keys() == Toy().state_dict().keys()


@pytest.mark.parametrize("group", ["BACKBONE", "HEADS"])
def test_F14_a_recipe_asks_for_it_by_fast_reids_own_keys(recipe_of, monkeypatch, group):
    asked = []
    monkeypatch.setattr(build, "synchronize_norms", lambda model: asked.append(model) or model)
    with torch.device("cpu"):
        build.build_model(recipe_of())
        assert asked == []
        build.build_model(recipe_of(**{f"MODEL__{group}__NORM": "syncBN"}))
    assert len(asked) == 1
