"""Many rankings of the same queries to one.

fastseek fuse --rankings a.npz b.npz c.npz --fuse "reciprocal_rank()" --out fused.npz
fastseek fuse --rankings a.npz b.npz --fuse "vote()" --tune "map(100)" --truth t.csv --out f.npz
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import add_output_options, add_plugin_option, import_plugins, make_parser
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("fuse", __doc__)
    parser.add_argument(
        "--rankings", required=True, nargs="+", metavar="R", help="what `fastseek search` wrote"
    )
    parser.add_argument(
        "--fuse", required=True, help='call string of a fuser, such as "vote(depth=10)"'
    )
    parser.add_argument(
        "--out",
        required=True,
        help="the ranking: .npz with indices and scores, a table (.csv, .json, .jsonl) or a page"
        " (.html)",
    )
    parser.add_argument(
        "--tune", metavar="METRIC", help="find the weights by this metric on half of the queries"
    )
    parser.add_argument(
        "--truth",
        help="what they are found by: an .npz truth, or a CSV file: id,label[,split,group]",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the tuning (default: %(default)s)")
    add_output_options(parser)
    add_plugin_option(parser)
    args = parser.parse_args(argv)
    import_plugins(args.plugin)

    from ..io.file_kinds import check_replaceable
    from ._fuse import fuse_files
    from ._outputs import Beside

    check_replaceable(args.out, "ranking", args.force, [*args.rankings, args.truth])
    tuning = args.tune, args.truth, args.seed
    tell(fuse_files(args.rankings, args.fuse, args.out, *tuning, Beside(args.labels, args.images)))
