"""What recipes there are, what they mean, and whether they work.

    python tools/recipes.py list
    python tools/recipes.py explain configs/Grocery/dolg_mobilenetv2.yml SOLVER.MAX_EPOCH 3
    python tools/recipes.py check                     (all; or name some files)
"""

import argparse
import os
import pathlib
import sys

from fastseek.errors import UsageError, exit_with

ROOT = pathlib.Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every recipe, what it says of itself, what it reaches")
    explain = commands.add_parser("explain", help="the merged config, each line with the file that set it")
    explain.add_argument("file", help="the recipe")
    explain.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="changes to it")
    check = commands.add_parser("check", help="build recipes and take two training steps on made-up photos")
    check.add_argument("files", nargs="*", help="recipes; all of them when none is named")
    args = parser.parse_args()

    from fastseek.engine import catalogue

    if args.command == "list":
        sys.stdout.write(catalogue.listing(ROOT) + "\n")
    elif args.command == "explain":
        sys.stdout.write(catalogue.explain(args.file, args.opts) + "\n")
    else:
        run_check(args.files or [os.path.relpath(path) for path in catalogue.find(ROOT)])


def run_check(files: list[str]) -> None:
    from fastseek.engine.check import check

    failed = []
    for outcome in check(files):
        mark = "FAILED" if outcome.failed else "ok"
        sys.stdout.write(f"{mark:6}  {outcome.path}  {outcome.told}  ({outcome.seconds:.1f} s)\n")
        sys.stdout.flush()
        failed += [outcome.path] if outcome.failed else []
    if failed:
        raise UsageError(f"{len(failed)} of {len(files)} recipes fail: {', '.join(failed)}")


if __name__ == "__main__":
    exit_with(main)
