"""What recipes there are, what they mean, and whether they work.

fastseek recipes list
fastseek recipes explain Grocery/dolg_mobilenetv2 SOLVER.MAX_EPOCH 3
fastseek recipes check                     (all, plans too; or name some files)
fastseek recipes schedule Grocery/dolg_mobilenetv2 --iters-per-epoch 120 SOLVER.MAX_EPOCH 30
fastseek recipes memory Grocery/dolg_mobilenetv2 --gib 80 SOLVER.IMS_PER_BATCH 64
fastseek recipes schedule "warmup_steps(preset='digix')" --iters-per-epoch 387 --epochs 300
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ..errors import UsageError
from ..io.paths import find_recipe, recipe_root
from ._arguments import make_parser


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("recipes", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every recipe, what it says of itself, what it reaches")
    explain = commands.add_parser(
        "explain", help="the merged config, each line with the file that set it"
    )
    explain.add_argument("file", type=find_recipe, help="the recipe")
    explain.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="changes to it"
    )
    check = commands.add_parser(
        "check", help="build recipes and take two training steps on made-up photos"
    )
    check.add_argument(
        "--large",
        action="store_true",
        help="train those of more than 12 million parameters too, as when files are named",
    )
    check.add_argument(
        "files", type=find_recipe, nargs="*", help="recipes; all of them when none is named"
    )
    schedule = commands.add_parser(
        "schedule", help="the learning rate at every corner of a training"
    )
    schedule.add_argument(
        "what", type=find_recipe, help="the recipe, or the call string of a schedule"
    )
    schedule.add_argument(
        "--iters-per-epoch",
        type=int,
        default=0,
        help="batches an epoch; counts the recipe's photos",
    )
    schedule.add_argument("--epochs", type=int, default=120, help="for a call string")
    schedule.add_argument("--base-lr", type=float, default=3.5e-4, help="for a call string")
    schedule.add_argument("opts", nargs="*", metavar="KEY VALUE", help="changes to the recipe")
    memory = commands.add_parser("memory", help="what a training needs, estimated from shapes")
    memory.add_argument("file", type=find_recipe, help="the recipe")
    memory.add_argument(
        "--gib",
        type=float,
        default=0.0,
        help="memory of a device: tells the largest batch it holds",
    )
    memory.add_argument("opts", nargs="*", metavar="KEY VALUE", help="changes to the recipe")
    args, rest = parser.parse_known_args(argv)
    if rest and (args.command not in ("schedule", "memory") or rest[0].startswith("-")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")

    from ..config import catalog

    if args.command == "list":
        sys.stdout.write(catalog.listing(recipe_root()) + "\n")
    elif args.command == "explain":
        sys.stdout.write(catalog.explain(args.file, args.opts) + "\n")
    elif args.command == "memory":
        from ..training.memory_estimate import memory_table

        sys.stdout.write(memory_table(args.file, [*args.opts, *rest], args.gib) + "\n")
    elif args.command == "schedule":
        from ..training.lr_table import table

        sys.stdout.write(
            table(args.what, args.iters_per_epoch, [*args.opts, *rest], args.epochs, args.base_lr)
            + "\n"
        )
    else:
        found = [*catalog.find(recipe_root()), *catalog.plans(recipe_root())]
        run_check(
            args.files or [os.path.relpath(path) for path in found], args.large or bool(args.files)
        )


def run_check(files: list[str], large: bool) -> None:
    """Build recipes, take two training steps of each, and print how each ended."""
    from ..workflows.check_recipe import check

    failed = []
    for outcome in check(files, large):
        mark = "FAILED" if outcome.failed else "ok"
        sys.stdout.write(
            f"{mark:6}  {outcome.path}  {outcome.summary}  ({outcome.seconds:.1f} s)\n"
        )
        sys.stdout.flush()
        failed += [outcome.path] if outcome.failed else []
    if failed:
        raise UsageError(f"{len(failed)} of {len(files)} recipes fail: {', '.join(failed)}")
