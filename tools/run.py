"""Photos to an answer with one command: train a recipe, search, re-rank, score, and write the page.

python tools/run.py --config-file configs/Grocery/dolg_mobilenetv2.yml --out outputs/demo
python tools/run.py --config-file configs/own.yml --data /my/photos --out outputs/mine SOLVER.MAX_EPOCH 10
"""

import argparse
import sys

from fastseek.errors import exit_with


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="the recipe")
    parser.add_argument(
        "--out", required=True, help="folder of the run; the same command again goes on"
    )
    parser.add_argument(
        "--data",
        help="a folder of class folders, or a CSV/Parquet file with path,label[,group,split]",
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="changes to the recipe"
    )
    args = parser.parse_args()

    from fastseek.workflows.run import run_file

    sys.stdout.write(run_file(args.config_file, args.out, args.data, args.opts) + "\n")


if __name__ == "__main__":
    exit_with(main)
