"""The config keys of FastSeek."""

from typing import Any

import fastseek  # before fastreid: it gives back names that Python and torch have removed


def add_fastseek_config(cfg: Any) -> None:
    """Add PLUGINS, SEED and SEEK to a config, and FastSeek's parts to fast-reid's registries."""
    fastseek.register(cfg)
