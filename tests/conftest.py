"""What every test may rely on, however the suite was started."""

import signal

import pytest


@pytest.fixture(autouse=True)
def _signals_are_heard():
    """A shell starts jobs in the background with SIGINT ignored, and what is ignored stays so in every child."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
