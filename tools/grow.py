"""Learn from unlabelled photos, round after round, as a plan says; the same command again goes on.

python tools/grow.py --plan projects/SemiINat2021/plans/small.yml --out outputs/semi
python tools/grow.py --plan projects/SemiINat2021/plans/small.yml --out outputs/short --short MODEL.DEVICE cpu
"""

import argparse
import sys

from fastseek.errors import exit_with


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plan", required=True, help="the plan of rounds")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the run")
    parser.add_argument("--short", action="store_true", help="with the plan's SHORT")
    parser.add_argument(
        "opts", nargs="*", metavar="KEY VALUE", help="changes to the recipe of every training"
    )
    args = parser.parse_intermixed_args()

    from fastseek.workflows.self_training.run import run_rounds

    sys.stdout.write(run_rounds(args.plan, args.out, args.short, args.opts) + "\n")


if __name__ == "__main__":
    exit_with(main)
