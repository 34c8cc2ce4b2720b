"""The size of an ensemble against its budget."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fastseek.audit.size_budget import check_budget, check_size
from fastseek.errors import ArtefactError
from fastseek.workflows.contest.model_size import model_size


class Model(nn.Module):
    """A backbone, and the classifier of a loss, which no one embeds with."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(250, 1000, bias=False)
        self.register_buffer("kept", torch.zeros(500, dtype=torch.float16))
        self.losses = nn.ModuleDict(
            {"cross_entropy": nn.ModuleDict({"classifier": nn.Linear(8, 100_000)})}
        )

    def class_weight_names(self):
        return ("losses",)


def test_class_weights_do_not_count():
    assert model_size(Model()) == 4 * 250_000 + 2 * 500


def test_a_model_and_its_weight_file_are_of_one_size(tmp_path):
    file = tmp_path / "model.safetensors"
    save_file(Model().state_dict(), file, metadata={"format": "pt"})
    assert check_size([file]) == {str(file): model_size(Model()) / 1e6}


@pytest.mark.parametrize("harm", [b"", b"\xff" * 16, b"\x02\0\0\0\0\0\0\0[]", b"{}"])
def test_a_damaged_weight_file_has_no_size(tmp_path, harm):
    (tmp_path / "model.safetensors").write_bytes(harm)
    with pytest.raises(ArtefactError, match="not a whole .safetensors file"):
        check_size([tmp_path / "model.safetensors"])


def test_an_ensemble_above_its_budget_is_refused_with_every_size():
    """finegrained row 55."""
    sizes = {"b3": 43_000_000, "densenet": 50_100_000, "b5": 407_000_000}
    check_budget(sizes, 500.1)
    told = r"BUDGET_MB: 500.1 MB in 3 models, 500 are allowed \(b5 407.0, densenet 50.1, b3 43.0\)"
    with pytest.raises(ArtefactError, match=told):
        check_budget(sizes, 500, "contest.yml: BUDGET_MB: ")
