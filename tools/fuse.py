"""Many rankings of the same queries to one.

python tools/fuse.py --rankings a.npz b.npz c.npz --fuse "sum_top(per_model=750, keep=100)" --out fused.npz
python tools/fuse.py --rankings a.npz b.npz --fuse "distance_average()" --tune "map(100)" --truth t.csv --out f.npz
"""

import argparse

from fastseek.errors import exit_with


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rankings", required=True, nargs="+", metavar="R", help="what tools/search.py wrote"
    )
    parser.add_argument(
        "--fuse", required=True, help='call string of a fuser, such as "vote(depth=10)"'
    )
    parser.add_argument(
        "--out", required=True, help="the fused ranking, an .npz with indices and scores"
    )
    parser.add_argument(
        "--tune", metavar="METRIC", help="find the weights by this metric on half of the queries"
    )
    parser.add_argument(
        "--truth",
        help="what they are found by: an .npz truth, or a CSV file: id,label[,split,group]",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the tuning (default: %(default)s)")
    args = parser.parse_args()

    from fastseek.cli.fuse import fuse_files

    print(fuse_files(args.rankings, args.fuse, args.out, args.tune, args.truth, args.seed))


if __name__ == "__main__":
    exit_with(main)
