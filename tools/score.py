"""Rankings and submissions to scores.

python tools/score.py ranking --ranking ranking.npz --truth truth.csv --metrics "map(100)" "recall(1, 10)" "gap()"
python tools/score.py gldv2-recognition --predictions submission.csv --solution recognition_solution_v2.1.csv
python tools/score.py gldv2-retrieval --predictions submission.csv --solution retrieval_solution_v2.1.csv
python tools/score.py revisited --ranking ranking.npz --gnd gnd_roxford5k.pkl --protocol hard
python tools/score.py digix --predictions submission.csv --queries query.txt --gallery gallery.txt
python tools/score.py compare before.npz after.npz --truth truth.csv --metric "map(100)" --out page.html
"""

import argparse

from fastseek.errors import exit_with

TRUTH = "an .npz truth, or a CSV file: id,label[,split,group]"


def main() -> None:
    args = parser().parse_args()

    from fastseek.cli import diff, score, score_contests

    if args.what == "ranking":
        print(score.score_file(args.ranking, args.truth, args.metrics, args.json))
    elif args.what == "revisited":
        print(
            score_contests.revisited_file(
                args.ranking, args.gnd, args.protocol, args.json, args.crop, args.overlap_removed
            )
        )
    elif args.what == "digix":
        print(
            score_contests.digix_file(
                args.predictions, args.queries, args.gallery, args.json, args.divisor
            )
        )
    elif args.what == "compare":
        print(
            diff.compare_files(
                args.a, args.b, args.truth, args.metric, args.json, args.out, args.images
            )
        )
    else:
        print(
            score_contests.gldv2_file(
                args.what.removeprefix("gldv2-"), args.predictions, args.solution, args.json
            )
        )


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="what", required=True)
    ranking = commands.add_parser("ranking", help="score a ranking by labels")
    ranking.add_argument("--ranking", required=True, help="what tools/search.py wrote")
    ranking.add_argument("--truth", required=True, help=TRUTH)
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
    revisited.add_argument(
        "--gnd", required=True, help="gnd_roxford5k.pkl, gnd_rparis6k.pkl, or the same as .json"
    )
    revisited.add_argument("--protocol", required=True, choices=("easy", "medium", "hard"))
    revisited.add_argument(
        "--crop", default="not told", choices=("yes", "no"), help="were query photos cropped?"
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
    diff = commands.add_parser("compare", help="two rankings, query by query")
    diff.add_argument("a", help="a ranking")
    diff.add_argument("b", help="the ranking that may be better")
    diff.add_argument("--truth", required=True, help=TRUTH)
    diff.add_argument(
        "--metric", required=True, nargs="+", help="call strings of means over queries"
    )
    diff.add_argument(
        "--out", metavar="PAGE", help="also write a page that begins with what got worse"
    )
    diff.add_argument(
        "--images",
        action="append",
        default=[],
        metavar="DIR",
        help="folder the ids are relative to",
    )
    for command in commands.choices.values():
        command.add_argument(
            "--json",
            metavar="FILE",
            help="also write metric name -> value; - prints that, no table",
        )
    return parser


if __name__ == "__main__":
    exit_with(main)
