"""A folder of images to a page of each with its nearest: no labels, no training, no recipe.

fastseek try /my/images
fastseek try /my/images --query one.jpg two.jpg
fastseek try /my/images --model timm:vit_small_patch16_dinov3@weights.safetensors --out look

The page opens after the first images and grows while the rest is embedded. The vectors are kept:
the same command again embeds new and changed images only.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pathlib
import shlex
import sys
import time
from collections.abc import Sequence

from ..errors import DataError
from ..io.json_files import read_json
from ._arguments import add_force_option, add_formats_option, make_parser, positive
from ._listed_images import IMAGES, take_images
from ._model_options import add_named_model_options, read_model_options
from ._outputs import check_run_folder
from ._terminal import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..inference.first_look import Look
    from ..io.paths import PathLike

HOME = "fastseek-try"  # folder of the pages where none is named
RUN_AS = ("pooling", "size", "precision")  # options that decide about the vectors
LISTS = ("labels.csv", "list.csv")  # id,label and path,label
LISTED, LISTED_FILE = "listed", "list.txt"  # what a list on standard input is called


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("try", __doc__)
    parser.add_argument("images", metavar="FOLDER", type=take_images, help=IMAGES)
    parser.add_argument(
        "--query",
        nargs="+",
        default=[],
        metavar="IMAGE",
        type=take_images,
        help="search for these (default: for every image of the folder)",
    )
    parser.add_argument("--out", help=f"folder of the page and the vectors (default: {HOME}/NAME)")
    parser.add_argument(
        "-k", type=positive, default=10, help="nearest images shown of each (default: %(default)s)"
    )
    parser.add_argument(
        "--queries",
        type=positive,
        default=200,
        help="images shown with their nearest at most (default: %(default)s)",
    )
    parser.add_argument("--no-open", action="store_true", help="open no browser")
    add_formats_option(parser)
    add_force_option(parser)
    add_named_model_options(parser, "default")
    args = parser.parse_args(argv)
    _look(args)


def _look(args: argparse.Namespace) -> None:
    start = time.monotonic()

    from ..data.rejects import COLUMNS
    from ..inference.first_look import PAGE, LookOptions, check_sources, look_at
    from ..inference.pretrained import load_model

    out = args.out or _choose_folder(args.images)

    def show(page: pathlib.Path) -> None:
        tell(f"page: {page} ({time.monotonic() - start:.0f} s)")
        if not args.no_open:
            _open(page)

    check_sources([args.images, *args.query])
    rejects = f"table {','.join(COLUMNS)}"
    files = {PAGE: "page", "ranking.npz": "ranking", "rejects.csv": rejects}
    check_run_folder(out, files, args.force)
    model = load_model(args.model, read_model_options(args))
    options = LookOptions(args.k, args.queries, args.threads)
    look = look_at(args.images, out, model, args.query, options, show)
    tell(_describe(look, model.name, time.monotonic() - start))
    tell(_suggest(args, look))


def _choose_folder(images: PathLike) -> pathlib.Path:
    """The output folder of images: that of their name, unless another folder so called has it."""
    if not isinstance(images, str):
        return pathlib.Path(HOME) / LISTED
    place = pathlib.Path(images).resolve()
    out = pathlib.Path(HOME) / (place.name or "root")
    owner = _read_owner(out)
    if not place.is_dir() or owner in ("", str(place)):
        return out
    mark = hashlib.sha256(os.fsencode(place)).hexdigest()[:6]
    other = out.with_name(f"{out.name}-{mark}")
    tell(f"{out} belongs to {owner}: these images go to {other}")
    return other


def _read_owner(out: pathlib.Path) -> str:
    """The folder whose vectors lie in an output folder, "" where none do."""
    try:
        found = read_json(out / "embeddings" / "manifest.json")
    except DataError:
        return ""
    provenance = found.get("passport") if isinstance(found, dict) else None
    root = provenance.get("root") if isinstance(provenance, dict) else None
    return os.path.realpath(root) if isinstance(root, str) else ""


def _open(page: pathlib.Path) -> None:
    """Open the page where somebody sits before a terminal."""
    if sys.stdout.isatty():
        from ..report.browser import open_page

        open_page(page)


def _describe(look: Look, model: str, seconds: float) -> str:
    from ..data.rejects import describe_rejects

    verb = "image has" if look.images == 1 else "images have"
    lines = [
        f"{look.known} of {look.images} {verb} a vector ({look.new} new, model {model}),"
        f" {seconds:.0f} s"
    ]
    if look.rejects:
        lines.append(f"{describe_rejects(look.rejects)}; see {look.page.parent / 'rejects.csv'}")
    return "\n".join(lines)


def _suggest(args: argparse.Namespace, look: Look) -> str:
    """What to do next, in three lines."""
    vectors = shlex.quote(str(look.embeddings))
    adapter = shlex.quote(str(look.page.parent / "adapter.safetensors"))
    # Where all images lie in one folder, folders are no classes; what was read is no data set.
    labels, data = ("folders", _quote(args.images)) if look.folders > 1 else LISTS
    data = LISTS[1] if data == LISTED_FILE else data
    named = "folders" if look.folders > 1 else "a list"
    return (
        "next:\n"
        f"  a gallery that grows: {_grow(args, vectors)}\n"
        f"  adapt it to labels ({named}): fastseek adapt --embeddings {vectors} --labels {labels}"
        f" --out {adapter}\n"
        f"  train on labels ({named}): fastseek run Own/dolg --data {data} --out outputs/mine"
    )


def _quote(images: PathLike) -> str:
    """Images as a word of a command; what was read from standard input would be read from a file."""
    return shlex.quote(images) if isinstance(images, str) else LISTED_FILE


def _grow(args: argparse.Namespace, vectors: str) -> str:
    """An index of the images with the vectors that were made: vectors alone do not tell it their
    contents, so that it could not tell new and changed images later. Where the command of indexes
    is not installed, other images are searched for.
    """
    from . import VERBS

    images = _quote(args.images)
    if "index" not in VERBS:
        return f"fastseek try {images} --query IMAGE"
    how = [f"--{key} {getattr(args, key)}" for key in RUN_AS if getattr(args, key)]
    create = f"fastseek index create --out my-index --model {shlex.quote(args.model)}"
    add = f"fastseek index add my-index --images {images} --embeddings {vectors}"
    return " ".join([f"{create} && {add}", *how])
