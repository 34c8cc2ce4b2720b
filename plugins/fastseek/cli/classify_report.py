"""A trained classifier looked at: its figures, dark, over-exposed and blurred images, and classes
that are taken for each other.

    fastseek classify-report config.yaml --weights model_final.safetensors --out looked-at
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import make_parser
from ._listed_images import IMAGES, take_images
from ._recipe_arguments import add_model_options, add_recipe_changes, parse_with_changes
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("classify-report", __doc__)
    add_model_options(parser, "a checkpoint, its classes.json beside it")
    parser.add_argument(
        "--out",
        required=True,
        help="folder of results.json, confusion.json, gate.json and report.html",
    )
    parser.add_argument(
        "--pairs", type=int, default=10, help="pairs of classes shown (default: %(default)s)"
    )
    parser.add_argument(
        "--on", default="", help="the map laid over the images; the backbone's last by default"
    )
    parser.add_argument(
        "--outside",
        metavar="IMAGES",
        type=take_images,
        help=f"images of none of the classes: how well they are turned away; {IMAGES}",
    )
    parser.add_argument(
        "--keep",
        type=float,
        default=0.95,
        metavar="SHARE",
        help="share of images of known classes that the gate lets in (default: %(default)s)",
    )
    parser.add_argument(
        "--by",
        default="probability",
        metavar="SCORE",
        help="what the gate looks at: the largest probability, its margin over the next, or entropy"
        " (%(default)s)",
    )
    add_recipe_changes(parser)
    args = parse_with_changes(parser, argv)

    from ..workflows.classification_report import GateChoice, report
    from ._outputs import check_run_folder

    check_run_folder(args.out)
    done = report(
        args.config_file,
        args.weights,
        args.out,
        args.opts,
        args.pairs,
        args.on,
        GateChoice(args.keep, args.outside, args.by),
    )
    tell(done)
