"""DeepFashion2 as it is downloaded: clothes of customers ask for those of shops."""

from __future__ import annotations

from ...errors import DataError
from ...formats import deep_fashion2 as lists
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home, find_part

NAME = "DeepFashion2"
FOLDERS = ("DeepFashion2", "deepfashion2", "deep_fashion2")
PARTS = {"train": True, "validation": False}


@DATASETS.register()
class DeepFashion2:
    """DeepFashion2: an item is one garment, its box cut out of the image; the validation's garments
    of customers ("user") ask for those of shops with the same pair_id and style.

    Boxes are those of the annotations, not of a detector. Garments of style 0 belong to no pair:
    those of shops are searched too, others are left out. The published test has no labels.

    Args:
        root: the folder with train/ and validation/, each with image/ and annos/, or the one above
            it; "" looks for DeepFashion2 below the data roots.
        train: whether the training images join; reading their 191,961 annotations takes minutes.

    Raises:
        DataError: a folder is not there, or an annotation is damaged; names what was expected.

    Source: Ge et al., DeepFashion2: A Versatile Benchmark for Detection, Pose Estimation,
        Segmentation and Re-Identification of Clothing Images, CVPR 2019 (arXiv 1901.07973)
    Example: deep_fashion2(root='DeepFashion2', train=False)
    """

    def __init__(self, root: str = "", train: bool = True) -> None:
        home = find_home(root, NAME, FOLDERS, "validation")
        listed = []
        for part, trained in PARTS.items():
            if part == "train" and not train:
                continue
            annos = find_part(home, NAME, f"{part}/annos")
            find_part(home, NAME, f"{part}/image")
            found = lists.read_folder(annos, trained)
            if not found:
                raise DataError(f"{annos}: no annotation (000001.json …) tells of a pair")
            listed += [one._replace(name=f"{part}/image/{one.name}") for one in found]
        self.root = str(home)
        self.items = build_items(home, "", listed, boxes=True)
        self.protocol = "query_gallery(camera=False, cmc=(1, 10, 20))"
        compare_counts(NAME, self.items, {})
