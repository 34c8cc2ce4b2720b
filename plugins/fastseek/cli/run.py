"""Images to an answer with one command: train a recipe, search, re-rank, score, and write the page.

fastseek run Grocery/dolg_mobilenetv2 --out outputs/demo
fastseek run Own/dolg --data /my/images --out outputs/mine SOLVER.MAX_EPOCH 10

With --part i/n, and under torchrun and Slurm, processes embed a part each; the first trains while
the others wait, and whichever part ends last writes figures and page.
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import add_formats_option, make_parser
from ._recipe_arguments import (
    add_part_option,
    add_recipe_changes,
    add_recipe_option,
    parse_with_changes,
)
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("run", __doc__)
    add_recipe_option(parser, "the recipe")
    parser.add_argument(
        "--out", required=True, help="folder of the run; the same command again goes on"
    )
    parser.add_argument(
        "--data",
        help="a folder of class folders, or a CSV/Parquet file with path,label[,group,split]",
    )
    add_formats_option(parser)
    add_recipe_changes(parser)
    add_part_option(parser)
    args = parse_with_changes(parser, argv)

    from ..inference.embed_parts.part_choice import choose_part
    from ..workflows.run import run_file
    from ._outputs import check_run_folder

    check_run_folder(args.out)
    part = choose_part(args.part)
    tell(run_file(args.config_file, args.out, args.data, args.opts, part))
