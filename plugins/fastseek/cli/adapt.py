"""Labeled embeddings of a frozen model to an adapter: a linear layer, fitted in seconds.

fastseek adapt --embeddings mine --labels labels.csv --out adapter.safetensors
fastseek adapt --embeddings mine --labels folders --method "ridge()" --out adapter.safetensors
fastseek search --queries q --gallery mine --enhance "adapter('adapter.safetensors')" --out r.npz

It is judged on classes it was not fitted on, and refused where it harms them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ._arguments import add_force_option, add_plugin_option, import_plugins, make_parser
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("adapt", __doc__)
    _add_options(parser)
    add_force_option(parser)
    add_plugin_option(parser)
    args = parser.parse_args(argv)
    import_plugins(args.plugin)

    from ..adapt import Trying
    from ._adapt import adapt_files

    more = {"methods": tuple(args.method)} if args.method else {}
    trying = Trying(blend=args.blend, folds=args.folds, seed=args.seed, **more)
    tell(adapt_files(args.embeddings, args.labels, args.out, trying, args.split, args.force))


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--embeddings",
        required=True,
        help="an embeddings folder, or an .npy file (row numbers as ids)",
    )
    parser.add_argument(
        "--labels",
        required=True,
        help="a CSV file id,label, or the word folders: the class is the folder of the image's id",
    )
    parser.add_argument("--split", default="", help="only rows of --labels with this split")
    parser.add_argument("--out", required=True, help="the adapter, a .safetensors file")
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="CALL",
        help="call string of an adapter method, see fastseek parts adapt; may be repeated, the best"
        " is taken (default: lda() and ridge())",
    )
    parser.add_argument(
        "--blend",
        type=float,
        metavar="SHARE",
        help="weight of the layer against the vectors as they are, above 0 to 1 (default: the best)",
    )
    parser.add_argument(
        "--folds",
        type=int,
        default=3,
        help="parts of the classes, each left out once; 0 to judge nothing (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the folds (default: %(default)s)")
