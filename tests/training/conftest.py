"""Models are built here in nearly every test, and their weights drawn."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
