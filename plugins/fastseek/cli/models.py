"""Pretrained models by name: which there are, what they are, whether their weights are here and whole.

fastseek models list
fastseek models info default
fastseek models fetch timm:vit_small_patch16_dinov3.lvd1689m
fastseek models verify

Any network of timm goes by timm:NAME, also those that the list does not show. Weights of the hub are
fetched once and pinned by revision and SHA-256; with HF_HUB_OFFLINE=1 only what is here is used.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ._arguments import make_parser
from ._terminal import tell


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("models", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="models worth trying, and those that are here")
    info = commands.add_parser("info", help="one model: network, size, license, weights")
    info.add_argument("name", metavar="NAME", help="default, or timm:NETWORK")
    verify = commands.add_parser("verify", help="check weights against their SHA-256")
    verify.add_argument("names", metavar="NAME", nargs="*", help="models; all that are here")
    fetch = commands.add_parser("fetch", help="fetch a model's weights for later")
    fetch.add_argument("name", metavar="NAME", help="timm:NETWORK")
    args = parser.parse_args(argv)
    tell("\n".join(WORK[args.command](args)))


def _list(args: argparse.Namespace) -> list[str]:
    from ..inference.pretrained.inventory import list_models
    from ..io.text_table import align_columns

    rows = [("name", "weights", "what it is")]
    rows += [(one.name, one.state, one.about) for one in list_models()]
    return [align_columns(rows, left=(0, 1, 2))]


def _info(args: argparse.Namespace) -> list[str]:
    from ..inference.pretrained.inventory import describe_model
    from ..io.text_table import align_columns

    return [align_columns(describe_model(args.name), left=(0, 1))]


def _verify(args: argparse.Namespace) -> list[str]:
    from ..inference.pretrained.inventory import verify_models

    return verify_models(args.names) or ["no weights are here: fastseek models list"]


def _fetch(args: argparse.Namespace) -> list[str]:
    from ..inference.pretrained.inventory import find_file

    file = find_file(args.name, fetch=True)
    at = f", revision {file.revision}" if file.revision else ""
    return [f"{args.name}: {file.path}{at}, SHA-256 {file.sha256}"]


WORK = {"list": _list, "info": _info, "verify": _verify, "fetch": _fetch}
