"""Photos to class probabilities: a folder or a list of photos, a recipe and its weights, a folder of shards.

    python tools/classify.py --config-file outputs/demo/train/config.yaml \
        --weights outputs/demo/train/model_final.safetensors --images /my/photos --out classified
"""

import argparse
import sys

from fastseek.errors import exit_with


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config-file", required=True, help="the recipe the weights were trained with"
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
    args = parser.parse_args()

    from fastseek.inference.classification import classify_images

    sys.stdout.write(
        classify_images(args.config_file, args.weights, args.images, args.out, args.opts) + "\n"
    )


if __name__ == "__main__":
    exit_with(main)
