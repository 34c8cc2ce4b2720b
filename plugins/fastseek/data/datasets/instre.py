"""INSTRE as it is downloaded."""

from __future__ import annotations

import os
import pathlib

from ...errors import DataError
from ...formats import instre as lists
from ...formats.listed import Listed
from ...io.crop_locations import spell_crop
from ...io.locations import leads_out
from ...registry import DATASETS
from ...structures import Item, ItemTable, Task, with_split
from ._benchmark import build_items, compare_counts, find_home
from ._image_scan import scan_images
from ._listed_tasks import Asked, leave_one_out_task, listed_task

NAME = "INSTRE"
FOLDERS = ("instre", "INSTRE", "INSTRE_release")
TRUTH = "gnd_instre.mat"
PARTS = ("INSTRE-S1", "INSTRE-S2", "INSTRE-M")
COUNTS = {"query": 1250, "gallery": 27293}
LISTED = "boxes of 1,250 images ask for the images of their object, of S1, S2 and M"
ALL = "each image of {} asks for the others of its folder; the query itself is junk"


@DATASETS.register()
class Instre:
    """INSTRE: 250 objects; by gnd_instre.mat of Iscen et al. 1,250 boxes ask 27,293 images, else each
    image asks for the others of its folder.

    The figure is mAP, with gnd_instre.mat with trapezoids as in its script.

    Args:
        root: the folder with INSTRE-S1, INSTRE-S2 and INSTRE-M and, for the usual protocol,
            gnd_instre.mat; "" looks for instre below the data roots.
        part: "" for the usual protocol; "S1", "S2" or "M" for each image of that part against the
            others of it, without gnd_instre.mat.
        crop: whether a query of the usual protocol is only its box.

    Raises:
        DataError: a file or folder is not there; names it. ValueError: another part.

    Source: Wang and Jiang, INSTRE: A New Benchmark for Instance-Level Object Retrieval and
        Recognition, TOMM 2015; Iscen et al., Efficient Diffusion on Region Manifolds, CVPR 2017
        (arXiv 1611.05113)
    Example: instre(root='instre')
    """

    def __init__(self, root: str = "", part: str = "", crop: bool = True) -> None:
        if part not in ("", "S1", "S2", "M"):
            raise ValueError(f"part must be 'S1', 'S2', 'M' or '', got {part!r}")
        home = find_home(root, NAME, FOLDERS, TRUTH, *PARTS)
        self.root, self.part, self.crop = str(home), part, crop
        self.gnd = None if part else lists.read_gnd(_find_truth(home))
        if self.gnd is None:
            self.items: list[Item] | ItemTable = _read_part(home, part)
            return
        self.items = [*_queries(home, self.gnd, crop), *_gallery(home, self.gnd)]
        compare_counts(NAME, self.items, COUNTS)

    def tasks(self) -> list[Task]:
        """The one task."""
        if self.gnd is None:
            metrics = ("map()", "recall(1)")
            asked = Asked(f"instre(part={self.part!r})", ALL.format(self.part), metrics)
            return [leave_one_out_task(asked, self.items, count_query=False)]
        queries, gallery = with_split(self.items, "query"), with_split(self.items, "gallery")
        asked = Asked(f"instre(crop={self.crop})", LISTED, ("map(trapezoid=True)",))
        return [listed_task(asked, queries, gallery, [rows.tolist() for rows in self.gnd.right])]


def _find_truth(home: pathlib.Path) -> pathlib.Path:
    if not (home / TRUTH).is_file():
        raise DataError(
            f"{home / TRUTH}: there is no such file; it tells the usual protocol (Iscen et al.):"
            " download it there, or name one part: instre(part='S1')"
        )
    return home / TRUTH


def _queries(home: pathlib.Path, gnd: lists.InstreGnd, crop: bool) -> list[Item]:
    made = []
    for name, box in zip(gnd.queries, gnd.boxes, strict=True):
        path = _path(home, name)
        made.append(Item(spell_crop(path, box) if crop else path, split="query", id=f"box/{name}"))
    return made


def _gallery(home: pathlib.Path, gnd: lists.InstreGnd) -> list[Item]:
    return [Item(_path(home, name), split="gallery", id=name) for name in gnd.images]


def _path(home: pathlib.Path, name: str) -> str:
    path = home / name
    if leads_out(name):
        raise DataError(f"{home}: {TRUTH} names {name!r}, which lies outside of the folder")
    if not path.is_file():
        raise DataError(f"{path}: {TRUTH} names this image and there is no such file")
    return os.fspath(path)


def _read_part(home: pathlib.Path, part: str) -> ItemTable:
    folder = home / f"INSTRE-{part}"
    if not folder.is_dir():
        raise DataError(f"{folder}: expected this part of {NAME} there")
    found = scan_images(str(folder))
    found.report()
    names = [os.path.relpath(path, home).replace(os.sep, "/") for path in found.images]
    return build_items(home, "", [Listed(name, os.path.dirname(name), "test") for name in names])
