"""Embeddings to a ranking.

fastseek search --queries mine/query --gallery mine/gallery --out ranking.npz
fastseek search --queries question.jpg --gallery mine/gallery --out answers.html
fastseek search --queries q.npy --gallery g.npy --rerank "k_reciprocal(k1=20)" --out ranking.npz
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import add_output_options, add_plugin_option, import_plugins, make_parser
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("search", __doc__)
    parser.add_argument(
        "--queries",
        required=True,
        help="an embeddings folder, or an .npy file (row numbers as ids); or images, embedded by the"
        " gallery's model: one, a .txt file that lists them, or - for such a list on stdin",
    )
    parser.add_argument("--gallery", required=True, help="the same, of what is searched")
    parser.add_argument(
        "--search", default="exact(k=100)", help="call string of a searcher (default: %(default)s)"
    )
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
    from ._search import seek_files

    sides = args.queries, args.gallery
    check_replaceable(args.out, "ranking", args.force, sides)
    calls = args.search, args.enhance, args.rerank
    tell(seek_files(*sides, args.out, *calls, Beside(args.labels, args.images)))
