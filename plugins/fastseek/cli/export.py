"""A trained model to one file for other programs, ONNX or torch's exported program, checked against the model.

    fastseek export outputs/demo/train/config.yaml \
        --weights outputs/demo/train/model_final.safetensors --out model.onnx --size 224
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..io.paths import find_recipe
from ._arguments import make_parser


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("export", __doc__)
    parser.add_argument(
        "--config-file",
        type=find_recipe,
        required=True,
        help="the recipe the weights were trained with",
    )
    parser.add_argument("--weights", required=True, help="a checkpoint (.safetensors or .pth)")
    parser.add_argument("--out", required=True, help="FILE.onnx or FILE.pt2")
    parser.add_argument(
        "--size", type=int, nargs="+", default=[224], help="side of the photos, or height and width"
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="changes to the recipe"
    )
    args = parser.parse_args(argv)
    if len(args.size) > 2 or min(args.size) < 1:
        parser.error("--size takes the side of the photos, or height and width")

    from ..inference.export import export

    sys.stdout.write(
        export(args.config_file, args.weights, args.out, (args.size * 2)[:2], args.opts) + "\n"
    )
