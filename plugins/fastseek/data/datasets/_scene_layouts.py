"""Benchmarks of landmarks, objects and species, and lists of contests, known by what lies in their
folder.
"""

from __future__ import annotations

import os
import pathlib
from typing import NamedTuple

SHARE = "query=0.2"  # of every class, where a list tells no queries


class Scene(NamedTuple):
    """A folder that a part reads.

    Args:
        call: its call string, with {} for the folder.
        signs: files or folders that lie in it, all of them; * stands for letters of a name.
        column: what the header of the first sign, a table, names; "" where it is no table.
    """

    call: str
    signs: tuple[str, ...]
    column: str = ""


class Contest(NamedTuple):
    """A list train.csv of Kaggle.

    Args:
        header: its first line.
        folder: where its images are.
        columns: how `manifest` is told of its columns.
    """

    header: str
    folder: str
    columns: str


_TRUTHS = tuple(
    f"gnd_{name}.{kind}" for name in ("roxford5k", "rparis6k") for kind in ("pkl", "json")
)
# The first that fits: what has more signs stands before what has fewer of them.
SCENES = (
    *(Scene("revisited({})", (truth,)) for truth in _TRUTHS),
    *(
        Scene("oxford_buildings({})", (f"{folder}*_query.txt",))
        for folder in ("gt_files/", "gt/", "lab/", "")
    ),
    Scene("instre({})", ("gnd_instre.mat",)),
    Scene("instre({})", ("INSTRE-S1",)),
    Scene("met({})", ("ground_truth/MET_database.json",)),
    Scene("met({}, mini=True)", ("ground_truth/mini_MET_database.json",)),
    Scene("ilias({})", ("ilias_core", "yfcc100m")),
    Scene("ilias({}, distractors='none')", ("ilias_core",)),
    Scene("uned({})", ("info_files",)),
    Scene("inat_retrieval({})", ("Inat_dataset_splits",)),
    *(Scene("inat({})", (f"train{year}.json", f"val{year}.json")) for year in (2017, 2018, 2019)),
    Scene("inat({})", ("train.json", "val.json", "train")),
    Scene("inat({})", ("train_mini.json", "val.json")),
    Scene("coco_boxes({})", ("annotations/instances_train2017.json",)),
    Scene("holidays({})", ("jpg/100000.jpg",)),
    Scene("holidays({})", ("100000.jpg",)),
    Scene("ukbench({})", ("full/ukbench00000.jpg",)),
    Scene("ukbench({})", ("ukbench00000.jpg",)),
    Scene("gpr1200({})", ("images/0_*.jpg", "images/1199_*.jpg")),
    Scene("gpr1200({})", ("0_*.jpg", "1199_*.jpg")),
    Scene(f"sorghum({{}}, {SHARE})", ("train_cultivar_mapping.csv", "train_images")),
    Scene(f"image_folder({{}}, {SHARE})", ("metadata.csv",), "file_name"),
    Scene("image_folder({})", ("train/metadata.csv",), "file_name"),
    Scene("image_folder({})", ("data/train/metadata.csv",), "file_name"),
)
CONTESTS = (
    Contest("Image,Id", "train", "path='Image', label='Id'"),
    Contest("image,species,individual_id", "train_images", "path='image', label='individual_id'"),
    Contest(
        "posting_id,image,image_phash,title,label_group",
        "train_images",
        "path='image', label='label_group'",
    ),
    Contest(
        "image,chain,hotel_id,timestamp",
        "train_images",
        "path='{chain}/{image}', label='hotel_id'",
    ),
    Contest("image_id,hotel_id", "train_images", "path='{hotel_id}/{image_id}', label='hotel_id'"),
    Contest("image,cultivar", "train_images", "path='image', label='cultivar'"),
    Contest("name,class,group", "train", "path='name', label='class'"),
)


def spell_scene(place: pathlib.Path) -> str:
    """The call string of what lies in a folder; "" where none of these does."""
    for one in SCENES:
        if all(_holds(place, sign) for sign in one.signs) and _names(place, one):
            return one.call.format(repr(str(place)))
    table = place / "train.csv"
    header = _read_header(table) if table.is_file() else ""
    for contest in CONTESTS:
        if header == contest.header and (place / contest.folder).is_dir():
            options = f"{contest.columns}, folder={contest.folder!r}, {SHARE}"
            return f"manifest({str(table)!r}, {options})"
    return ""


def _holds(place: pathlib.Path, sign: str) -> bool:
    if "*" not in sign:
        return (place / sign).exists()
    folder, name = os.path.split(sign)
    return (place / folder).is_dir() and next((place / folder).glob(name), None) is not None


def _names(place: pathlib.Path, scene: Scene) -> bool:
    """Whether the table of a scene, where it has one, names its column."""
    if not scene.column:
        return True
    return scene.column in _read_header(place / scene.signs[0]).split(",")


def _read_header(table: pathlib.Path) -> str:
    """The first line of a text file; "" where it is none."""
    try:
        with table.open(encoding="utf-8-sig") as file:
            return file.readline(1000).strip().replace('"', "")
    except (OSError, UnicodeDecodeError):
        return ""
