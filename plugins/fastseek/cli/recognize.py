"""Embeddings to a recognition submission: which landmark every query shows, and how sure that is.

    fastseek recognize --queries q --reference r --labels train.csv --non-landmarks n --out s.csv

For several models give every option of embeddings once a model, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import add_force_option, make_parser
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("recognize", __doc__)
    for name, what in (
        ("queries", "embeddings of the test images"),
        ("reference", "embeddings of labelled images"),
    ):
        parser.add_argument(
            f"--{name}", required=True, action="append", help=f"{what}; may be repeated"
        )
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument(
        "--non-landmarks",
        action="append",
        help="embeddings of images that show no landmark; may be repeated",
    )
    kind.add_argument(
        "--class-scores",
        action="append",
        help="class probabilities of the test images, as `fastseek classify` writes them, instead:"
        " neighbors times classifier; may be repeated",
    )
    parser.add_argument(
        "--labels", required=True, help="CSV file with the columns id and landmark_id"
    )
    parser.add_argument(
        "--quantiles", type=int, default=1000, help="learned a dimension; 0 for none (%(default)s)"
    )
    parser.add_argument(
        "--votes", type=int, default=3, help="reference images that vote (%(default)s)"
    )
    parser.add_argument(
        "--gallery-k",
        type=int,
        default=5,
        help="cosines of a reference image's penalty (%(default)s)",
    )
    parser.add_argument(
        "--query-k", type=int, default=10, help="cosines of a query's penalty (%(default)s)"
    )
    parser.add_argument("--out", required=True, help="the submission: id,landmarks")
    add_force_option(parser)
    args = parser.parse_args(argv)

    from ..io.file_kinds import check_replaceable
    from ._recognize import recognize_classified_files, recognize_files

    others = args.class_scores or args.non_landmarks
    inputs = [*args.queries, *args.reference, *others, args.labels]
    check_replaceable(args.out, "table id,landmarks", args.force, inputs)
    if args.class_scores:
        sides = args.queries, args.reference, args.labels, args.class_scores
        tell(recognize_classified_files(*sides, args.out))
        return
    tell(
        recognize_files(
            args.queries,
            args.reference,
            args.labels,
            args.non_landmarks,
            args.out,
            n_quantiles=args.quantiles,
            votes=args.votes,
            gallery_k=args.gallery_k,
            query_k=args.query_k,
        )
    )
