"""Options that the verbs of models share; verbs of the retrieval half start without them."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

from ..errors import UsageError
from ._arguments import add_formats_option, find_recipe
from ._listed_images import IMAGES, take_images

KEY = re.compile(r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)+")


def add_recipe_option(parser: argparse.ArgumentParser, what: str, required: bool = True) -> None:
    """Let the parser take a recipe, which may also stand first without `--config-file`."""
    parser.add_argument(
        "--config-file",
        required=required,
        metavar="RECIPE",
        help=f"{what}: a file, or a name that `fastseek recipes list` shows",
    )


def add_model_options(parser: argparse.ArgumentParser, weights: str, required: bool = True) -> None:
    """Let the parser take a recipe and the weights that were trained with it.

    Args:
        parser: gets `--config-file` and `--weights`.
        weights: the help of `--weights`.
        required: whether the verb cannot do without them.
    """
    add_recipe_option(parser, "the recipe the weights were trained with", required)
    parser.add_argument("--weights", required=required, help=weights)


def add_images_option(parser: argparse.ArgumentParser) -> None:
    """Let the parser take `--images`."""
    parser.add_argument(
        "--images",
        required=True,
        type=take_images,
        help=IMAGES,
    )
    add_formats_option(parser)


def add_part_option(parser: argparse.ArgumentParser) -> None:
    """Let the parser take `--part`."""
    parser.add_argument(
        "--part",
        default="",
        metavar="i/n",
        help="do every n-th shard from shard i on, 0/n to (n-1)/n; a launcher's processes take"
        " theirs (RANK and WORLD_SIZE, SLURM_ARRAY_TASK_ID, SLURM_PROCID)",
    )


def add_recipe_changes(
    parser: argparse.ArgumentParser, whose: str = "the recipe", nargs: str = argparse.REMAINDER
) -> None:
    """Let the parser take pairs KEY VALUE after all options, as `opts`."""
    parser.add_argument("opts", nargs=nargs, metavar="KEY VALUE", help=f"changes to {whose}")


def parse_with_changes(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> argparse.Namespace:
    """Read the arguments of a verb that ends with pairs KEY VALUE.

    The pairs begin at the first word that is a key, so that no option before them takes them for
    its own values.

    Returns:
        what was given; recipes and plans as files.

    Raises:
        UsageError: they are no pairs, or there is no such recipe.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    start = _find_changes(parser, given)
    args = parser.parse_args(given[:start])
    args.opts = [*args.opts, *given[start:]]
    check_changes(args.opts)
    for name in ("config_file", "plan"):
        if getattr(args, name, None) is not None:
            setattr(args, name, find_recipe(getattr(args, name)))
    return args


def check_changes(opts: Sequence[str]) -> None:
    """Check that changes are pairs.

    Raises:
        UsageError: they are not; says how to write the wrong one.
    """
    for key in opts[::2]:
        name, sign, value = key.partition("=")
        if sign and KEY.fullmatch(name.upper()):
            raise UsageError(f"{key}: a key and its value are two words: write {name} {value}")
    if len(opts) % 2:
        raise UsageError(f"{opts[-1]} has no value: changes come in pairs, KEY VALUE")


def _find_changes(parser: argparse.ArgumentParser, given: Sequence[str]) -> int:
    """The place of the first key; the number of words when there is none."""
    valued = {
        option
        for action in parser._actions
        if action.nargs != 0
        for option in action.option_strings
    }
    for place, word in enumerate(given):
        before = given[place - 1] if place else ""
        if before not in valued and KEY.fullmatch(word.partition("=")[0]):
            return place
    return len(given)
