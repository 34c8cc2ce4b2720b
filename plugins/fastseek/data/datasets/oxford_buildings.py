"""Classic Oxford5k and Paris6k as they are downloaded."""

from __future__ import annotations

import os
import pathlib

from ...errors import DataError
from ...formats.oxford_buildings import DAMAGED, QUERY, number_images, read_queries
from ...io.crop_locations import spell_crop
from ...registry import DATASETS
from ...structures import Item, Task
from ._benchmark import find_home
from ._distractors import searched, with_distractors
from ._image_scan import scan_images
from ._listed_tasks import Asked, listed_task

NAME = "Oxford5k or Paris6k"
FOLDERS = ("oxford5k", "Oxford5k", "oxbuild", "paris6k", "Paris6k")
TRUTH = ("gt_files", "gt", "lab", "groundtruth", "gt_files_170407", "paris_120310", "")
IMAGES = ("jpg", "images", "oxbuild_images", "paris", "")
DEFINITION = "boxes of 55 images ask; good and ok are right, junk is left out"


@DATASETS.register()
class OxfordBuildings:
    """Classic Oxford5k or Paris6k: 55 boxes ask for good and ok images; the query's own image is in
    the gallery and counts as found, as in the official script.

    The figure is mAP with trapezoids. The twenty damaged images of Paris6k are left out.

    Args:
        root: the folder with the images (jpg/, images/, or folders of landmarks below) and the text
            files NAME_query.txt, NAME_good.txt, NAME_ok.txt, NAME_junk.txt (gt_files/, gt/, or beside
            them); "" looks for oxford5k, then paris6k below the data roots.
        crop: whether a query is only its box.
        distractors: a folder of images that answer nothing, such as Oxford100k or R1M; "" for none.

    Raises:
        DataError: images or text files are not there, or a listed image is missing; names it.

    Source: Philbin et al., Object Retrieval with Large Vocabularies and Fast Spatial Matching, CVPR
        2007; Lost in Quantization, CVPR 2008
    Example: oxford_buildings(root='oxford5k')
    """

    def __init__(self, root: str = "", crop: bool = True, distractors: str = "") -> None:
        home = find_home(root, NAME, FOLDERS, *filter(None, (*TRUTH, *IMAGES)), f"*{QUERY}")
        self.root, self.crop = str(home), crop
        self.asked = read_queries(_find_truth(home))
        files = _find_images(home)
        paths = {one.name: files.get(one.image) for one in self.asked}
        lost = next((one for one in self.asked if paths[one.name] is None), None)
        if lost is not None:
            raise DataError(
                f"{home}: expected {lost.image}.jpg, the image of the query {lost.name}"
            )
        label = {one.name: one.name.rpartition("_")[0] for one in self.asked}
        queries = [
            Item(
                spell_crop(files[one.image], one.box) if crop else files[one.image],
                label[one.name],
                split="query",
                id=one.name,
            )
            for one in self.asked
        ]
        gallery = [Item(path, split="gallery", id=name) for name, path in sorted(files.items())]
        self.items = with_distractors([*queries, *gallery], distractors)

    def tasks(self) -> list[Task]:
        """The one task."""
        queries, gallery = self.items.with_split("query"), searched(self.items)
        names = [item.id for item in gallery]
        right = [number_images(names, one.good + one.ok, one.name) for one in self.asked]
        junk = [number_images(names, one.junk, one.name) for one in self.asked]
        name, metrics = f"oxford_buildings(crop={self.crop})", ("map(trapezoid=True)",)
        asked = Asked(name, DEFINITION, metrics, junk="junk, as listed")
        return [listed_task(asked, queries, gallery, right, junk)]


def _find_truth(home: pathlib.Path) -> pathlib.Path:
    for name in TRUTH:
        if any((home / name).glob(f"*{QUERY}")):
            return home / name
    raise DataError(
        f"{home}: expected files NAME{QUERY} in {', '.join(filter(None, TRUTH))} or beside the"
        " images: unpack gt_files_170407.tgz or paris_120310.tgz to gt_files/"
    )


def _find_images(home: pathlib.Path) -> dict[str, str]:
    """Name without suffix -> file."""
    base = next(home / name for name in IMAGES if (home / name).is_dir())
    found = scan_images(str(base))
    found.report()
    files = {pathlib.PurePath(path).stem: path for path in found.images}
    if len(files) < len(found.images):
        raise DataError(f"{base}: two images have one name; names must differ")
    if not files:
        raise DataError(f"{base}: expected the images of {NAME} there")
    return {name: os.fspath(path) for name, path in files.items() if name not in DAMAGED}
