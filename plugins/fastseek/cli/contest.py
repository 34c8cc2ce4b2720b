"""Run a contest recipe: train the members, embed, post-process, fuse, write the submission, score it.

    fastseek contest Landmark2021/small/retrieval --out outputs/retrieval
    fastseek contest A.yml B.yml --out outputs/both     members they share are trained once
    fastseek contest A.yml --out outputs/quick --short SOLVER.IMS_PER_BATCH 8

The same command again goes on where a killed run stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..io.paths import find_recipe
from ._arguments import make_parser


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("contest", __doc__)
    parser.add_argument(
        "--recipe",
        type=find_recipe,
        required=True,
        nargs="+",
        metavar="FILE",
        help="contest recipes",
    )
    parser.add_argument("--out", required=True, help="folder of the run")
    parser.add_argument(
        "--short", action="store_true", help="with the changes of the recipe's SHORT: a quick look"
    )
    parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        metavar="KEY VALUE",
        help="changes to every member's recipe",
    )
    args = parser.parse_args(argv)

    from ..workflows.contest.run import run_files

    print(run_files(args.recipe, args.out, args.short, args.opts))
