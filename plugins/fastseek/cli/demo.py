"""The demo: train on images of groceries, search, re-rank, score, and write a page.

fastseek demo
fastseek demo --out outputs/demo SOLVER.MAX_EPOCH 1

It is `fastseek run Grocery/dolg_mobilenetv2`. Images are looked for below FASTREID_DATASETS,
FASTSEEK_DATA and ~/.cache/fastseek, else they are downloaded and checked.
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import find_recipe, make_parser
from ._recipe_arguments import add_recipe_changes, parse_with_changes

RECIPE = "Grocery/dolg_mobilenetv2"


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("demo", __doc__)
    parser.add_argument("--out", default="outputs/demo", help="folder of the run (%(default)s)")
    add_recipe_changes(parser)
    args = parse_with_changes(parser, argv)

    from ..workflows.run import run_file

    print(run_file(find_recipe(RECIPE), args.out, None, args.opts))
