"""A ranking to a submission, and a submission checked before it is handed in.

    fastseek submit gldv2-retrieval --ranking r.npz --queries test.csv --gallery index.csv --out s.csv
    fastseek submit digix --ranking r.npz --ids-of-queries q.txt --ids-of-gallery g.txt --out s.csv
    fastseek submit inat --classified classes --images test.json --out s.csv
    fastseek submit check --kind gldv2-retrieval --file s.csv --queries test.csv --gallery index.csv

Lists of names are CSV files with the column id, or text whose rows begin with the name.
`fastseek recognize` writes recognition submissions.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ._arguments import add_force_option, make_parser
from ._terminal import tell

KINDS = {
    "gldv2-retrieval": "100 images a query, id,images",
    "digix": "10 images a query, query,{first,second,…}",
}

CLASS_KINDS = {
    "sorghum": "a class an image, filename,cultivar",
    "inat": "3 classes an image, Id,Predicted",
    "semi-inat": "5 classes an image, Id,Category",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    args = parser().parse_args(argv)
    if args.what != "check":
        _check_output(args)
    if args.what in CLASS_KINDS:
        from ._submit_classes import submit_classes

        tell(submit_classes(args.what, args.classified, args.images, args.out))
        return

    from . import _submit as submit

    if args.what == "check":
        tell(submit.check_file(args.kind, args.file, args.queries, args.gallery))
    else:
        tell(
            submit.submit_file(
                args.what,
                args.ranking,
                args.out,
                args.ids_of_queries,
                args.ids_of_gallery,
                args.queries,
                args.gallery,
            )
        )


HEADERS = {
    "gldv2-retrieval": "table id,images",
    "digix": "submission",
    "sorghum": "table filename,cultivar",
    "inat": "table Id,Predicted",
    "semi-inat": "table Id,Category",
}


def _check_output(args: argparse.Namespace) -> None:
    from ..io.file_kinds import check_replaceable

    read = (
        "ranking",
        "ids_of_queries",
        "ids_of_gallery",
        "queries",
        "gallery",
        "classified",
        "images",
    )
    inputs = [getattr(args, name, None) for name in read]
    check_replaceable(args.out, HEADERS[args.what], args.force, inputs)


def parser() -> argparse.ArgumentParser:
    """The parser of `fastseek submit` and its subcommands."""
    parser = make_parser("submit", __doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    for kind, what in KINDS.items():
        command = commands.add_parser(kind, help=what)
        command.add_argument(
            "--ranking", required=True, help="what `fastseek search` or `fastseek fuse` wrote"
        )
        for side in ("queries", "gallery"):
            command.add_argument(
                f"--ids-of-{side}",
                metavar="FILE",
                help=f"names of the {side} where a bare .npy was searched, one a row of it",
            )
        command.add_argument("--out", required=True, help="the submission")
        add_force_option(command)
    check = commands.add_parser("check", help="whether a submission would be taken")
    check.add_argument(
        "--kind", required=True, choices=[*KINDS, "gldv2-recognition"], help="whose form it has"
    )
    check.add_argument("--file", required=True, help="the submission")
    for command in commands.choices.values():
        command.add_argument(
            "--queries", metavar="FILE", help="what must be answered (default: not compared)"
        )
        command.add_argument(
            "--gallery", metavar="FILE", help="what may be answered with (default: not compared)"
        )
    for kind, what in CLASS_KINDS.items():
        command = commands.add_parser(kind, help=what)
        command.add_argument(
            "--classified", required=True, help="what `fastseek classify` or `fastseek blend` wrote"
        )
        command.add_argument(
            "--images", metavar="FILE", help="the contest's list of what must be answered"
        )
        command.add_argument("--out", required=True, help="the submission")
        add_force_option(command)
    return parser
