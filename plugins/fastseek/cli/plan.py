"""What a number of images takes: hours, bytes, memory, the engine that fits, and what breaks first.

    fastseek plan --images 1e8 --model default
    fastseek plan --images 1e9 --dim 768 --rate 400 --processes 8 --machines 16 --ram 256

Without --rate the model embeds drawn images on this machine for some seconds. All else is reckoned from
runs that were measured; the card names them, and what it takes for granted.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence

from ..errors import UsageError
from ._arguments import add_force_option, make_parser, positive
from ._model_options import add_named_model_options, read_model_options
from ._terminal import tell

MOST = 10**12  # images: what is reckoned from measured growth means nothing above
THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("plan", __doc__)
    parser.add_argument(
        "--images", required=True, type=count, help="how many, such as 1e8 or 250,000"
    )
    add_named_model_options(parser)
    parser.add_argument(
        "--dim", type=positive, help="numbers of a vector (default: the model's; needs no model)"
    )
    parser.add_argument(
        "--rate",
        type=amount,
        metavar="N",
        help="images a second that one process embeds (default: measured here)",
    )
    parser.add_argument(
        "--seconds", type=amount, default=5.0, help="to measure for (default: %(default)g)"
    )
    parser.add_argument(
        "--processes", type=positive, default=1, help="on a machine (default: %(default)s)"
    )
    parser.add_argument("--machines", type=positive, default=1, help="default: %(default)s")
    parser.add_argument(
        "--ram", type=amount, metavar="GB", help="memory of a machine (default: this one's)"
    )
    parser.add_argument(
        "--bytes-per-image", type=amount, default=0.0, metavar="N", help="of an image file"
    )
    parser.add_argument("--out", metavar="X.json", help="also write the card as JSON")
    add_force_option(parser)
    args = parser.parse_args(argv)
    if args.rate is None and args.model is None:
        raise UsageError("say --model NAME, whose images a second are measured, or --rate")
    if args.dim is None and args.model is None:
        raise UsageError("say --dim N, or --model NAME, which tells it")

    from ..io.file_kinds import check_replaceable
    from ._machine import memory
    from ._plan import Asked, plan_images

    if args.out is not None and not args.out.endswith(".json"):
        raise UsageError(f"--out {args.out}: the card is written as JSON: give it a name in .json")
    check_replaceable(args.out, "cost card", args.force)
    asked = Asked(
        args.model,
        read_model_options(args) if args.model else None,
        args.dim,
        args.rate,
        args.seconds,
        args.threads,
    )
    tell(
        plan_images(
            args.images,
            asked,
            args.processes,
            args.machines,
            memory() if args.ram is None else 1e9 * args.ram,
            args.bytes_per_image,
            args.out,
        )
    )


def count(text: str) -> int:
    """A whole number of 1 or more out of an argument such as 1e8 or 100,000,000."""
    value = amount(text.replace(",", "") if THOUSANDS.fullmatch(text) else text)
    if value != int(value) or not 1 <= value <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 to {MOST:.0e}")
    return int(value)


def amount(text: str) -> float:
    """A number above 0 out of an argument."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value
