"""Class probabilities of several models to one.

fastseek blend --probabilities a b c --truth truth.csv --metrics "top(1, 5)" --out blended
fastseek blend --probabilities a b c --evolve de --truth truth.csv --metrics "top(1, 5)"
fastseek blend --probabilities test-a test-b --weights evolved.json --out blended
fastseek blend --probabilities a --prior places --truth truth.csv --metrics "top(1)"
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ._arguments import add_force_option, make_parser


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("blend", __doc__)
    parser.add_argument(
        "--probabilities",
        required=True,
        nargs="+",
        metavar="P",
        help="what `fastseek classify` wrote",
    )
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

    from ._blend import BlendOptions, blend_files
    from ._outputs import check_replaceable

    given = [args.prior or None, args.weights or None, args.truth, args.classes]
    inputs = [*args.probabilities, *given]
    check_replaceable(args.json, "figures", args.force, inputs)
    wanted = BlendOptions(args.mean, args.evolve, args.prior, args.power, args.seed, args.weights)
    told = blend_files(
        args.probabilities, wanted, args.truth, args.metrics, args.classes, args.out, args.json
    )
    sys.stdout.write(told + "\n")
