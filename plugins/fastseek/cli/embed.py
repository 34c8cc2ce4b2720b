"""Images to embeddings: by a pretrained model, or by a recipe and the weights trained with it.

    fastseek embed --model default --images /my/images --out mine
    fastseek embed --model timm:vit_small_patch16_dinov3 --pooling cls --images /my/images --out mine
    find . -name "*.jpg" | fastseek embed --model default --images - --out mine
    fastseek embed config.yaml --weights model_final.safetensors --images /my/images --out mine

    fastseek embed --model default --images /my/images --out mine --part 3/64
    fastseek embed --model default --size 448 --locals 16 --images /my/images --out mine

A part embeds every n-th shard; parts run in any order on any machines that see the folder, and the
one that ends last makes it whole. Under torchrun, srun and in a job array of Slurm every process
takes its own part. config.yaml is the complete recipe that a training wrote beside its weights.
`fastseek models list` shows models by name.
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
    add_part_option,
    add_recipe_changes,
    parse_with_changes,
)
from ._terminal import tell

ALL = "all"
TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..inference.embed_parts.embed_request import EmbedRequest
    from ..inference.pretrained.embed_locals import LocalOptions


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("embed", __doc__)
    add_named_model_options(parser)
    add_model_options(parser, "a checkpoint (.safetensors or .pth)", required=False)
    add_images_option(parser)
    _add_local_options(parser)
    _add_layer_option(parser)
    parser.add_argument(
        "--out", required=True, help="folder of the embeddings; the same command again goes on"
    )
    add_recipe_changes(parser)
    add_part_option(parser)
    parser.add_argument(
        "--ray",
        type=int,
        default=0,
        metavar="N",
        help="let a Ray cluster embed in N parts; --gpus-per-part G reserves GPUs for each",
    )
    parser.add_argument("--gpus-per-part", type=float, default=0, help=argparse.SUPPRESS)
    args = parse_with_changes(parser, argv)
    request = _read_request(args)

    from ..inference.embed_parts.embed_request import embed_request
    from ..inference.embed_parts.part_choice import choose_part
    from ._outputs import check_folder  # help is shown without it

    check_folder(args.out)
    if args.ray:
        from ..inference.embed_parts.ray_parts import embed_on_ray

        tell(embed_on_ray(request, args.ray, gpus=args.gpus_per_part))
    else:
        tell(embed_request(request, choose_part(args.part)).line)


def _read_request(args: argparse.Namespace) -> EmbedRequest:
    """What is asked for.

    Raises:
        UsageError: no model is named, two are, or an option does not go with it.
    """
    if args.model and (args.config_file or args.weights or args.opts):
        raise UsageError("--model takes no recipe, no --weights and no KEY VALUE: leave them out")
    if not args.model and not (args.config_file and args.weights):
        raise UsageError(
            "no model is named: say --model default (see fastseek models list), or a recipe and"
            " --weights"
        )
    given = [name for name in MODEL_OPTIONS if getattr(args, name)]
    if given and not args.model:
        raise UsageError(f"--{given[0]} goes with --model: a recipe says itself how it is run")
    if args.ray and args.part:
        raise UsageError("--ray divides the job itself: leave out --part")

    from ..inference.embed_parts.embed_request import EmbedRequest

    recipe = (args.config_file or "", args.weights or "", tuple(args.opts))
    how = read_model_options(args)
    local = _read_local_options(args)
    return EmbedRequest(args.images, args.out, args.model or "", how, args.threads, recipe, local)


def _add_local_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--locals",
        default="",
        metavar="K",
        help="write K local features of every image, or all, into OUT/locals, for re-rankers such"
        " as chamfer('OUT/locals')",
    )
    parser.add_argument(
        "--local-bits", choices=("fp16", "binary"), default="", help="default: fp16"
    )
    parser.add_argument(
        "--local-select",
        choices=("merge", "norm"),
        default="",
        help="how K of all are made: means of like ones (merge, default), or the longest (norm)",
    )


def _add_layer_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--local-layer",
        type=int,
        default=0,
        metavar="N",
        help="which layer's features are local ones, counted from the end (default: 1, the last)",
    )


def _read_local_options(args: argparse.Namespace) -> LocalOptions | None:
    """Which local features are asked for.

    Raises:
        UsageError: a value makes no sense, or has no --locals beside it.
    """
    given = [name for name in ("local_bits", "local_select", "local_layer") if getattr(args, name)]
    if not args.locals:
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')} goes with --locals K")
        return None
    if not args.locals.isdecimal() and args.locals != ALL:
        raise UsageError(f"--locals {args.locals}: expected a number such as 16, or all")

    from ..inference.pretrained.embed_locals import LocalOptions

    bits = args.local_bits or "fp16"
    if args.locals == ALL:
        return LocalOptions(0, bits, ALL, args.local_layer or 1)
    select = args.local_select or "merge"
    return LocalOptions(int(args.locals), bits, select, args.local_layer or 1)
