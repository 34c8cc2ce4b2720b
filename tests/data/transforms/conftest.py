"""Transforms draw, and what is true of one draw must be true in any order of the tests."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
