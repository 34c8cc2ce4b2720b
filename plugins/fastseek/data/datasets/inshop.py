"""In-shop Clothes Retrieval of DeepFashion as it is downloaded."""

from __future__ import annotations

from ...errors import DataError
from ...formats import inshop as lists
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home, find_part

NAME = "In-shop Clothes Retrieval"
FOLDERS = (
    "In-shop Clothes Retrieval Benchmark",
    "In-shop",
    "inshop",
    "InShop",
    "InShop_Clothes",
    "In_shop",
)
PARTITION = (
    "Eval/list_eval_partition.txt",
    "list_eval_partition.txt",
    "Anno/list_eval_partition.txt",
)
BOXES = ("Anno/list_bbox_inshop.txt", "list_bbox_inshop.txt")
IMAGES = ("img", "Img/img", "Img")  # archives are unpacked at either depth
COUNTS = {"train": 25882, "query": 14218, "gallery": 12612}


@DATASETS.register()
class Inshop:
    """In-shop Clothes Retrieval of DeepFashion: queries ask the gallery for images of their item.

    Args:
        root: the folder with Eval/list_eval_partition.txt and Img/ or img/, or the one above it; ""
            looks for "In-shop Clothes Retrieval Benchmark" or inshop below the data roots.
        boxes: whether an image is only the box of its clothes (Anno/list_bbox_inshop.txt); the usual
            figures are of whole images.

    Raises:
        DataError: a list or its images are not there, or a line is damaged; names what was expected.

    Source: Liu et al., DeepFashion: Powering Robust Clothes Recognition and Retrieval with Rich
        Annotations, CVPR 2016
    Example: inshop(root='In-shop Clothes Retrieval Benchmark')
    """

    def __init__(self, root: str = "", boxes: bool = False) -> None:
        home = find_home(root, NAME, FOLDERS, *PARTITION)
        listed = lists.read_partition(find_part(home, NAME, *PARTITION))
        if boxes:
            table = find_part(home, NAME, *BOXES)
            known = lists.read_boxes(table)
            missing = next((one.name for one in listed if one.name not in known), None)
            if missing is not None:
                raise DataError(f"{table}: {missing} has no box")
            listed = [one._replace(box=known[one.name]) for one in listed]
        images = find_part(home, NAME, *IMAGES).relative_to(home).as_posix()
        # The list begins every name with "img/", the folder that is found.
        listed = [one._replace(name=one.name.removeprefix("img/")) for one in listed]
        self.root = str(home)
        self.items = build_items(home, images, listed, boxes)
        self.protocol = "in_shop()"
        compare_counts(NAME, self.items, COUNTS)
