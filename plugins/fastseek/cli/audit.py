"""Quality of data and models, one subcommand a question; none changes what it looks at.

fastseek audit noise --images /my/images --out noise.csv
fastseek audit duplicates outputs/e/gallery --out duplicates.html --images /my/images
fastseek audit leaks outputs/e/query outputs/e/gallery --out leaks.csv
fastseek audit duplicate-classes --weights model_final.safetensors --out duplicates.html
fastseek audit collisions --groups duplicates.json --batch 32
fastseek audit disagreement --rankings a.npz b.npz c.npz --out disagreement.csv
fastseek audit clean --ranking self.npz --labels train.csv --images train --out train_clean.csv
fastseek audit size --limit-mb 500 a.safetensors b.safetensors
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

from ._arguments import add_force_option, make_parser
from ._listed_images import IMAGES, take_images
from ._terminal import tell

Commands = argparse._SubParsersAction  # the type of what add_subparsers returns has no public name


# What a question writes.
WRITTEN = {
    "noise": "table path,class,share,sigma",
    "duplicate-classes": "figures",
    "disagreement": "table query,overlap,disagrees",
    "clean": "table landmark_id,images",
}
# Questions that check their outputs themselves, and what answers them.
COPIES = {"duplicates": "duplicates_file", "leaks": "leaks_file"}


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("audit", __doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    for add in (
        add_noise,
        add_duplicates,
        add_leaks,
        add_duplicate_classes,
        add_collisions,
        add_disagreement,
        add_clean,
        add_size,
    ):
        add(commands)
    for name in (*WRITTEN, *COPIES):
        add_force_option(commands.choices[name])
    given = parser.parse_args(argv)
    if given.what in COPIES:
        from . import _audit_copies  # help is shown without it

        tell(getattr(_audit_copies, COPIES[given.what])(given))
        return
    args = vars(given)
    module, run = args.pop("run")
    what, force = args.pop("what"), args.pop("force", False)
    if what in WRITTEN:
        from ..io.file_kinds import check_replaceable

        kind = "page" if args["out"].endswith(".html") else WRITTEN[what]
        read = ("images", "weights", "classes", "ranking", "labels", "inliers")
        inputs = [*(args.get(name) for name in read), *args.get("rankings", ())]
        check_replaceable(args["out"], kind, force, inputs)
    # Imported when it is asked for: each question needs other libraries.
    tell(getattr(importlib.import_module(f".{module}", __package__), run)(**args))


def add_noise(commands: Commands) -> None:
    """The subcommand `noise`."""
    parser = commands.add_parser(
        "noise", help="impulse share and Gaussian sigma of every image, and its class of four"
    )
    parser.add_argument("--images", required=True, type=take_images, help=IMAGES)
    parser.add_argument("--out", required=True, help="the table: path,class,share,sigma")
    parser.add_argument(
        "--share",
        type=float,
        default=0.01,
        help="impulses from this share on (default: %(default)s)",
    )
    parser.add_argument(
        "--sigma",
        type=float,
        default=10.0,
        help="Gaussian from this sigma on (default: %(default)s)",
    )
    parser.set_defaults(run=("_audit_noise", "noise_file"))


def add_duplicates(commands: Commands) -> None:
    """The subcommand `duplicates`."""
    parser = commands.add_parser(
        "duplicates", help="images that stand more than once: clusters of near copies"
    )
    parser.add_argument("embeddings", metavar="E", help="embeddings of the images")
    _add_copy_options(parser, "id,cluster,nearest,score,inliers,agreement")
    parser.add_argument(
        "--graph", metavar="DIR", help="keeps the kNN graph there, and goes on with it"
    )
    parser.add_argument(
        "--part",
        default="0/1",
        metavar="i/n",
        help="make only part i of n of the graph, i from 0; the parts share --graph",
    )


def add_leaks(commands: Commands) -> None:
    """The subcommand `leaks`."""
    parser = commands.add_parser(
        "leaks", help="images of one set that stand in another too, such as test images in training"
    )
    parser.add_argument("embeddings", metavar="E", help="embeddings of the images that may leak")
    parser.add_argument("others", metavar="F", nargs="?", help="embeddings of the other images")
    _add_copy_options(parser, "id,nearest,score,inliers,agreement")
    parser.add_argument(
        "--splits",
        metavar="FILE",
        help="instead of F a CSV file id,split: pairs across splits of E",
    )


def _add_copy_options(parser: argparse.ArgumentParser, header: str) -> None:
    parser.add_argument(
        "--out", required=True, help=f"the table {header}, .csv, or a page, .html (then both)"
    )
    parser.add_argument(
        "--least",
        type=float,
        help="cosine of a copy (default: 0.8 where images are compared, else 0.85)",
    )
    parser.add_argument(
        "-k", type=int, default=10, help="nearest images looked at (default: %(default)s)"
    )
    parser.add_argument(
        "--images",
        nargs="+",
        default=[],
        metavar="DIR",
        help="the images, for the page and --verify",
    )
    parser.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        help="keep pairs only of which one image fits into the other, as it is, cropped, scaled or"
        " mirrored (default: where --images names them)",
    )
    parser.add_argument(
        "--agreement",
        type=float,
        default=0.75,
        help="correlation of the pixels of a copy (default: %(default)s)",
    )
    parser.add_argument(
        "--inliers",
        type=int,
        metavar="N",
        help="compare local features instead (SIFT and RANSAC, with OpenCV), of which N agree: for"
        " copies that were turned",
    )


def add_duplicate_classes(commands: Commands) -> None:
    """The subcommand `duplicate-classes`."""
    parser = commands.add_parser(
        "duplicate-classes", help="classes whose classifier rows nearly agree"
    )
    parser.add_argument("--weights", required=True, help="a trained model, .safetensors")
    parser.add_argument(
        "--loss",
        default="",
        help="the loss whose rows are taken, such as arcface; not needed for one",
    )
    parser.add_argument(
        "--classes", help="classes.json of the training (default: beside the weights)"
    )
    parser.add_argument(
        "--tau", type=float, help="least cosine (default: by the rule of audit.duplicate_classes)"
    )
    parser.add_argument(
        "--data", help='call string of the training images, such as "grocery()", for samples'
    )
    parser.add_argument(
        "--out", required=True, help="the groups, .json, or a page with samples, .html (then both)"
    )
    parser.add_argument(
        "--batch", type=int, default=32, help="batch size of the advice (default: %(default)s)"
    )
    parser.set_defaults(run=("_audit", "duplicate_classes_file"))


def add_collisions(commands: Commands) -> None:
    """The subcommand `collisions`."""
    parser = commands.add_parser(
        "collisions", help="how often a batch holds two classes of one duplicate group"
    )
    parser.add_argument("--groups", required=True, help="what duplicate-classes wrote as .json")
    parser.add_argument(
        "--batch", type=int, default=32, help="images a batch (default: %(default)s)"
    )
    parser.set_defaults(run=("_audit", "collisions_file"))


def add_disagreement(commands: Commands) -> None:
    """The subcommand `disagreement`."""
    parser = commands.add_parser("disagreement", help="queries whose models' best answers differ")
    parser.add_argument(
        "--rankings", required=True, nargs="+", metavar="R", help="rankings of the same queries"
    )
    parser.add_argument(
        "--depth", type=int, default=10, help="answers compared (default: %(default)s)"
    )
    parser.add_argument(
        "--below", type=float, default=0.2, help="mean overlap that counts (default: %(default)s)"
    )
    parser.add_argument(
        "--out", required=True, help="the table: query,overlap,disagrees, least overlap first"
    )
    parser.set_defaults(run=("_audit", "disagreement_file"))


def add_clean(commands: Commands) -> None:
    """The subcommand `clean`."""
    parser = commands.add_parser(
        "clean", help="training images that verify with others of their class, as a list"
    )
    parser.add_argument(
        "--ranking", required=True, help="the images searched in themselves, with k=101"
    )
    parser.add_argument(
        "--labels", required=True, help="CSV file with the columns id and landmark_id"
    )
    parser.add_argument("--images", metavar="DIR", help="the images, verified by SIFT and RANSAC")
    parser.add_argument(
        "--inliers", metavar="FILE", help="instead first,second,inliers of another verification"
    )
    parser.add_argument(
        "--neighbors",
        "--neighbours",
        dest="neighbours",
        type=int,
        default=100,
        help="looked at for an image (default: %(default)s)",
    )
    parser.add_argument(
        "--least-inliers", type=int, default=30, help="of a match (default: %(default)s)"
    )
    parser.add_argument(
        "--least-matches", type=int, default=3, help="of an image (default: %(default)s)"
    )
    parser.add_argument(
        "--least-images", type=int, default=2, help="of a class (default: %(default)s)"
    )
    parser.add_argument("--out", required=True, help="the list of what is kept: landmark_id,images")
    parser.set_defaults(run=("_audit_clean", "clean_file"))


def add_size(commands: Commands) -> None:
    """The subcommand `size`."""
    parser = commands.add_parser(
        "size", help="whether an ensemble's files stay within a budget (exit code 5 if not)"
    )
    parser.add_argument("files", nargs="+", metavar="FILES", help="weight files")
    parser.add_argument(
        "--limit-mb", type=float, default=500, help="megabytes of 10^6 bytes (default: %(default)s)"
    )
    parser.set_defaults(run=("_audit", "size_files"))
