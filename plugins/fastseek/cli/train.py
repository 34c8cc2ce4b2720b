"""Train or evaluate a recipe with fast-reid's trainer, or train the recipes of a plan one after the other.

fastseek train Grocery/dolg_mobilenetv2 OUTPUT_DIR outputs/mine
fastseek train F --num-gpus 2 --resume SOLVER.MAX_EPOCH 20
fastseek train F --eval-only MODEL.WEIGHTS outputs/mine/model_final.safetensors
torchrun --nproc-per-node 2 -m fastseek train F
fastseek train --plan X/plans/y --out outputs/y      (again: finished steps are skipped)
fastseek train --plan X/plans/y --check
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..errors import UsageError
from ..io.paths import find_recipe
from ._arguments import make_parser
from ._recipe_arguments import add_recipe_changes


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("train", __doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config-file", type=find_recipe, metavar="FILE", help="the recipe")
    what.add_argument(
        "--plan",
        type=find_recipe,
        metavar="FILE",
        help="a plan: recipes, each trained from the one before",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="where the steps of a plan go; outputs/<its NAME>"
    )
    parser.add_argument(
        "--check", action="store_true", help="print the steps of a plan and train nothing"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in OUTPUT_DIR")
    parser.add_argument("--eval-only", action="store_true", help="evaluate MODEL.WEIGHTS and stop")
    parser.add_argument(
        "--num-gpus", type=int, default=1, help="processes on this machine, with GPUs or without"
    )
    parser.add_argument("--num-machines", type=int, default=1, help="how many machines")
    parser.add_argument("--machine-rank", type=int, default=0, help="which of them this is")
    parser.add_argument(
        "--dist-url", default="auto", help="tcp://address:port of machine 0; auto for one machine"
    )
    add_recipe_changes(parser)
    args = parser.parse_args(argv)
    if args.config_file and (args.out or args.check):
        raise UsageError("--out and --check are for --plan; a recipe has OUTPUT_DIR")
    if args.plan and (args.resume or args.eval_only):
        raise UsageError("--plan goes on by itself and takes neither --resume nor --eval-only")
    if args.config_file:
        from ..workflows.train import start

        start(args)
    elif args.check:
        from ..workflows.plan.spec import describe_plan, read_plan

        sys.stdout.write(describe_plan(read_plan(args.plan), args.opts) + "\n")
    else:
        from ..workflows.plan.run import start as start_plan

        start_plan(args)
