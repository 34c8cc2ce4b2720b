"""Photos to class probabilities: a folder or a list of photos, a recipe and its weights, a folder of shards.

    fastseek classify outputs/demo/train/config.yaml \
        --weights outputs/demo/train/model_final.safetensors --images /my/photos --out classified
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..io.paths import find_recipe
from ._arguments import make_parser


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("classify", __doc__)
    parser.add_argument(
        "--config-file",
        type=find_recipe,
        required=True,
        help="the recipe the weights were trained with",
    )
    parser.add_argument("--weights", required=True, help="a checkpoint, its classes.json beside it")
    parser.add_argument(
        "--images",
        required=True,
        help="a folder (searched through), or a CSV/Parquet file with path",
    )
    parser.add_argument(
        "--out", required=True, help="folder of the probabilities; the same command again goes on"
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="changes to the recipe"
    )
    args = parser.parse_args(argv)

    from ..inference.classification import classify_images

    sys.stdout.write(
        classify_images(args.config_file, args.weights, args.images, args.out, args.opts) + "\n"
    )
