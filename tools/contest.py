"""Run a contest recipe: train the members, embed, post-process, fuse, write the submission, score it.

    python tools/contest.py --recipe projects/Landmark2021/small/retrieval.yml --out outputs/retrieval
    python tools/contest.py --recipe A.yml B.yml --out outputs/both     members they share are trained once
    python tools/contest.py --recipe A.yml --out outputs/quick --short SOLVER.IMS_PER_BATCH 8

The same command again goes on where a killed run stopped.
"""

import argparse

from fastseek.errors import exit_with


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--recipe", required=True, nargs="+", metavar="FILE", help="contest recipes"
    )
    parser.add_argument("--out", required=True, help="folder of the run")
    parser.add_argument(
        "--short", action="store_true", help="with the changes of the recipe's SHORT: a quick look"
    )
    parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        metavar="KEY VALUE",
        help="changes to every member's recipe",
    )
    args = parser.parse_args()

    from fastseek.workflows.contest.run import run_files

    print(run_files(args.recipe, args.out, args.short, args.opts))


if __name__ == "__main__":
    exit_with(main)
