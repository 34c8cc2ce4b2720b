"""A ranking to a better ranking of the same images.

fastseek rerank --ranking r.npz --queries q.npy --gallery g.npy --rerank "diffusion()" --out b.npz
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import add_output_options, add_plugin_option, import_plugins, make_parser
from ._listed_images import take_images
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("rerank", __doc__)
    parser.add_argument("--ranking", required=True, help="what `fastseek search` wrote")
    parser.add_argument(
        "--queries",
        required=True,
        type=take_images,
        help="what it was searched with: embeddings, or images as `fastseek search` takes them",
    )
    parser.add_argument("--gallery", required=True, help="the embeddings it was searched in")
    parser.add_argument(
        "--rerank",
        required=True,
        action="append",
        help="call string of a re-ranker; may be repeated",
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
    from ._rerank import rerank_files

    inputs = args.ranking, args.queries, args.gallery
    check_replaceable(args.out, "ranking", args.force, inputs)
    tell(rerank_files(*inputs, args.out, args.rerank, Beside(args.labels, args.images)))
