"""What every test may rely on, however the suite was started."""

import gc
import os
import pathlib
import random
import signal

# What is imported is never garbage; looking for some takes a fifth of the time of importing.
gc.disable()

import hypothesis  # noqa: E402  after the line above, which is about it
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# A busy machine is slow at drawing examples, too; that says nothing about what is tested.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

pytest_plugins = ["run_folder", "training_fixtures"]

# F28: the same examples in every run, and nothing kept between runs.
hypothesis.settings.register_profile("suite", derandomize=True)
hypothesis.settings.load_profile("suite")

# Tests fork to kill what they forked; a child of a process with OpenMP threads waits for them for
# ever.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish():
    gc.collect()
    gc.freeze()
    gc.enable()


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


SEED = 20_260_101  # nobody else's, so that a test that seeds is told from one that does not
# Folders that are still to be gone through; the rule holds in all others, new ones too.
LEFT = {"inference", "projects", ""}
TESTS = pathlib.Path(__file__).parent


@pytest.fixture(autouse=True)
def _draws_are_seeded(request, monkeypatch):
    """F28: every test begins with the same global generators, in any order; one that draws from them
    without seeding them itself says something about one draw only, and fails.
    """
    folder = request.path.parent.relative_to(TESTS).as_posix().split("/")[0].strip(".")
    if folder in LEFT:
        yield
        return
    seeded = set()

    def note(module, name, generator):
        plain = getattr(module, name)

        def seeding(*args, **kwargs):
            seeded.add(generator)
            return plain(*args, **kwargs)

        monkeypatch.setattr(module, name, seeding)

    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    before = _generator_states()
    for name in ("seed", "setstate"):
        note(random, name, "random")
    for name in ("seed", "set_state"):
        note(np.random, name, "numpy")
    yield
    if torch.initial_seed() != SEED:
        seeded.add("torch")
    after = _generator_states()
    drawn = [name for name in before if before[name] != after[name] and name not in seeded]
    assert not drawn, f"drew from the global generator of {', '.join(drawn)} without seeding it"


def _generator_states():
    kind, keys, place, *rest = np.random.get_state()
    return {
        "random": random.getstate(),
        "numpy": (kind, keys.tobytes(), place, *rest),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
