"""Photos to embeddings: a folder or a list of photos, a recipe and its weights, a folder of shards.

    fastseek embed outputs/demo/train/config.yaml \
        --weights outputs/demo/train/model_final.safetensors --images /my/photos --out mine
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..io.paths import find_recipe
from ._arguments import make_parser


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("embed", __doc__)
    parser.add_argument(
        "--config-file",
        type=find_recipe,
        required=True,
        help="the recipe the weights were trained with",
    )
    parser.add_argument("--weights", required=True, help="a checkpoint (.safetensors or .pth)")
    parser.add_argument(
        "--images",
        required=True,
        help="a folder (searched through), or a CSV/Parquet file with path",
    )
    parser.add_argument(
        "--out", required=True, help="folder of the embeddings; the same command again goes on"
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="changes to the recipe"
    )
    args = parser.parse_args(argv)

    from ..inference.embed_images import embed_images

    sys.stdout.write(
        embed_images(args.config_file, args.weights, args.images, args.out, args.opts) + "\n"
    )
