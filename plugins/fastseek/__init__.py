"""FastSeek: instance-level image retrieval on top of fast-reid.

`register(cfg)` is its one door for fast-reid; it is imported when it is first asked for, so that
the retrieval half starts without fast-reid and torch.
"""

from __future__ import annotations

# Every command starts here, and `typing` is a fifth of the start of its help.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .config.plugins import register

__version__ = "0.1.0"

__all__ = ["__version__", "register"]


def __getattr__(name: str) -> Any:
    if name == "register":
        from .config.plugins import register

        return register
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
