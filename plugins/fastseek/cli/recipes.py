"""What recipes there are, what they mean, and whether they work.

fastseek recipes list
fastseek recipes explain Grocery/dolg_mobilenetv2 SOLVER.MAX_EPOCH 3
fastseek recipes check Grocery/dolg_mobilenetv2
fastseek recipes schedule Grocery/dolg_mobilenetv2 --iters-per-epoch 120 SOLVER.MAX_EPOCH 30
fastseek recipes schedule "warmup_steps(preset='digix')" --iters-per-epoch 387 --epochs 300
fastseek recipes memory Grocery/dolg_mobilenetv2 --gib 80 SOLVER.IMS_PER_BATCH 64
fastseek recipes keys SEEK.R

`check` without a name takes all recipes, plans too.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ..errors import UsageError
from ._arguments import find_recipe, make_parser
from ._recipe_arguments import check_changes
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("recipes", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every recipe, what it says of itself, what it reaches")
    explain = commands.add_parser(
        "explain", help="the merged config, each line with the file that set it"
    )
    explain.add_argument("file", metavar="RECIPE", help="the recipe")
    explain.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="changes to it"
    )
    check = commands.add_parser(
        "check", help="build recipes and take two training steps on made-up images"
    )
    check.add_argument(
        "--large",
        action="store_true",
        help="train those of more than 12 million parameters too, as when files are named",
    )
    check.add_argument(
        "files", metavar="RECIPE", nargs="*", help="recipes; all of them when none is named"
    )
    schedule = commands.add_parser(
        "schedule", help="the learning rate at every corner of a training"
    )
    schedule.add_argument(
        "what", metavar="RECIPE", help="the recipe, or the call string of a schedule"
    )
    schedule.add_argument(
        "--iters-per-epoch",
        type=int,
        default=0,
        help="batches an epoch; counts the recipe's images",
    )
    schedule.add_argument("--epochs", type=int, default=120, help="for a call string")
    schedule.add_argument("--base-lr", type=float, default=3.5e-4, help="for a call string")
    schedule.add_argument("opts", nargs="*", metavar="KEY VALUE", help="changes to the recipe")
    memory = commands.add_parser("memory", help="what a training needs, estimated from shapes")
    memory.add_argument("file", metavar="RECIPE", help="the recipe")
    memory.add_argument(
        "--gib",
        type=float,
        default=0.0,
        help="memory of a device: tells the largest batch it holds",
    )
    memory.add_argument("opts", nargs="*", metavar="KEY VALUE", help="changes to the recipe")
    keys = commands.add_parser("keys", help="the keys of a recipe: default, meaning, legal values")
    keys.add_argument("start", nargs="?", default="", help="only keys that begin so")
    keys.add_argument("--markdown", action="store_true", help="all keys as a page of Markdown")
    args, rest = parser.parse_known_args(argv)
    if rest and (args.command not in ("schedule", "memory") or rest[0].startswith("-")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")

    changes = [*getattr(args, "opts", ()), *rest]
    check_changes(changes)
    if args.command == "check":
        _check(args)
    elif args.command == "keys":
        sys.stdout.write(_keys(args))
    else:
        tell(_describe(args, changes))


def _keys(args: argparse.Namespace) -> str:
    """What `keys` prints."""
    if not args.markdown:
        from ..config.keys import list_keys

        return list_keys(args.start) + "\n"
    if args.start:
        raise UsageError("--markdown prints all keys: leave the beginning of a name out")
    from ._reference_pages import keys_page

    return keys_page()


def _describe(args: argparse.Namespace, changes: Sequence[str]) -> str:
    """What `list`, `explain`, `memory` and `schedule` print."""
    from ..config import catalog
    from ..io.paths import look_up_recipe, recipe_root

    if args.command == "list":
        return catalog.listing(recipe_root())
    if args.command == "explain":
        return catalog.explain(find_recipe(args.file), changes)
    if args.command == "memory":
        from ..training.memory_estimate import memory_table

        return memory_table(find_recipe(args.file), changes, args.gib)
    from ..training.lr_table import table

    # A name that is no recipe's may be a schedule's, whose reader tells what is wrong with it.
    what = look_up_recipe(args.what) or args.what
    return table(what, args.iters_per_epoch, changes, args.epochs, args.base_lr)


def _check(args: argparse.Namespace) -> None:
    from ..config import catalog
    from ..io.paths import recipe_root

    if args.files:
        run_check([find_recipe(name) for name in args.files], large=True)
    else:
        found = [*catalog.find(recipe_root()), *catalog.plans(recipe_root())]
        run_check([os.path.relpath(path) for path in found], args.large)


def run_check(files: list[str], large: bool) -> None:
    """Build recipes, take two training steps of each, and print how each ended."""
    from ..workflows.check_recipe import check

    failed = []
    for outcome in check(files, large):
        mark = "FAILED" if outcome.failed else "ok"
        tell(f"{mark:6}  {outcome.path}  {outcome.summary}  ({outcome.seconds:.1f} s)")
        failed += [outcome.path] if outcome.failed else []
    if failed:
        raise UsageError(f"{len(failed)} of {len(files)} recipes fail: {', '.join(failed)}")
