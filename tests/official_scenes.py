"""Tiny made-up copies of benchmarks of landmarks, objects and scenes, in the form of their archives."""

from __future__ import annotations

import gzip
import io
import json
import pathlib
import tarfile

import numpy as np
from PIL import Image
from scipy.io import savemat

import toy

SIDE = 24  # pixels


def draw(path: pathlib.Path, kind: int, take: int = 0, side: int = SIDE) -> None:
    """Write an image of a class; two of one class look alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    toy.photo(kind, take, side).save(path, "PNG" if path.suffix == ".png" else "JPEG")


def draw_in_corner(path: pathlib.Path, kind: int, take: int = 0) -> tuple[int, int, int, int]:
    """Write an image that shows a class in a box, and something else around it; return the box."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scene = toy.photo(900 + take, take, 2 * SIDE)
    left = top = SIDE // 2 + take % 3
    scene.paste(toy.photo(kind, take, SIDE), (left, top))
    scene.save(path, "JPEG", quality=95)
    return left, top, left + SIDE, top + SIDE


def write_json(path: pathlib.Path, page: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(page), encoding="utf-8")


def write_lines(path: pathlib.Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_tar(path: pathlib.Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def encode(kind: int, take: int = 0) -> bytes:
    held = io.BytesIO()
    toy.photo(kind, take, SIDE).save(held, "JPEG")
    return held.getvalue()


def revisited(root: pathlib.Path, name: str = "roxford5k") -> dict:
    """Six queries in boxes, 18 images of six places, with easy, hard and junk ones."""
    images = [f"place_{number:06d}" for number in range(18)]
    for number, image in enumerate(images):
        draw(root / "jpg" / f"{image}.jpg", number % 6, number)
    queries, gnd = [], []
    for place in range(6):
        queries.append(f"asked_{place:06d}")
        box = draw_in_corner(root / "jpg" / f"{queries[-1]}.jpg", place, 50 + place)
        rows = [number for number in range(18) if number % 6 == place]
        # The first place has nothing easy, so the easy task counts five queries.
        easy, hard, junk = (
            ([], rows[:2], rows[2:]) if place == 0 else (rows[:1], rows[1:2], rows[2:])
        )
        gnd.append({"bbx": list(map(float, box)), "easy": easy, "hard": hard, "junk": junk})
    page = {"gnd": gnd, "imlist": images, "qimlist": queries}
    write_json(root / f"gnd_{name}.json", page)
    return page


def distractors(root: pathlib.Path, count: int = 4) -> None:
    for number in range(count):
        draw(root / f"{number % 2:02d}" / f"{number}.jpg", 700 + number)


def oxford_buildings(root: pathlib.Path) -> None:
    for place in range(3):
        for take in range(4):
            draw(root / "jpg" / f"hall_{place}_{take:06d}.jpg", place, take)
        box = draw_in_corner(root / "jpg" / f"hall_{place}_{9:06d}.jpg", place, 60 + place)
        name = f"hall_{place}_1"
        told = f"oxc1_hall_{place}_{9:06d} {' '.join(map(str, map(float, box)))}"
        lists = {"query": [told], "good": [0, 9], "ok": [1], "junk": [2]}
        for kind, takes in lists.items():
            rows = [one if kind == "query" else f"hall_{place}_{one:06d}" for one in takes]
            write_lines(root / "gt_files" / f"{name}_{kind}.txt", rows)


def holidays(root: pathlib.Path) -> None:
    for group, size in ((1000, 2), (1001, 3), (1002, 4)):
        for take in range(size):
            draw(root / "jpg" / f"{group}{take:02d}.jpg", group % 10, take)


def ukbench(root: pathlib.Path) -> None:
    for number in range(12):
        draw(root / "full" / f"ukbench{number:05d}.jpg", number // 4, number % 4)


def gpr1200(root: pathlib.Path) -> None:
    for kind in (0, 7, 1199):
        for take in range(3):
            draw(root / "images" / f"{kind}_{take}{kind}.jpg", kind, take)


def instre(root: pathlib.Path, corners: bool = True) -> None:
    """Both forms of a box: corners, or the left upper one with width and height."""
    images, queries, gnd = [], [], []
    for kind, folder in enumerate(("INSTRE-S1/01a_book", "INSTRE-S2/02_logo", "INSTRE-M/01")):
        rows = []
        for take in range(3):
            images.append(f"{folder}/{take:03d}.jpg")
            draw(root / images[-1], kind, take)
            rows.append(len(images))
        queries.append(f"{folder}/100.jpg")
        left, top, right, bottom = draw_in_corner(root / queries[-1], kind, 70 + kind)
        wide = (right, bottom) if corners else (right - left, bottom - top)
        box = np.array([[left, top, *wide]]) if corners else np.array([[left + 20, top, 4, 5]])
        gnd.append((np.array([rows]), box))
    table = np.zeros((1, len(gnd)), [("ok", object), ("bbx", object)])
    for column, row in enumerate(gnd):
        table[0, column] = row
    cells = {"imlist": images, "qimlist": queries}
    page = {name: np.array(texts, object)[None] for name, texts in cells.items()}
    savemat(root / "gnd_instre.mat", {**page, "gnd": table})


def met(root: pathlib.Path) -> None:
    base = [{"path": f"MET/{kind}/{take}.jpg", "id": kind} for kind in range(4) for take in (0, 1)]
    for one in base:
        draw(root / "images" / one["path"], one["id"], int(one["path"][-5]))
    asked = [{"path": f"test_met/{kind}.jpg", "MET_id": kind} for kind in range(3)]
    asked += [{"path": "test_other/a.jpg"}, {"path": "test_noart/b.jpg"}]
    for row, one in enumerate(asked):
        draw(root / "images" / one["path"], one.get("MET_id", 800 + row), 5)
    truth = root / "ground_truth"
    write_json(truth / "MET_database.json", base)
    write_json(truth / "mini_MET_database.json", base[:6])
    write_json(truth / "testset.json", asked)
    write_json(truth / "valset.json", asked[:1])


def ilias(root: pathlib.Path) -> None:
    queries, positives = [], []
    for kind, name in enumerate(("bold_bimp_000", "zippy_zoot_001")):
        box = f"{2} {3} {9} {9}"
        for take in range(1 + kind):
            queries.append(f"{name}/query/Q{kind:03d}_{take:02d}.jpg")
            draw(root / "ilias_core" / queries[-1], kind, take)
        for take in range(2):
            positives.append(f"{name}/pos/P{kind:03d}_{take:02d}.jpg")
            draw(root / "ilias_core" / positives[-1], kind, 10 + take)
        for one in [*queries, *positives]:
            path = root / "ilias_core" / one
            write_lines(path.with_name(f"{path.stem}_bbox.txt"), [box])
        write_lines(root / "ilias_core" / name / "query" / f"T{kind:03d}.txt", ["a thing"])
    ids = root / "image_ids"
    write_lines(ids / "image_query_ids.txt", [f"{one},0.5" for one in queries])
    write_lines(ids / "positive_ids.txt", [f"{one},0.31,7" for one in positives])
    write_lines(ids / "text_query_ids.txt", ["bold_bimp_000/query/T000.txt"])
    keys = [[f"{shard}a{number}" for number in range(3)] for shard in range(2)]
    for shard, names in enumerate(keys):
        members = {f"{name}.jpg": encode(600 + shard, row) for row, name in enumerate(names)}
        write_tar(root / "yfcc100m" / f"yfcc100m_{shard:05d}.tar", members)
    with gzip.open(ids / "distractor_ids.txt.gz", "wt") as file:
        file.writelines(f"{name}\n" for names in keys for name in names)
    write_lines(ids / "mini_ilias_yfcc100m_ids.txt", [names[0] for names in keys])


UNED = {
    "cars": ("train", "val", "test"),
    "inshop": ("train", "val", "test", "index"),
    "gldv2": ("train", "val", "test", "index"),
}


def uned(root: pathlib.Path) -> None:
    for domain, (name, splits) in enumerate(UNED.items()):
        for split in splits:
            rows = []
            for kind in range(2):
                for take in range(2):
                    path = f"{name}/{split}/{kind}_{take}.jpg"
                    draw(root / "images" / path, 10 * domain + kind, take + 7 * len(split))
                    many = name == "gldv2" and split == "test" and take == 1
                    rows.append({"path": path, "class_id": [kind, 5] if many else kind})
            write_json(root / "info_files" / name / f"{split}.json", rows)


def inat_retrieval(root: pathlib.Path) -> None:
    for split, kinds in (("train", (1, 2)), ("test", (3, 4))):
        names = [f"train_val2018/Plantae/{kind}/{take}a.jpg" for kind in kinds for take in (0, 1)]
        for name in names:
            draw(root / name, int(name.split("/")[2]), int(name[-6]))
        write_lines(root / "Inat_dataset_splits" / f"Inaturalist_{split}_set1.txt", names)


def inat_year(root: pathlib.Path, year: int) -> None:
    """Lists of a year of the challenge, in COCO's format."""
    suffix = "" if year == 2021 else str(year)
    for split, takes in (("train", (0, 1)), ("val", (2,))):
        folder = split if year == 2021 else f"train_val{year}"
        images, annotations = [], []
        for kind in range(2):
            for take in takes:
                number = len(images)
                name = f"{folder}/Aves/{kind}/{take}.jpg"
                draw(root / name, kind, take)
                images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
                annotations.append({"id": number, "image_id": number, "category_id": kind})
        page = {"images": images, "annotations": annotations, "categories": [], "info": {}}
        write_json(root / f"{split}{suffix}.json", page)


def coco(root: pathlib.Path) -> None:
    categories = [{"id": 18, "name": "dog"}, {"id": 44, "name": "bottle"}]
    for split, count in (("train2017", 3), ("val2017", 1)):
        images, annotations = [], []
        for number in range(count):
            name = f"{number:012d}.jpg"
            path = root / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            scene = Image.new("RGB", (2 * SIDE, SIDE))
            for place in range(2):
                scene.paste(toy.photo(place, number, SIDE), (place * SIDE, 0))
            scene.save(path, quality=95)
            images.append({"id": number, "file_name": name, "width": 2 * SIDE, "height": SIDE})
            boxes = [[0, 0, SIDE, SIDE], [SIDE, 0, SIDE, SIDE], [0, 0, 2, 2], [0, 0, 48, 24]]
            for place, box in enumerate(boxes):
                annotations.append(
                    {
                        "id": 10 * number + place,
                        "image_id": number,
                        "bbox": box,
                        "category_id": categories[place % 2]["id"],
                        "iscrowd": int(place == 3),
                    }
                )
        page = {"images": images, "annotations": annotations, "categories": categories}
        write_json(root / "annotations" / f"instances_{split}.json", page)


def image_folder(root: pathlib.Path) -> None:
    for split, takes in (("train", (0, 1)), ("test", (2,))):
        rows = ["file_name,label,text"]
        for kind in range(3):
            for take in takes:
                draw(root / split / "pets" / f"{kind}{take}.jpg", kind, take)
                rows.append(f"pets/{kind}{take}.jpg,kind{kind},a pet")
        write_lines(root / split / "metadata.csv", rows)


KAGGLE = {
    "humpback": ("Image,Id", "train/{name}", "{name},w_{kind}"),
    "shopee": (
        "posting_id,image,image_phash,title,label_group",
        "train_images/{name}",
        "train_{number},{name},94974f,Paper bag,{kind}",
    ),
    "hotel_id": (
        "image,chain,hotel_id,timestamp",
        "train_images/{kind}/{name}",
        "{name},{kind},{kind}00,2018-12-05 12:06:57",
    ),
    "sorghum": ("image,cultivar", "train_images/{name}", "{name},PI_{kind}"),
    "products": ("name,class,group", "train/{name}", "{name},{kind},0"),
}


def kaggle(root: pathlib.Path, contest: str) -> None:
    header, path, row = KAGGLE[contest]
    rows = [header]
    for number in range(9):
        told = {"name": f"{number}.jpg", "kind": number % 3, "number": number}
        draw(root / path.format(**told), number % 3, number)
        rows.append(row.format(**told))
    write_lines(root / "train.csv", rows)
