"""A ranking to one HTML page that opens anywhere; with the truth, scored and marked.

fastseek report --ranking ranking.npz --images /my/images --out page.html
fastseek report --ranking ranking.npz --truth truth.csv --images /my/images --out page.html
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import (
    add_force_option,
    add_plugin_option,
    add_searched_option,
    import_plugins,
    make_parser,
    positive,
)
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("report", __doc__)
    parser.add_argument("--ranking", required=True, help="what `fastseek search` wrote")
    parser.add_argument(
        "--truth",
        help="an .npz truth, or a CSV file: id,label[,split,group]; without it no answer is marked",
    )
    add_searched_option(parser)
    parser.add_argument("--out", required=True, help="the page")
    parser.add_argument(
        "--images",
        action="append",
        default=[],
        metavar="DIR",
        help="folder the ids are relative to, a tar, a table or an address; may be repeated",
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
    parser.add_argument(
        "--links",
        action="store_true",
        help="a clicked image links to its file, relative to the page",
    )
    add_force_option(parser)
    add_plugin_option(parser)
    args = parser.parse_args(argv)
    import_plugins(args.plugin)

    from ..io.file_kinds import check_replaceable
    from ._report import Shown, show_files

    check_replaceable(args.out, "page", args.force, [args.ranking, args.truth, args.results])
    shown = Shown(args.title, args.order, args.depth, args.queries, args.links, args.gallery)
    inputs = args.ranking, args.truth
    tell(show_files(*inputs, args.out, args.images, args.metrics, args.results, shown))
