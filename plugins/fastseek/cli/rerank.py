"""A ranking to a better ranking of the same images.

fastseek rerank --ranking r.npz --queries q.npy --gallery g.npy --rerank "diffusion()" --out b.npz
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import add_plugin_option, import_plugins, make_parser


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("rerank", __doc__)
    parser.add_argument("--ranking", required=True, help="what `fastseek search` wrote")
    parser.add_argument("--queries", required=True, help="the embeddings it was searched with")
    parser.add_argument("--gallery", required=True, help="the embeddings it was searched in")
    parser.add_argument(
        "--rerank",
        required=True,
        action="append",
        help="call string of a re-ranker; may be repeated",
    )
    parser.add_argument("--out", required=True, help="the new ranking, an .npz")
    add_plugin_option(parser)
    args = parser.parse_args(argv)

    from ._rerank import rerank_files

    import_plugins(args.plugin)
    print(rerank_files(args.ranking, args.queries, args.gallery, args.out, args.rerank))
