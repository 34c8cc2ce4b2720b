"""Images to embeddings: by a pretrained model, or by a recipe and the weights trained with it.

    fastseek embed --model default --images /my/images --out mine
    fastseek embed --model timm:vit_small_patch16_dinov3 --pooling cls --images /my/images --out mine
    find . -name "*.jpg" | fastseek embed --model default --images - --out mine
    fastseek embed config.yaml --weights model_final.safetensors --images /my/images --out mine

config.yaml is the complete recipe that a training wrote beside its weights. `fastseek models list`
shows models by name.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..errors import UsageError
from ._arguments import make_parser
from ._model_options import MODEL_OPTIONS, add_named_model_options, read_model_options
from ._recipe_arguments import (
    add_images_option,
    add_model_options,
    add_recipe_changes,
    parse_with_changes,
)
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("embed", __doc__)
    add_named_model_options(parser)
    add_model_options(parser, "a checkpoint (.safetensors or .pth)", required=False)
    add_images_option(parser)
    parser.add_argument(
        "--out", required=True, help="folder of the embeddings; the same command again goes on"
    )
    add_recipe_changes(parser)
    args = parse_with_changes(parser, argv)

    from ._outputs import check_folder  # help is shown without it

    check_folder(args.out)
    work = _embed_by_name if args.model else _embed_by_recipe
    tell(work(args))


def _embed_by_recipe(args: argparse.Namespace) -> str:
    if not args.config_file or not args.weights:
        raise UsageError(
            "no model is named: say --model default (see fastseek models list), or a recipe and"
            " --weights"
        )
    given = [name for name in MODEL_OPTIONS if getattr(args, name)]
    if given:
        raise UsageError(f"--{given[0]} goes with --model: a recipe says itself how it is run")

    from ..inference.embed_images import embed_images

    return embed_images(args.config_file, args.weights, args.images, args.out, args.opts)


def _embed_by_name(args: argparse.Namespace) -> str:
    if args.config_file or args.weights or args.opts:
        raise UsageError("--model takes no recipe, no --weights and no KEY VALUE: leave them out")

    from ..data.own_images import describe_embeddings
    from ..inference.pretrained import load_model
    from ..inference.pretrained.embed import embed_items
    from ._listed_images import read_images

    items, root = read_images(args.images)
    model = load_model(args.model, read_model_options(args))
    found = embed_items(model, items, root, args.out, args.threads)
    return describe_embeddings(found, len(items), "numbers each", args.out)
