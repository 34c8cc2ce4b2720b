"""Sorghum-100 and Semi-iNat 2021, in the layout their organizers give."""

import json

import numpy as np
import pytest
from PIL import Image

from fastseek.errors import DataError
from fastseek.registry import DATASETS, build


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)


@pytest.fixture
def sorghum(tmp_path):
    rows = ["image,cultivar"]
    for number in range(12):
        write_image(tmp_path / "train_images" / f"{number:02d}.png")
        rows.append(f"{number:02d}.png,PI_{number % 2}")
    (tmp_path / "train_cultivar_mapping.csv").write_text("\n".join([*rows, ".DS_Store,"]) + "\n")
    write_image(tmp_path / "test" / "t.png")
    return tmp_path


def test_F56_sorghum_is_read_as_kaggle_gives_it(sorghum, caplog):
    items = build(f"sorghum(root='{sorghum}', query=0.3)", DATASETS).items
    assert {item.split for item in items} == {"train", "query"} and len(items) == 12
    for label in ("PI_0", "PI_1"):
        splits = [item.split for item in items if item.label == label]
        assert splits.count("query") == 2 and splits.count("train") == 4
    assert all(int(item.id[-6:-4]) % 2 == int(item.label[-1]) for item in items)
    assert ".DS_Store has no cultivar and is left out" in caplog.text
    more = build(f"sorghum(root='{sorghum}', test=True)", DATASETS).items
    (test,) = [item for item in more if item.split == "gallery"]
    assert test.id == "test/t.png" and not test.label


@pytest.fixture
def semi(tmp_path):
    taxa = {"3": ("Animalia", "Chordata"), "11": ("Fungi", "Ascomycota")}
    for split in ("l_train", "val"):
        for number in taxa:
            write_image(tmp_path / split / number / "a.jpg")
    write_image(tmp_path / "u_train" / "u.jpg")
    ranks = ("kingdom", "phylum")
    page = {
        "annotations": [
            {"class_id": int(number), **dict(zip(ranks, taxon, strict=True))}
            for number, taxon in taxa.items()
        ],
        "unlabeled_taxa": [{"image_name": "u_train/u.jpg", "kingdom": "Fungi", "phylum": "X"}],
    }
    (tmp_path / "annotation.json").write_text(json.dumps(page))
    return tmp_path


def test_F56_semi_inat_is_read_as_it_is_given(semi):
    items = build(f"semi_inat(root='{semi}')", DATASETS).items
    found = {(item.id, item.label, item.group, item.split) for item in items}
    assert found == {
        ("l_train/3/a.jpg", "3", "Animalia/Chordata", "train"),
        ("l_train/11/a.jpg", "11", "Fungi/Ascomycota", "train"),
        ("val/3/a.jpg", "3", "Animalia/Chordata", "query"),
        ("val/11/a.jpg", "11", "Fungi/Ascomycota", "query"),
    }
    (loose,) = build(f"semi_inat(root='{semi}', labelled=False)", DATASETS).items
    assert (loose.id, loose.label, loose.group) == ("u_train/u.jpg", "", "Fungi/X")


def test_F56_images_the_annotations_do_not_know_and_missing_folders_are_named(semi):
    write_image(semi / "u_train" / "strange.jpg")
    with pytest.raises(DataError, match=r"strange\.jpg: the image is not in annotation\.json"):
        build(f"semi_inat(root='{semi}', labelled=False)", DATASETS)
    write_image(semi / "val" / "99" / "a.jpg")
    with pytest.raises(DataError, match="class '99' is not in annotation"):
        build(f"semi_inat(root='{semi}')", DATASETS)
