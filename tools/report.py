"""A ranking and the truth to one HTML page that opens anywhere.

python tools/report.py --ranking ranking.npz --truth truth.csv --images /my/photos --out page.html
"""

import argparse
import sys

from fastseek.errors import exit_with


def positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranking", required=True, help="what tools/search.py wrote")
    parser.add_argument(
        "--truth", required=True, help="an .npz truth, or a CSV file: id,label[,split,group]"
    )
    parser.add_argument("--out", required=True, help="the page")
    parser.add_argument(
        "--images",
        action="append",
        default=[],
        metavar="DIR",
        help="folder the ids are relative to; may be repeated; the ranking may name its own",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=[],
        help="call strings (default: recall(1), map(100), gap())",
    )
    parser.add_argument(
        "--order", default="", help="metric that orders the queries (default: the first map)"
    )
    parser.add_argument(
        "--results", metavar="FILE", help="a results.json whose rows are shown as steps"
    )
    parser.add_argument(
        "--depth",
        type=positive,
        default=10,
        help="answers shown for a query (default: %(default)s)",
    )
    parser.add_argument(
        "--queries", type=positive, default=200, help="queries shown at most (default: %(default)s)"
    )
    parser.add_argument("--title", default="", help="the heading")
    args = parser.parse_args()

    from fastseek.cli.report import show_files

    line = show_files(
        args.ranking,
        args.truth,
        args.out,
        args.images,
        args.title,
        args.metrics,
        args.order,
        args.results,
        args.depth,
        args.queries,
    )
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    exit_with(main)
