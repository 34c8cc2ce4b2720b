"""What shorter codes of embeddings cost: bytes an image against the metric, in one table.

fastseek codes --queries mine/query --gallery mine/gallery --truth truth.csv
fastseek codes --queries q.npy --gallery g.npy --truth truth.npz --dims 256 64 --out codes.csv
fastseek codes --queries q.npy --gallery g.npy --truth t.npz --search "binary(k=50)"

Every code proposes images, the vectors as they are decide among those; each is compared with the
exact search. Codes of faiss are left out where it is not installed.
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import (
    add_force_option,
    add_plugin_option,
    import_plugins,
    make_parser,
)
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("codes", __doc__)
    sides = "an embeddings folder, or an .npy file (row numbers as ids)"
    parser.add_argument("--queries", required=True, help=sides)
    parser.add_argument("--gallery", required=True, help="the same, of what is searched")
    parser.add_argument(
        "--truth", required=True, help="an .npz truth, or a CSV file: id,label[,split,group]"
    )
    parser.add_argument(
        "--metric", default="map(100)", help="call string of a metric (default: map(100))"
    )
    parser.add_argument("-k", type=int, default=100, help="answers a query (default: 100)")
    parser.add_argument(
        "--dims", type=int, nargs="+", default=[], help="also codes of vectors of so many numbers"
    )
    parser.add_argument(
        "--shorten",
        choices=("pca", "first"),
        default="pca",
        help="how: principal components, or the first numbers, for models trained with matryoshka",
    )
    parser.add_argument(
        "--search",
        action="append",
        default=[],
        help="call string of a searcher in place of the usual codes; may be repeated",
    )
    parser.add_argument("--out", metavar="FILE", help="also write the table, .csv or .json")
    add_force_option(parser)
    add_plugin_option(parser)
    args = parser.parse_args(argv)
    import_plugins(args.plugin)

    from ._codes import Wanted, check_table, compare_codes

    sources = args.queries, args.gallery, args.truth
    check_table(args.out, args.force, sources)
    wanted = Wanted(args.metric, args.k, tuple(args.dims), args.shorten, tuple(args.search))
    tell(compare_codes(*sources, wanted, args.out))
