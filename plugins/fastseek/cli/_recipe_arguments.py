"""Options that the verbs of models share; verbs of the retrieval half start without them."""

from __future__ import annotations

import argparse

from ..io.paths import find_recipe


def add_model_options(parser: argparse.ArgumentParser, weights: str) -> None:
    """Let the parser take a recipe and the weights that were trained with it.

    Args:
        parser: gets `--config-file` and `--weights`.
        weights: the help of `--weights`.
    """
    parser.add_argument(
        "--config-file",
        type=find_recipe,
        required=True,
        help="the recipe the weights were trained with",
    )
    parser.add_argument("--weights", required=True, help=weights)


def add_images_option(parser: argparse.ArgumentParser) -> None:
    """Let the parser take `--images`."""
    parser.add_argument(
        "--images",
        required=True,
        help="a folder (searched through), or a CSV/Parquet file with path",
    )


def add_recipe_changes(parser: argparse.ArgumentParser) -> None:
    """Let the parser take pairs KEY VALUE after all options, as `opts`."""
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="changes to the recipe"
    )
