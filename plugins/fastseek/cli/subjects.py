"""Queries that show several things: search every thing by itself and merge the answers into a ranking.

    fastseek subjects config.yaml --weights W --ranking r.npz --images asked --gallery g --out b.npz

Beside the ranking, b.boxes.json names the boxes that were searched.
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import add_force_option, make_parser
from ._listed_images import IMAGES, take_images
from ._recipe_arguments import add_model_options, add_recipe_changes, parse_with_changes
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("subjects", __doc__)
    add_model_options(parser, "the model that made the embeddings")
    parser.add_argument(
        "--ranking", required=True, help="what `fastseek search` wrote for the whole images"
    )
    parser.add_argument(
        "--images",
        "--queries",
        dest="queries",
        required=True,
        type=take_images,
        help=f"the query images: {IMAGES}",
    )
    parser.add_argument("--gallery", required=True, help="the gallery's embeddings folder")
    parser.add_argument("--out", required=True, help="the new ranking, an .npz")
    parser.add_argument(
        "--map", default="", dest="on", help="the map attention is read from (default: the deepest)"
    )
    parser.add_argument("--every", action="store_true", help="search an image's only subject too")
    parser.add_argument(
        "--only",
        metavar="CSV",
        help="look only at queries that `fastseek audit disagreement` marks",
    )
    add_force_option(parser)
    add_recipe_changes(parser)
    args = parse_with_changes(parser, argv)

    from ..inference.multi_object import SubjectChoice, TrainedModel, search_subjects
    from ..io.atomic import check_apart
    from ..io.file_kinds import check_replaceable
    from ._audit import disagreeing

    inputs = args.ranking, args.queries, args.gallery, args.weights, args.config_file
    check_replaceable(args.out, "ranking", args.force, inputs)
    check_apart(args.out, [args.only])
    only = disagreeing(args.only) if args.only else ()
    done = search_subjects(
        TrainedModel(args.config_file, args.weights, args.opts),
        args.ranking,
        args.queries,
        args.gallery,
        args.out,
        SubjectChoice(args.on, args.every, only),
    )
    tell(done)
