"""Revisited Oxford and Paris from their images."""

from __future__ import annotations

import pathlib

import numpy as np

from ...errors import DataError
from ...formats import revisited as lists
from ...io.crop_locations import spell_crop
from ...registry import DATASETS
from ...structures import Item, Task
from ...structures.task import needed_depth, with_protocol
from ._benchmark import find_home, find_part
from ._distractors import searched, with_distractors
from ._image_scan import scan_images

NAME = "revisited Oxford or Paris"
FOLDERS = ("roxford5k", "rparis6k")
TRUTHS = tuple(f"gnd_{name}.{suffix}" for name in FOLDERS for suffix in ("pkl", "json"))
IMAGES = ("jpg", "images", ".")
METRICS = ("revisited(1, 5, 10)",)
RIGHT = {kind: " and ".join(right) for kind, (right, _) in lists.PROTOCOLS.items()}
DEFINITION = "70 queries; right is what is {}, junk takes no place"


@DATASETS.register()
class Revisited:
    """Revisited Oxford or Paris: 70 queries ask 4,993 or 6,322 images, by the protocols easy, medium
    and hard, each a task.

    Figures are mAP with trapezoids and mP@1, 5 and 10. Published figures cut the query out of its
    image; several scales are a matter of views (`scale(0.3535, 0.5, 0.7071, 1.0, 1.4142)`).

    Args:
        root: the folder with gnd_roxford5k.pkl or gnd_rparis6k.pkl (or .json) and jpg/; "" looks for
            roxford5k, then rparis6k below the data roots.
        crop: whether a query is only its box, as published figures are.
        distractors: a folder of images, or of tar files, that answer nothing, such as R1M
            (revisitop1m); "" for none.

    Raises:
        DataError: the file or an image is not there; names what was expected.

    Source: Radenovic et al., Revisiting Oxford and Paris: Large-Scale Image Retrieval Benchmarking,
        CVPR 2018 (arXiv 1803.11285)
    Example: revisited(root='roxford5k', crop=False)
    """

    def __init__(self, root: str = "", crop: bool = True, distractors: str = "") -> None:
        home = find_home(root, NAME, FOLDERS, *TRUTHS)
        self.root, self.crop = str(home), crop
        self.gnd = lists.read_gnd(find_part(home, NAME, *TRUTHS))
        files = _find_images(home, (*self.gnd.queries, *self.gnd.images))
        queries = [
            Item(_cut(files[name], box) if crop else files[name], split="query", id=name)
            for name, box in zip(self.gnd.queries, self.gnd.boxes, strict=True)
        ]
        gallery = [Item(files[name], split="gallery", id=name) for name in self.gnd.images]
        self.items = with_distractors([*queries, *gallery], distractors)

    def tasks(self) -> list[Task]:
        """Easy, medium and hard."""
        queries, gallery = self.items.with_split("query"), searched(self.items)
        others = [gallery[row].id for row in range(len(self.gnd.images), len(gallery))]
        name = f"revisited(crop={self.crop})"
        made = []
        for protocol in lists.PROTOCOLS:
            truth = lists.truth(self.gnd, protocol, others)
            told = DEFINITION.format(RIGHT[protocol])
            truth = with_protocol(truth, name, told, protocol)
            depth = needed_depth(truth, len(gallery))
            made.append(Task(protocol, queries, gallery, truth, METRICS, depth))
        return made


def _cut(file: str, box: np.ndarray) -> str:
    """A query's box; a file of ground truth may tell none."""
    return file if np.isnan(box).any() else spell_crop(file, box.tolist())


def _find_images(home: pathlib.Path, names: tuple[str, ...]) -> dict[str, str]:
    """Name without suffix -> file, wherever below the folder of the images it lies."""
    base = find_part(home, NAME, *IMAGES)
    files = {pathlib.PurePath(path).stem: path for path in scan_images(str(base)).images}
    missing = [name for name in names if name not in files]
    if missing:
        raise DataError(
            f"{base / missing[0]}.jpg: expected this image of {NAME}, one of {len(missing)} that are"
            f" not there, nor in a folder below {base}: unpack the images there"
        )
    return files
