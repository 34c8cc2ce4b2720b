"""A benchmark and a model to figures: embed, search, score by the benchmark's own protocol.

    fastseek bench --list
    fastseek bench sop --root /my/Stanford_Online_Products --model default --out outputs/sop
    fastseek bench /my/cub --model timm:vit_small_patch16_dinov3 --pooling cls --out outputs/cub
    fastseek bench revisited --model outputs/mine --out outputs/roxford --rerank "super_global()"

OUT gets embeddings/, results.json, and for every task a ranking, its truth and a page. The same
command again goes on; other --search, --enhance and --rerank take the embeddings that are there.
Published figures are printed beside ours where they are known: by other models and settings.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..errors import UsageError
from ._arguments import add_formats_option, add_plugin_option, import_plugins, make_parser
from ._model_options import add_named_model_options, read_model_options
from ._recipe_arguments import add_part_option
from ._terminal import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..inference.benchmark.run import BenchRequest


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = _parser()
    args = parser.parse_args(argv)
    import_plugins(args.plugin)
    if args.list:
        from ..inference.benchmark.listing import describe_benchmarks

        tell(describe_benchmarks([args.name] if args.name else []))
        return
    if not (args.name and args.model and args.out):
        raise UsageError("name a benchmark, --model and --out; fastseek bench --list shows them")
    from ._bench import bench_lines

    tell("\n".join(bench_lines(_read_request(args), args.part, args.threads)))


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("bench", __doc__)
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="a data set, with its arguments or without, or a folder of a known layout",
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="show the benchmarks, their protocols, and which lie below the data roots",
    )
    parser.add_argument("--root", metavar="DIR", help="the folder of the benchmark")
    parser.add_argument("--out", help="folder of what is made")
    parser.add_argument(
        "--protocol", default="", help="a call string of a protocol, instead of the benchmark's own"
    )
    parser.add_argument(
        "--search",
        default="exact()",
        help="call string of a searcher; without k it gets what the figures need (default: exact())",
    )
    parser.add_argument(
        "--rerank", action="append", default=[], help="call string of a re-ranker; may be repeated"
    )
    parser.add_argument(
        "--enhance", action="append", default=[], help="call string of an enhancer; may be repeated"
    )
    add_named_model_options(parser)
    add_part_option(parser)
    add_formats_option(parser)
    add_plugin_option(parser)
    return parser


def _read_request(args: argparse.Namespace) -> BenchRequest:
    from ..inference.benchmark.ranking import Calls
    from ..inference.benchmark.run import BenchRequest

    calls = Calls(args.search, tuple(args.enhance), tuple(args.rerank))
    how = read_model_options(args)
    return BenchRequest(args.name, args.model, args.out, args.root, calls, how, args.protocol)
