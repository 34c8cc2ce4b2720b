"""A folder for the temporary files of a run of the suite.

pytest keeps the folders of the last runs by number, and where several run at once one clears away
another's. Here a folder is named after its process: nobody touches it while that lives.
"""

import os
import pathlib
import shutil
import tempfile

import pytest

PREFIX = "fastseek-tests-"
OWN = pytest.StashKey[str]()
PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        remove_ended(pathlib.Path(tempfile.gettempdir()))
        config.option.basetemp = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
        config.stash[OWN] = config.option.basetemp


def pytest_sessionfinish(session, exitstatus):
    session.config.stash[PASSED] = exitstatus == 0


def pytest_unconfigure(config):
    """What failed tests left stays until the next run."""
    if OWN in config.stash and config.stash.get(PASSED, False):
        shutil.rmtree(config.stash[OWN], ignore_errors=True)


def remove_ended(folder):
    """Remove the folders of runs whose process is no more."""
    for left in folder.glob(f"{PREFIX}*-*"):
        pid = left.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not _lives(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
