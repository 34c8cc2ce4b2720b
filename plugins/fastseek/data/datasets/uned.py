"""UnED: eight domains in one gallery."""

from __future__ import annotations

import pathlib

from ...errors import DataError
from ...formats import uned as lists
from ...formats.listed import Listed
from ...registry import DATASETS
from ...structures import ItemTable, Task, with_split
from ...structures.item_table import join_tables
from ._benchmark import build_items, find_home, find_part
from ._listed_tasks import Asked, listed_task, rows_by_label

NAME = "UnED"
FOLDERS = ("uned", "UnED", "data")
LISTS, IMAGES = "info_files", "images"
DEFINITION = (
    "queries of a domain ask one gallery of all domains for their class; mMP@5 divides the right"
    " images of the first m places by m = min(right images, 5)"
)


@DATASETS.register()
class Uned:
    """UnED: cars, sop, inshop, inat, met, gldv2, food2k and rp2k; the queries of each domain ask one
    gallery of all of them.

    A domain whose queries are searched among themselves leaves the query itself out. A class is
    DOMAIN/NUMBER; a query of gldv2 may have several, and an image of one of them is right. Figures
    are mMP@5 and recall@1 a domain, and their means.

    Args:
        root: the folder with info_files/DOMAIN/SPLIT.json and images/; "" looks for uned below the
            data roots.
        split: "test" or "val": what asks.
        domains: some of the eight; the others are neither asked nor searched. All when not given.
        train: whether the training images are listed, too.

    Raises:
        DataError: a list or the first image of one is not there; names it. ValueError: another split
            or domain.

    Source: Ypsilantis et al., Towards Universal Image Embeddings, ICCV 2023 (arXiv 2309.01858)
    Example: uned(root='uned', domains=('cars', 'met'), train=False)
    """

    def __init__(
        self,
        root: str = "",
        split: str = "test",
        domains: tuple[str, ...] = lists.DOMAINS,
        train: bool = True,
    ) -> None:
        unknown = sorted(set(domains) - set(lists.DOMAINS))
        if split not in ("test", "val") or unknown or not domains:
            raise ValueError(
                f"split={split!r}, domains={domains!r}: split must be 'test' or 'val', domains of"
                f" {', '.join(lists.DOMAINS)}"
            )
        home = find_home(root, NAME, FOLDERS, LISTS)
        self.root, self.split = str(home), split
        parts: list[ItemTable] = []
        self.asked: dict[str, list[tuple[str, ...]]] = {}
        for domain in domains:
            sides = {"query": split, "gallery": lists.searched_list(domain, split)}
            if train:
                sides["train"] = "train"
            found = {side: _read(home, domain, name) for side, name in sides.items()}
            self.asked[domain] = [one.classes for one in found["query"]]
            listed = [
                Listed(one.name, f"{domain}/{one.classes[0]}", side)
                for side, images in found.items()
                for one in images
            ]
            parts.append(build_items(home, IMAGES, listed).with_meta("domain", domain))
        self.items = join_tables(parts)

    def tasks(self) -> list[Task]:
        """One task a domain."""
        queries, gallery = with_split(self.items, "query"), with_split(self.items, "gallery")
        rows = rows_by_label(gallery)
        places = {item.id: row for row, item in enumerate(gallery)}
        made, start = [], 0
        for domain, classes in self.asked.items():
            some = queries[start : start + len(classes)]
            start += len(classes)
            itself = [places.get(item.id, -1) for item in some]
            right = [
                [row for one in many for row in rows.get(f"{domain}/{one}", []) if row != own]
                for many, own in zip(classes, itself, strict=True)
            ]
            junk = [[own] if own >= 0 else [] for own in itself]
            metrics = ("mmp(5)", "recall(1)")
            alone = lists.searched_list(domain, self.split) == self.split
            out = "the query itself" if alone else ""
            averages = ("tasks", "queries")
            asked = Asked("uned(k=5)", DEFINITION, metrics, 5, domain, out, averages)
            made.append(listed_task(asked, some, gallery, right, junk))
        return made


def _read(home: pathlib.Path, domain: str, split: str) -> list[lists.UnedImage]:
    found = lists.read_split(find_part(home, NAME, f"{LISTS}/{domain}/{split}.json"))
    if any(not one.classes for one in found):
        raise DataError(f"{home / LISTS / domain / split}.json: an image has no class")
    return found
