"""A ranking and the truth to scores.

    python tools/score.py ranking --ranking ranking.npz --truth truth.csv --metrics "map(100)" "recall(1, 10)" "gap()"
"""

import argparse

from fastseek.errors import exit_with


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    ranking = commands.add_parser("ranking", help="score a ranking by labels")
    ranking.add_argument("--ranking", required=True, help="what tools/search.py wrote")
    ranking.add_argument("--truth", required=True, help="an .npz truth, or a CSV file: id,label[,split,group]")
    ranking.add_argument("--metrics", required=True, nargs="+", help="call strings, such as \"map(100)\" \"gap()\"")
    ranking.add_argument("--json", metavar="FILE", help="also write metric name -> value; - prints that and no table")
    args = parser.parse_args()

    from fastseek.metrics.figures import score_file

    print(score_file(args.ranking, args.truth, args.metrics, args.json))


if __name__ == "__main__":
    exit_with(main)
