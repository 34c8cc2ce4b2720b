"""Class probabilities of several models to one.

fastseek blend --probabilities a b c --truth truth.csv --metrics "top(1, 5)" --out blended
fastseek blend --probabilities a b c --evolve de --truth truth.csv --metrics "top(1, 5)"
fastseek blend --probabilities test-a test-b --weights evolved.json --out blended
fastseek blend --probabilities a --prior places --truth truth.csv --metrics "top(1)"
fastseek blend --embeddings a b --train train-a train-b --labels train.csv --out joined
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ._arguments import add_force_option, make_parser
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("blend", __doc__)
    parser.add_argument(
        "--probabilities",
        nargs="+",
        metavar="P",
        help="what `fastseek classify` wrote",
    )
    _add_embedding_options(parser)
    parser.add_argument(
        "--mean",
        default="probabilities",
        choices=("probabilities", "logits"),
        help="what is averaged (default: %(default)s)",
    )
    parser.add_argument(
        "--evolve",
        default="",
        choices=("de", "cma"),
        help="find the weights on half of the images; equal ones where the other half says so",
    )
    parser.add_argument(
        "--weights",
        default="",
        metavar="JSON",
        help="take the weights of an earlier blend (its --json), such as the evolved ones",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the evolution (default: %(default)s)"
    )
    parser.add_argument(
        "--prior", default="", metavar="P", help="probabilities the blend is multiplied with"
    )
    parser.add_argument(
        "--power", type=float, default=1.0, help="of the prior (default: %(default)s)"
    )
    parser.add_argument("--truth", help="a CSV file: id,label[,split]")
    parser.add_argument(
        "--metrics",
        "--figures",
        nargs="+",
        default=[],
        metavar="CALL",
        help='such as "top(1, 5)" "class_mean"',
    )
    parser.add_argument("--classes", help="classes.json of a training, for by_size")
    parser.add_argument("--out", help="folder of the blended probabilities")
    parser.add_argument(
        "--json", metavar="FILE", help="also write weights and figures; - prints that, no table"
    )
    add_force_option(parser)
    args = parser.parse_args(argv)

    from ..io.file_kinds import check_replaceable
    from ._blend import BlendOptions, blend_files
    from ._outputs import check_folder

    if bool(args.probabilities) == bool(args.embeddings):
        parser.error("give --probabilities, or --embeddings with --train and --labels")
    given = [args.prior or None, args.weights or None, args.truth, args.classes, args.labels]
    folders, out = args.probabilities or [], args.out
    inputs = [*folders, *args.embeddings, *args.train, *given]
    check_replaceable(args.json, "figures", args.force, inputs)
    check_folder(args.out, args.force)
    wanted = BlendOptions(args.mean, args.evolve, args.prior, args.power, args.seed, args.weights)
    if args.embeddings:
        tell(_join(args))
        folders, out = [args.out], None
        if not args.metrics:
            return
    told = blend_files(folders, wanted, args.truth, args.metrics, args.classes, out, args.json)
    tell(told)


def _add_embedding_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--embeddings",
        nargs="+",
        default=[],
        metavar="E",
        help="instead: what `fastseek embed` wrote, weighted side by side under one new classifier",
    )
    parser.add_argument(
        "--train", nargs="+", default=[], metavar="E", help="the same models' training embeddings"
    )
    parser.add_argument("--labels", help="labels of the training images: id,label[,split]")
    parser.add_argument(
        "--member-weights",
        nargs="+",
        type=float,
        default=[],
        metavar="W",
        help="of the embeddings (default: equal ones)",
    )


def _join(args: argparse.Namespace) -> str:
    """Write the probabilities of several models' embeddings."""
    from ..errors import UsageError
    from ._join import Joined, join_files

    if not args.labels or not args.out:
        raise UsageError("--embeddings needs --train, --labels and --out")
    return join_files(
        Joined(args.embeddings, args.train, args.labels, args.member_weights), args.out
    )
