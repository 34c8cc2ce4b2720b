"""What every test may rely on, however the suite was started."""

import os
import signal

import pytest

pytest_plugins = ["training_fixtures"]

# Tests fork to kill what they forked; a child of a process with OpenMP threads waits for them for
# ever.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _signals_are_heard():
    """A shell starts jobs in the background with SIGINT ignored, and what is ignored stays so in
    every child.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
