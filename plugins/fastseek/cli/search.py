"""Embeddings to a ranking.

fastseek search --queries mine/query --gallery mine/gallery --out ranking.npz
fastseek search --queries question.jpg --gallery mine/gallery --out answers.html
fastseek search --queries q.npy --gallery g.npy --rerank "k_reciprocal(k1=20)" --out ranking.npz
fastseek search --queries mine/query --collection milvus://host:19530#shop -k 100 --out ranking.npz
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import add_output_options, add_plugin_option, import_plugins, make_parser
from ._listed_images import take_images
from ._terminal import tell

SEARCH = "exact(k=100)"


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("search", __doc__)
    parser.add_argument(
        "--queries",
        required=True,
        type=take_images,
        help="an embeddings folder, or an .npy file (row numbers as ids); or images, embedded by the"
        " gallery's model: one, a .txt file that lists them, or - for such a list on stdin",
    )
    searched = parser.add_mutually_exclusive_group(required=True)
    searched.add_argument("--gallery", help="the same, of what is searched")
    searched.add_argument(
        "--collection",
        metavar="INDEX",
        help="in its place an index, by its folder or URI, without a gallery at hand",
    )
    parser.add_argument(
        "--search", default=SEARCH, help=f"call string of a searcher (default: {SEARCH})"
    )
    parser.add_argument("-k", type=int, help="answers a query of a collection (default: 100)")
    parser.add_argument("--filter", help="a condition on the metadata of a collection")
    parser.add_argument(
        "--rerank", action="append", default=[], help="call string of a re-ranker; may be repeated"
    )
    parser.add_argument(
        "--enhance", action="append", default=[], help="call string of an enhancer; may be repeated"
    )
    parser.add_argument(
        "--out",
        required=True,
        help="the ranking: .npz with indices and scores, a table (.csv, .json, .jsonl) or a page"
        " (.html)",
    )
    add_output_options(parser)
    add_plugin_option(parser)
    args = parser.parse_args(argv)
    import_plugins(args.plugin)

    from ..io.file_kinds import check_replaceable
    from ._outputs import Beside
    from ._search import Asked, seek_collection, seek_files

    beside = Beside(args.labels, args.images)
    if args.collection is not None:
        if args.search != SEARCH or args.enhance:
            parser.error("--search and --enhance are for a --gallery: a collection has its engine")
        check_replaceable(args.out, "ranking", args.force, (args.queries, args.collection))
        asked = Asked(100 if args.k is None else args.k, args.filter or "")
        told = seek_collection(args.queries, args.collection, args.out, asked, args.rerank, beside)
        tell(told)
        return
    if args.k is not None or args.filter is not None:
        parser.error('-k and --filter are for a --collection: say --search "exact(k=100)"')
    sides = args.queries, args.gallery
    check_replaceable(args.out, "ranking", args.force, sides)
    calls = args.search, args.enhance, args.rerank
    tell(seek_files(*sides, args.out, *calls, beside))
