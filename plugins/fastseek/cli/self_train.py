"""Learn from unlabelled images, round after round, as a plan says; the same command again goes on.

fastseek self-train SemiINat2021/plans/small --out outputs/semi
fastseek self-train SemiINat2021/plans/small --out outputs/short --short MODEL.DEVICE cpu

With --part i/n, and under torchrun and Slurm, n processes that run at the same time embed and
classify a part each; every other step is done by one of them while the others wait.
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import find_recipe, make_parser
from ._recipe_arguments import add_part_option, add_recipe_changes, check_changes
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("self-train", __doc__)
    parser.add_argument("--plan", required=True, metavar="RECIPE", help="the plan of rounds")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the run")
    parser.add_argument("--short", action="store_true", help="with the plan's SHORT")
    add_recipe_changes(parser, "the recipe of every training", nargs="*")
    add_part_option(parser)
    args = parser.parse_intermixed_args(argv)
    check_changes(args.opts)

    from ..inference.embed_parts.part_choice import choose_part
    from ..workflows.self_training.run import run_rounds

    part = choose_part(args.part)
    tell(run_rounds(find_recipe(args.plan), args.out, args.short, args.opts, part))
