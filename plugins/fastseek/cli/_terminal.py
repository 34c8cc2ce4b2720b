"""What commands say on the terminal."""

from __future__ import annotations

import sys

from ..errors import escape_controls, hide_secrets


def tell(text: str) -> None:
    """Print lines; what would steer the terminal, as a file's name can, is spelled out, and secrets
    of addresses are not told.
    """
    sys.stdout.write(escape_controls(hide_secrets(text), keep="\n\t") + "\n")
    sys.stdout.flush()
