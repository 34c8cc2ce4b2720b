"""Options that several verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def make_parser(verb: str, description: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows the description as it is written, with its examples."""
    return argparse.ArgumentParser(
        prog=f"fastseek {verb}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_plugin_option(parser: argparse.ArgumentParser) -> None:
    """Let the parser take `--plugin`, which may be repeated."""
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="NAME",
        help="a module, or a .py file, whose parts can be named; may be repeated",
    )


def import_plugins(names: Sequence[str]) -> None:
    """Import outside plugins, so that their parts register themselves.

    Raises:
        UsageError: one cannot be imported.
    """
    if names:
        from ..registry import load_plugins  # other verbs start without it

        load_plugins(names)
