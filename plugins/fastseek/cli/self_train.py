"""Learn from unlabelled photos, round after round, as a plan says; the same command again goes on.

fastseek self-train SemiINat2021/plans/small --out outputs/semi
fastseek self-train SemiINat2021/plans/small --out outputs/short --short MODEL.DEVICE cpu
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..io.paths import find_recipe
from ._arguments import make_parser


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("self-train", __doc__)
    parser.add_argument("--plan", type=find_recipe, required=True, help="the plan of rounds")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the run")
    parser.add_argument("--short", action="store_true", help="with the plan's SHORT")
    parser.add_argument(
        "opts", nargs="*", metavar="KEY VALUE", help="changes to the recipe of every training"
    )
    args = parser.parse_intermixed_args(argv)

    from ..workflows.self_training.run import run_rounds

    sys.stdout.write(run_rounds(args.plan, args.out, args.short, args.opts) + "\n")
