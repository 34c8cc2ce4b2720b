"""Two rankings of the same queries: which is better, how surely, and what got worse.

fastseek diff before.npz after.npz --truth truth.csv --metrics "map(100)" --out page.html
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ._arguments import (
    add_force_option,
    add_plugin_option,
    add_searched_option,
    import_plugins,
    make_parser,
)
from ._terminal import tell

TRUTH = "an .npz truth, or a CSV file: id,label[,split,group]"


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("diff", __doc__)
    add_options(parser)
    add_plugin_option(parser)
    print_comparison(parser.parse_args(argv))


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `fastseek diff`, which `fastseek score compare` takes too."""
    parser.add_argument("a", help="a ranking")
    parser.add_argument("b", help="the ranking that may be better")
    parser.add_argument("--truth", required=True, help=TRUTH)
    add_searched_option(parser)
    parser.add_argument(
        "--metrics",
        "--metric",
        required=True,
        nargs="+",
        help="call strings of means over queries",
    )
    parser.add_argument(
        "--out", metavar="PAGE", help="also write a page that begins with what got worse"
    )
    parser.add_argument(
        "--images",
        action="append",
        default=[],
        metavar="DIR",
        help="folder the ids are relative to",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="also write metric name -> value; - prints that, no table"
    )
    add_force_option(parser)


def print_comparison(args: argparse.Namespace) -> None:
    """Compare, and print the table or the JSON object."""
    from ..io.file_kinds import check_replaceable
    from ._diff import compare_files

    import_plugins(args.plugin)
    inputs = args.a, args.b, args.truth, args.gallery
    check_replaceable(args.json, "figures", args.force, inputs)
    check_replaceable(args.out, "page", args.force, inputs)
    text = compare_files(
        args.a, args.b, args.truth, args.metrics, args.json, args.out, args.images, args.gallery
    )
    tell(text)
