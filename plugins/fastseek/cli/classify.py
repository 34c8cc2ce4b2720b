"""Images to class probabilities: a recipe, the weights trained with it, and the images to look at.

    fastseek classify config.yaml --weights model_final.safetensors --images /my/images --out classes
    fastseek classify c.yaml --weights model.safetensors --images I --out classes --gate gate.json

The folder also gets predictions.csv (image,label,confidence), predictions.json and predictions.html.
A gate is what `fastseek classify-report` writes: images it turns away are "none of these".
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import make_parser
from ._recipe_arguments import (
    add_images_option,
    add_model_options,
    add_part_option,
    add_recipe_changes,
    parse_with_changes,
)
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("classify", __doc__)
    add_model_options(parser, "a checkpoint, its classes.json beside it")
    add_images_option(parser)
    parser.add_argument(
        "--out", required=True, help="folder of the probabilities; the same command again goes on"
    )
    parser.add_argument(
        "--gate",
        metavar="JSON",
        help='turn away what is of no known class: such images are "none of these"',
    )
    add_part_option(parser)
    add_recipe_changes(parser)
    args = parse_with_changes(parser, argv)

    from ..inference.classification import classify_images
    from ..inference.embed_parts.part_choice import choose_part
    from ._outputs import check_folder

    check_folder(args.out)
    part = choose_part(args.part)
    done = classify_images(
        args.config_file, args.weights, args.images, args.out, args.opts, args.gate, part
    )
    tell(done)
