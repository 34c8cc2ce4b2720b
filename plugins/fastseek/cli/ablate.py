"""Measure what every change to a recipe is worth: train step by step, with seeds, and print the
cumulative table.

fastseek ablate ReIDBaseline/ablation --out outputs/reid-ablation
fastseek ablate ReIDBaseline/ablation --out outputs/long --long --jobs 2 MODEL.DEVICE cpu
fastseek ablate INat2021/ablation,Sorghum100/ablation --out outputs/both

Several files, separated by commas, give the rows of all, one folder a file.
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import find_recipe, make_parser
from ._recipe_arguments import add_recipe_changes, check_changes
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("ablate", __doc__)
    parser.add_argument("file", help="the ablation file, or several separated by commas")
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="folder of the run; the same command again goes on",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--short", action="store_true", help="the short setting of the file (the default)"
    )
    length.add_argument("--long", action="store_true", help="the long setting of the file")
    parser.add_argument(
        "--jobs", type=int, default=1, help="trainings side by side (default: %(default)s)"
    )
    add_recipe_changes(parser, "the recipe of every step", nargs="*")
    args = parser.parse_intermixed_args(argv)
    check_changes(args.opts)

    from ..workflows.ablation.run import ablate_files

    tell(
        ablate_files(
            [find_recipe(name) for name in args.file.split(",")],
            args.out,
            args.long,
            args.opts,
            args.jobs,
        )
    )
