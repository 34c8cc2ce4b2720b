"""A trained model to one file for other programs, ONNX or torch's exported program, checked against
the model.

    fastseek export config.yaml --weights model_final.safetensors --out model.onnx --size 224
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ._arguments import make_parser
from ._recipe_arguments import add_model_options, add_recipe_changes, parse_with_changes


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("export", __doc__)
    add_model_options(parser, "a checkpoint (.safetensors or .pth)")
    parser.add_argument("--out", required=True, help="FILE.onnx or FILE.pt2")
    parser.add_argument(
        "--size", type=int, nargs="+", default=[224], help="side of the images, or height and width"
    )
    add_recipe_changes(parser)
    args = parse_with_changes(parser, argv)
    if len(args.size) > 2 or min(args.size) < 1:
        parser.error("--size takes the side of the images, or height and width")

    from ..inference.export import export

    sys.stdout.write(
        export(args.config_file, args.weights, args.out, (args.size * 2)[:2], args.opts) + "\n"
    )
