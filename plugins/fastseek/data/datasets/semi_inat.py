"""Semi-supervised iNat 2021 as it is given (github.com/cvl-umass/semi-inat-2021)."""

from __future__ import annotations

import pathlib

from ...errors import DataError
from ...formats import semi_inat as lists
from ...io.paths import locate
from ...registry import DATASETS
from ...structures import Item
from .folder import list_images

LABELLED, VALIDATION, UNLABELLED = "l_train", "val", "u_train"


@DATASETS.register()
class SemiInat:
    """Semi-supervised iNat 2021: the labelled training images and those of the validation, or the
    unlabelled ones.

    A class is its number, which is the name of its folder; an image's group is kingdom and phylum in
    one word ("Animalia/Chordata"), which is all that is known of an unlabelled one. Validation
    images are the queries. A plan of rounds takes both: LABELLED "semi_inat()", UNLABELLED
    "semi_inat(labelled=False)".

    Args:
        root: the folder with annotation.json, l_train/, val/ and u_train/, as it stands or below one
            of the data roots.
        labelled: whether it is the labelled images.

    Raises:
        DataError: a list or folder is not there, or an image is not in the annotations.

    Source: Su and Maji, The Semi-Supervised iNaturalist Challenge at the FGVC8 Workshop, 2021
        (arXiv 2106.01364)
    Example: semi_inat(labelled=False)
    """

    def __init__(self, root: str = "semi_inat", labelled: bool = True) -> None:
        home = locate(root, "Semi-iNat 2021")
        taxa = lists.read_annotations(home / "annotation.json")
        self.root = str(home)
        if labelled:
            self.items = [
                *_read_folder(home, LABELLED, "train", taxa.classes, by_class=True),
                *_read_folder(home, VALIDATION, "query", taxa.classes, by_class=True),
            ]
        else:
            self.items = _read_folder(home, UNLABELLED, "train", taxa.unlabelled, by_class=False)


def _read_folder(
    home: pathlib.Path, folder: str, split: str, taxa: dict[str, str], by_class: bool
) -> list[Item]:
    """The images of a folder with their taxon, found by their class or by their own name."""
    if not (home / folder).is_dir():
        raise DataError(f"{home / folder}: there is no such folder: unpack {folder}.tar.gz there")
    by_name = {pathlib.PurePosixPath(name).name: taxon for name, taxon in taxa.items()}
    items = []
    for image in list_images(str(home), folder, split):
        key = image.label if by_class else pathlib.PurePosixPath(image.id).name
        taxon = taxa.get(key) if by_class else by_name.get(key)
        if taxon is None:
            what = f"class {key!r}" if by_class else "the image"
            raise DataError(f"{image.path}: {what} is not in annotation.json")
        label = image.label if by_class else ""
        items.append(Item(path=image.path, label=label, group=taxon, split=split, id=image.id))
    return items
