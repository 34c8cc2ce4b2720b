"""A command that runs out of memory ends in one line that says what to lower."""

import numpy as np
import pytest
import torch

from fastseek import cli
from fastseek.cli import embed, search
from fastseek.errors import is_out_of_memory

TOO_MUCH = 10**15  # values: no machine has them, so that nothing is taken


def take_numpy(argv):
    np.empty(TOO_MUCH)


def take_torch(argv):
    torch.empty(TOO_MUCH)


def fail(argv):
    raise RuntimeError("sizes of tensors must match")


@pytest.mark.parametrize(
    ("verb", "module", "take", "remedy"),
    [
        ("search", search, take_numpy, "lower k, or take a search that holds less"),
        ("embed", embed, take_torch, "lower TEST.IMS_PER_BATCH"),
    ],
)
def test_F64_memory_that_runs_out_is_one_line_and_exit_4(
    verb, module, take, remedy, monkeypatch, capsys
):
    monkeypatch.setattr(module, "main", take)
    with pytest.raises(SystemExit) as ended:
        cli.main([verb])
    told = capsys.readouterr().err
    assert ended.value.code == 4 and told.count("\n") == 1
    assert told.startswith("error: out of memory (") and remedy in told


def test_F64_another_error_of_torch_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(search, "main", fail)
    with pytest.raises(RuntimeError, match="sizes of tensors"):
        cli.main(["search"])


def test_F64_the_errors_of_a_gpu_are_known_by_name_and_text():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert not is_out_of_memory(ValueError("out of memory"))
