"""Images to embeddings: a recipe and the weights trained with it, and the images to look at.

    fastseek embed config.yaml --weights model_final.safetensors --images /my/images --out mine

config.yaml is the complete recipe that a training wrote beside its weights.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ._arguments import make_parser
from ._recipe_arguments import (
    add_images_option,
    add_model_options,
    add_recipe_changes,
    parse_with_changes,
)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("embed", __doc__)
    add_model_options(parser, "a checkpoint (.safetensors or .pth)")
    add_images_option(parser)
    parser.add_argument(
        "--out", required=True, help="folder of the embeddings; the same command again goes on"
    )
    add_recipe_changes(parser)
    args = parse_with_changes(parser, argv)

    from ..inference.embed_images import embed_images

    sys.stdout.write(
        embed_images(args.config_file, args.weights, args.images, args.out, args.opts) + "\n"
    )
