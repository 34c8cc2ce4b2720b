"""Train or evaluate a recipe with fast-reid's trainer, or train the recipes of a plan one after the
other.

fastseek train Grocery/dolg_mobilenetv2 --out outputs/mine
fastseek train Grocery/dolg_mobilenetv2 --num-gpus 2 --resume SOLVER.BASE_LR 0.001
fastseek train Grocery/dolg_mobilenetv2 --eval-only MODEL.WEIGHTS model_final.safetensors
fastseek train --plan Landmark2021/plans/dolg_b5 --out outputs/dolg_b5
fastseek train --plan Landmark2021/plans/dolg_b5 --check
torchrun --nproc-per-node 2 -m fastseek train Grocery/dolg_mobilenetv2

The same command again skips the finished steps of a plan; a recipe goes on with --resume.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UsageError
from ._arguments import make_parser
from ._recipe_arguments import add_recipe_changes, parse_with_changes
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("train", __doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config-file", metavar="RECIPE", help="the recipe")
    what.add_argument(
        "--plan",
        metavar="PLAN",
        help="a plan: recipes, each trained from the one before",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="where the run goes (default: a recipe's OUTPUT_DIR, outputs/<its NAME> for a plan)",
    )
    parser.add_argument(
        "--check", action="store_true", help="print the steps of a plan and train nothing"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in OUTPUT_DIR")
    parser.add_argument(
        "--force", action="store_true", help="train over a finished model in OUTPUT_DIR"
    )
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
    args = parse_with_changes(parser, argv)
    if args.config_file and args.check:
        raise UsageError("--check is for --plan; `fastseek recipes explain` shows a recipe")
    if args.plan and (args.resume or args.eval_only):
        raise UsageError("--plan goes on by itself and takes neither --resume nor --eval-only")
    if args.config_file:
        args.opts += ["OUTPUT_DIR", args.out] if args.out else []
        from ..workflows.train import start

        start(args)
    elif args.check:
        from ..workflows.plan.spec import describe_plan, read_plan

        tell(describe_plan(read_plan(args.plan), args.opts))
    else:
        from ..workflows.plan.run import start as start_plan

        start_plan(args)
