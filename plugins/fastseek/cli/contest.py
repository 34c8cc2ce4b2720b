"""Run a contest recipe: train the members, embed, post-process, fuse, write the submission, score it.

    fastseek contest Landmark2021/small/retrieval --out outputs/retrieval
    fastseek contest DIGIX2020/second_place DIGIX2020/third_place --out outputs/digix
    fastseek contest DIGIX2020/third_place --out outputs/quick --short SOLVER.IMS_PER_BATCH 8

Members that several recipes share are trained once. The same command again goes on where a killed
run stopped. With --part i/n, and under torchrun and Slurm, processes embed a part each: a member
is trained by the one that comes to it first, and whichever part ends last answers.
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import find_recipe, make_parser
from ._recipe_arguments import add_part_option, add_recipe_changes, parse_with_changes
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("contest", __doc__)
    parser.add_argument(
        "--recipe",
        required=True,
        nargs="+",
        metavar="RECIPE",
        help="contest recipes",
    )
    parser.add_argument("--out", required=True, help="folder of the run")
    parser.add_argument(
        "--short", action="store_true", help="with the changes of the recipe's SHORT: a quick look"
    )
    add_recipe_changes(parser, "every member's recipe")
    add_part_option(parser)
    args = parse_with_changes(parser, argv)

    from ..inference.embed_parts.part_choice import choose_part
    from ..workflows.contest.run import run_files

    recipes = [find_recipe(name) for name in args.recipe]
    part = choose_part(args.part)
    tell(run_files(recipes, args.out, args.short, args.opts, part))
