"""What commands say on the terminal."""

from __future__ import annotations

import sys

from ..errors import escape_controls


def tell(text: str) -> None:
    """Print lines; what would steer the terminal, as a file's name can, is spelled out."""
    sys.stdout.write(escape_controls(text, keep="\n\t") + "\n")
    sys.stdout.flush()
