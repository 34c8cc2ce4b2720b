"""A gallery that lives: images are added, replaced, deleted and searched while others search too.

fastseek index create --out shop --model default
fastseek index add shop --images /my/images
fastseek index add shop --embeddings mine/gallery --metadata prices.csv
fastseek index search shop --images question.jpg -k 5
fastseek index search shop --queries mine/query --filter "price < 20" --out a.csv
fastseek index delete shop --filter "shop == 'south'"
fastseek index info shop
fastseek index migrate shop --model timm:vit_small_patch16_dinov3 --pooling cls

Every change is there whole or not at all, on the disk when the command ends. One process writes at
a time, any number search.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ._arguments import add_force_option, add_formats_option, make_parser
from ._listed_images import IMAGES, take_images
from ._model_options import add_named_model_options
from ._terminal import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

ENGINES = "flat, hnsw, ivf_rabitq"


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("index", __doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_create(commands)
    _add_add(commands, "add", "put in images that are not there yet")
    _add_add(commands, "upsert", "put in images, in the place of those that are there")
    _add_delete(commands)
    _add_search(commands)
    _add_migrate(commands)
    for name, text in (
        ("info", "what it holds, as JSON"),
        ("check", "read every byte, and tell what is wrong"),
        ("compact", "write all images as one file, and build the engine's structure anew"),
    ):
        _add_command(commands, name, text)
    args = parser.parse_args(argv)

    from . import _index  # help is shown without it

    tell(getattr(_index, f"{args.command}_index")(args))


def _add_command(commands: Commands, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument(
        "index",
        metavar="INDEX",
        help="its folder, or a URI: name.db, milvus://… or postgresql://…, #name behind it",
    )
    return parser


def _add_create(commands: Commands) -> None:
    text = "make an empty index"
    parser = commands.add_parser("create", help=text, description=text)
    parser.add_argument(
        "--out",
        required=True,
        metavar="INDEX",
        help="a new folder, or the URI of a database",
    )
    parser.add_argument(
        "--engine",
        default="flat",
        help=f"{ENGINES} (a small index is flat whatever is named); in PostgreSQL flat or"
        " hnsw(m=16, ef_construction=64, ef=100); in Milvus a type such as FLAT,"
        " HNSW(M=16, ef=128) or IVF_FLAT(nlist=1024, nprobe=64) (default: %(default)s)",
    )
    parser.add_argument(
        "--metric", default="cosine", help="cosine, ip or l2 (default: %(default)s)"
    )
    parser.add_argument(
        "--dtype",
        default="float32",
        help="float32, or float16 for half the space; a Milvus server may have bfloat16 and int8",
    )
    parser.add_argument(
        "--flat-below",
        type=int,
        metavar="N",
        help="images below which every engine is flat (default: 20000)",
    )
    parser.add_argument("--model", default="", help="the model that will embed its images, by name")
    parser.add_argument(
        "--dim", type=int, default=0, help="for a database: how many numbers a vector has"
    )
    parser.add_argument(
        "--partition",
        default="",
        metavar="COLUMN",
        help="for Milvus: a column of texts by which images are stored together",
    )


def _add_add(commands: Commands, name: str, text: str) -> None:
    parser = _add_command(commands, name, text)
    parser.add_argument(
        "--images",
        type=take_images,
        help=IMAGES,
    )
    parser.add_argument(
        "--embeddings",
        help="an embeddings folder, or an .npy file (row numbers as ids); with --images what was"
        " made of them before, so that only the rest is embedded",
    )
    parser.add_argument(
        "--metadata", metavar="CSV", help="id (or path), and columns of texts or numbers"
    )
    parser.add_argument("--prefix", default="", help="is put before every id, such as shop2/")
    add_formats_option(parser)
    add_named_model_options(parser)


def _add_delete(commands: Commands) -> None:
    parser = _add_command(commands, "delete", "take images out")
    parser.add_argument("ids", metavar="ID", nargs="*", help="images by their ids")
    parser.add_argument("--ids", dest="file", metavar="FILE", help="a file with an id a line")
    parser.add_argument("--filter", default="", help="all images that fulfill a condition")


def _add_search(commands: Commands) -> None:
    parser = _add_command(commands, "search", "the nearest images of every query")
    parser.add_argument("--images", type=take_images, help=f"queries: {IMAGES}")
    parser.add_argument("--queries", help="the same as embeddings: a folder, or an .npy file")
    parser.add_argument("-k", type=int, default=10, help="answers a query (default: %(default)s)")
    parser.add_argument(
        "--filter", default="", help="a condition on the metadata: price < 20 and shop == 'north'"
    )
    add_formats_option(parser)
    add_named_model_options(parser)
    parser.add_argument(
        "--out",
        help="where the answers go: .csv, .json, .jsonl, .html or .npz; else they are shown",
    )
    parser.add_argument(
        "--show",
        action="append",
        default=[],
        metavar="DIR",
        help="for .html: images below this folder or address, or in this tar, are shown; may be repeated",
    )
    add_force_option(parser)


def _add_migrate(commands: Commands) -> None:
    text = "make the vectors of another model beside the old ones, compare, and switch"
    parser = _add_command(commands, "migrate", text)
    add_named_model_options(parser)
    parser.add_argument(
        "--embeddings", metavar="E", help="the new vectors of all images, in place of a model"
    )
    parser.add_argument(
        "--images", metavar="DIR", help="the folder ids are paths below, where files were moved"
    )
    parser.add_argument("-k", type=int, default=10, help="answers compared (default: %(default)s)")
    parser.add_argument(
        "--sample", type=int, default=100, help="images asked with (default: %(default)s)"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
    parser.add_argument(
        "--no-switch", action="store_true", help="compare only; the same command later switches"
    )
    parser.add_argument(
        "--rollback", action="store_true", help="make the vectors from before current again"
    )
    add_force_option(parser)
