"""The demo: train on images of groceries or of drawn objects, search, re-rank, score, write a page.

fastseek demo
fastseek demo --out outputs/demo SOLVER.MAX_EPOCH 1
fastseek demo --rendered

It is `fastseek run Grocery/dolg_mobilenetv2`. Images and weights are looked for below
FASTREID_DATASETS, FASTSEEK_DATA and ~/.cache/fastseek, else the images are downloaded and checked.
Where they are out of reach, it is `fastseek run Rendered/dolg_efficientnet_lite0`, on objects that
are drawn once; weights come from the package index where others are missing.
"""

from __future__ import annotations

from collections.abc import Sequence

from ._arguments import find_recipe, make_parser
from ._recipe_arguments import add_recipe_changes, parse_with_changes
from ._terminal import tell

RECIPE = "Grocery/dolg_mobilenetv2"
DRAWN = "Rendered/dolg_efficientnet_lite0"
BACKBONE = "SEEK.BACKBONE"


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    parser = make_parser("demo", __doc__)
    parser.add_argument("--out", default="outputs/demo", help="folder of the run (%(default)s)")
    parser.add_argument(
        "--rendered", action="store_true", help="on drawn objects, whatever images are at hand"
    )
    add_recipe_changes(parser)
    args = parse_with_changes(parser, argv)

    from ..workflows.run import run_file
    from ._outputs import check_run_folder

    check_run_folder(args.out)
    rendered = args.rendered or not _has_grocery()
    recipe = find_recipe(DRAWN if rendered else RECIPE)
    changes = [] if rendered else _replace_backbone(recipe)
    tell(run_file(recipe, args.out, None, [*changes, *args.opts]))


def _has_grocery() -> bool:
    """Whether the Grocery images are here, perhaps only now; says what is taken instead."""
    from ..data.datasets._fetch import OutOfReach, grocery
    from ..data.datasets.rendered import OBJECTS, VIEWS
    from ..progress import tell

    try:
        grocery()
    except OutOfReach as error:
        tell(
            f"Grocery not found and not downloadable ({error.reason}): using {OBJECTS} rendered"
            f" objects, {VIEWS} views each"
        )
        return False
    return True


def _replace_backbone(recipe: str) -> list[str]:
    """Changes to a recipe whose weights are not here: the network whose weights a package holds."""
    from ..config.recipe import load
    from ..errors import DataError
    from ..io.paths import locate
    from ..modeling.layers.wheel_weights import find_weights
    from ..progress import tell
    from ..registry import parse

    _, _, arguments = parse(load(recipe).SEEK.BACKBONE)
    try:
        locate(arguments["weights"])
    except DataError:
        try:
            find_weights()
        except DataError:
            return []  # the hub is asked, and tells what to do where it is out of reach
        tell(f"{arguments['weights']} not found: using EfficientNet-Lite0 of the package index")
        return [BACKBONE, load(find_recipe(DRAWN)).SEEK.BACKBONE]
    return []
