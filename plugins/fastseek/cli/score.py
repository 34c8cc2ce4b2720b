"""Rankings and submissions to scores.

fastseek score ranking --ranking ranking.npz --truth truth.csv --metrics "map(100)" "gap()"
fastseek score gldv2-recognition --predictions s.csv --solution recognition_solution_v2.1.csv
fastseek score gldv2-retrieval --predictions s.csv --solution retrieval_solution_v2.1.csv
fastseek score revisited --ranking ranking.npz --gnd gnd_roxford5k.pkl --protocol hard
fastseek score digix --predictions submission.csv --queries query.txt --gallery gallery.txt
fastseek score compare before.npz after.npz --truth truth.csv --metrics "map(100)" --out page.html
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from . import diff
from ._arguments import (
    add_force_option,
    add_plugin_option,
    add_searched_option,
    import_plugins,
    make_parser,
)
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    args = parser().parse_args(argv)
    import_plugins(args.plugin)

    from ..io.file_kinds import check_replaceable
    from . import _score as score
    from . import _score_contests as score_contests

    if args.what != "compare":  # which looks itself
        check_replaceable(args.json, "figures", args.force, _inputs(args))
    if args.what == "ranking":
        tell(score.score_file(args.ranking, args.truth, args.metrics, args.json, args.gallery))
    elif args.what == "revisited":
        tell(
            score_contests.revisited_file(
                args.ranking,
                args.gnd,
                args.protocol,
                args.json,
                args.crop,
                args.overlap_removed,
                args.gallery,
            )
        )
    elif args.what == "digix":
        tell(
            score_contests.digix_file(
                args.predictions, args.queries, args.gallery, args.json, args.divisor
            )
        )
    elif args.what == "compare":
        diff.print_comparison(args)
    else:
        tell(
            score_contests.gldv2_file(
                args.what.removeprefix("gldv2-"), args.predictions, args.solution, args.json
            )
        )


def _inputs(args: argparse.Namespace) -> list[str | None]:
    """The files that a subcommand reads."""
    options = ("ranking", "truth", "predictions", "solution", "gnd", "queries", "gallery")
    return [getattr(args, option, None) for option in options]


def parser() -> argparse.ArgumentParser:
    """The parser of `fastseek score` and its subcommands."""
    parser = make_parser("score", __doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    ranking = commands.add_parser("ranking", help="score a ranking by labels")
    ranking.add_argument("--ranking", required=True, help="what `fastseek search` wrote")
    ranking.add_argument("--truth", required=True, help=diff.TRUTH)
    add_searched_option(ranking)
    ranking.add_argument(
        "--metrics", required=True, nargs="+", help='call strings, such as "map(100)" "gap()"'
    )
    for task in ("recognition", "retrieval"):
        gldv2 = commands.add_parser(
            f"gldv2-{task}", help=f"score a Google Landmarks {task} submission"
        )
        gldv2.add_argument("--predictions", required=True, help="the submission, a CSV file")
        gldv2.add_argument("--solution", required=True, help=f"{task}_solution_v2.1.csv")
    revisited = commands.add_parser(
        "revisited", help="score a ranking of revisited Oxford or Paris"
    )
    revisited.add_argument(
        "--ranking", required=True, help="ids: the benchmark's names, or row numbers in its order"
    )
    add_searched_option(revisited)
    revisited.add_argument(
        "--gnd", required=True, help="gnd_roxford5k.pkl, gnd_rparis6k.pkl, or the same as .json"
    )
    revisited.add_argument("--protocol", required=True, choices=("easy", "medium", "hard"))
    revisited.add_argument(
        "--crop", default="not told", choices=("yes", "no"), help="were query images cropped?"
    )
    revisited.add_argument(
        "--overlap-removed",
        default="not told",
        choices=("yes", "no"),
        help="was the model trained without classes of the benchmark?",
    )
    digix = commands.add_parser("digix", help="score a DIGIX 2020 submission")
    digix.add_argument("--predictions", required=True, help="rows query,{first,second,…}")
    digix.add_argument("--queries", required=True, help="rows image,class of the queries")
    digix.add_argument("--gallery", required=True, help="rows image,class of the gallery")
    digix.add_argument(
        "--divisor",
        default="relevant",
        choices=("relevant", "found"),
        help="what average precision is divided by (default: %(default)s)",
    )
    for command in commands.choices.values():
        command.add_argument(
            "--json",
            metavar="FILE",
            help="also write metric name -> value, and the protocol; - prints that, no table",
        )
        add_force_option(command)
    compare = commands.add_parser("compare", help="the same as `fastseek diff`")
    diff.add_options(compare)
    for command in commands.choices.values():
        add_plugin_option(command)
    return parser
