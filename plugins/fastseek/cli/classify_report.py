"""A trained classifier looked at: figures, dark, over-exposed and blurred photos, classes taken for each other.

    fastseek classify-report outputs/run/config.yaml \
        --weights outputs/run/model_final.safetensors --out outputs/run/looked-at
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..io.paths import find_recipe
from ._arguments import make_parser


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("classify-report", __doc__)
    parser.add_argument(
        "--config-file",
        type=find_recipe,
        required=True,
        help="the recipe the weights were trained with",
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
    args = parser.parse_args(argv)

    from ..workflows.classification_report import report

    sys.stdout.write(
        report(args.config_file, args.weights, args.out, args.opts, args.pairs, args.on) + "\n"
    )
