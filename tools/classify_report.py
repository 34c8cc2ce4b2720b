"""A trained classifier looked at: figures, dark, over-exposed and blurred photos, classes taken for each other.

    python tools/classify_report.py --config-file outputs/run/config.yaml \
        --weights outputs/run/model_final.safetensors --out outputs/run/looked-at
"""

import argparse
import sys

from fastseek.errors import exit_with


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config-file", required=True, help="the recipe the weights were trained with"
    )
    parser.add_argument("--weights", required=True, help="a checkpoint, its classes.json beside it")
    parser.add_argument(
        "--out", required=True, help="folder of results.json, confusion.json and report.html"
    )
    parser.add_argument(
        "--pairs", type=int, default=10, help="pairs of classes shown (default: %(default)s)"
    )
    parser.add_argument(
        "--on", default="", help="the map laid over the photos; the backbone's last by default"
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="changes to the recipe"
    )
    args = parser.parse_args()

    from fastseek.workflows.classification_report import report

    sys.stdout.write(
        report(args.config_file, args.weights, args.out, args.opts, args.pairs, args.on) + "\n"
    )


if __name__ == "__main__":
    exit_with(main)
