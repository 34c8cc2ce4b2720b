"""A trained model for other programs: ONNX or torch's exported program, checked against the model, or
fast-reid.

    fastseek export config.yaml --weights model_final.safetensors --out model.onnx --size 224

With `--to fastreid` the folder --out gets a config.yaml without FastSeek's keys and a
model_final.pth, which fast-reid's own Checkpointer and Distiller load; the architecture must be one
of fast-reid's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ._arguments import add_force_option, make_parser
from ._recipe_arguments import add_model_options, add_recipe_changes, parse_with_changes
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("export", __doc__)
    add_model_options(parser, "a checkpoint (.safetensors or .pth)")
    parser.add_argument(
        "--out", required=True, help="FILE.onnx, FILE.pt2, or a folder for fast-reid"
    )
    parser.add_argument(
        "--to",
        choices=("onnx", "pt2", "fastreid"),
        help="what is written (default: what the ending of --out says)",
    )
    parser.add_argument(
        "--size", type=int, nargs="+", default=[224], help="side of the images, or height and width"
    )
    add_force_option(parser)
    add_recipe_changes(parser)
    args = parse_with_changes(parser, argv)
    if len(args.size) > 2 or min(args.size) < 1:
        parser.error("--size takes the side of the images, or height and width")

    if args.to in ("onnx", "pt2") and not args.out.endswith(f".{args.to}"):
        parser.error(f"--to {args.to}: name a file that ends in .{args.to}")

    tell(_export(args))


def _export(args: argparse.Namespace) -> str:
    if args.to == "fastreid":
        from ..inference.export_fastreid import export_fastreid

        return export_fastreid(args.config_file, args.weights, args.out, tuple(args.opts))

    from ..inference.export import export
    from ..io.file_kinds import check_replaceable

    check_replaceable(args.out, "model", args.force, [args.config_file, args.weights])
    size = (args.size * 2)[:2]
    return export(args.config_file, args.weights, args.out, size, args.opts)
