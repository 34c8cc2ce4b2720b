"""Which commit of the code is at work."""

from __future__ import annotations

import logging
import pathlib
import subprocess

logger = logging.getLogger("fastreid.fastseek")


def current_commit() -> str:
    """The git commit of this code; "" when it is not run from a checkout or there is no git."""
    home = pathlib.Path(__file__).parents[1]
    try:
        told = subprocess.run(
            ["git", "-C", str(home), "log", "-1", "--format=%H", "--", "."],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return told.stdout.strip() if told.returncode == 0 else ""
