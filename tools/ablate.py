"""Measure what every change to a recipe is worth: train step by step, with seeds, and print the cumulative table.

python tools/ablate.py projects/ReIDBaseline/ablation.yml --out outputs/reid-ablation
python tools/ablate.py projects/ReIDBaseline/ablation.yml --out outputs/long --long --jobs 2 MODEL.DEVICE cpu
python tools/ablate.py a.yml,b.yml --out outputs/both     the rows of both, one folder a file
"""

import argparse
import sys

from fastseek.errors import exit_with


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="the ablation file, or several separated by commas")
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="folder of the run; the same command again goes on",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--short", action="store_true", help="the short setting of the file (the default)"
    )
    length.add_argument("--long", action="store_true", help="the long setting of the file")
    parser.add_argument(
        "--jobs", type=int, default=1, help="trainings side by side (default: %(default)s)"
    )
    parser.add_argument(
        "opts", nargs="*", metavar="KEY VALUE", help="changes to the recipe of every step"
    )
    args = parser.parse_intermixed_args()

    from fastseek.workflows.ablation.run import ablate_files

    sys.stdout.write(
        ablate_files(args.file.split(","), args.out, args.long, args.opts, args.jobs) + "\n"
    )


if __name__ == "__main__":
    exit_with(main)
