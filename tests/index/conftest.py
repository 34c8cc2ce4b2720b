"""What the tests of the index share."""

import os

import pytest


@pytest.fixture(autouse=True, scope="module")
def _nothing_waits_for_the_disk():
    """Whether the disk has it is the matter of one test, which watches the calls; waiting is slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield
