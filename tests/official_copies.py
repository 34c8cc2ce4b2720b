"""Tiny made-up copies of benchmarks in the form their archives have: a few classes, images of a few
pixels.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from scipy.io import savemat

import toy

SIDE = 16  # pixels


def draw(path: pathlib.Path, kind: int, take: int) -> None:
    """Write an image of a class; two of one class look alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    toy.photo(kind, take, SIDE).save(path, "PNG" if path.suffix == ".png" else "JPEG")


def write_lines(path: pathlib.Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def sop(root: pathlib.Path) -> None:
    number = 0
    for split, classes in (("train", (1, 2)), ("test", (3, 4))):
        rows = ["image_id class_id super_class_id path"]
        for kind in classes:
            for take in range(2):
                number += 1
                name = f"bicycle_final/11108512287{kind}_{take}.JPG"
                rows.append(f"{number} {kind} 1 {name}")
                draw(root / name, kind, take)
        write_lines(root / f"Ebay_{split}.txt", rows)


def cub(root: pathlib.Path) -> None:
    classes = {1: "001.Albatross", 100: "100.Pelican", 101: "101.Pelican", 200: "200.Yellowthroat"}
    images, labels, boxes = [], [], []
    for kind, folder in classes.items():
        for take in range(2):
            number = len(images) + 1
            images.append(f"{number} {folder}/{folder[4:]}_{take}.jpg")
            labels.append(f"{number} {kind}")
            boxes.append(f"{number} 2.0 3.0 10.0 8.0")
            draw(root / "images" / images[-1].split()[1], kind, take)
    write_lines(root / "images.txt", images)
    write_lines(root / "image_class_labels.txt", labels)
    write_lines(root / "bounding_boxes.txt", boxes)
    write_lines(root / "classes.txt", [f"{kind} {folder}" for kind, folder in classes.items()])


CAR_NAMES = np.array([f"Maker Model {kind:03d}" for kind in range(1, 197)], object)
CAR_KINDS = (1, 98, 99, 196)


def _cars(names: Sequence[str], kinds: Sequence[int], field: str) -> np.ndarray:
    fields = [(field, object), *((side, object) for side in ("bbox_x1", "bbox_y1"))]
    fields += [("bbox_x2", object), ("bbox_y2", object), ("class", object)]
    table = np.zeros((1, len(names)), fields)
    for column, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        table[0, column] = (name, 1, 2, 13, 14, kind)
    return table


def cars(root: pathlib.Path) -> None:
    kinds = [kind for kind in CAR_KINDS for _ in range(2)]
    names = [f"car_ims/{number:06d}.jpg" for number in range(1, 1 + len(kinds))]
    for take, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        draw(root / name, kind, take % 2)
    table = _cars(names, kinds, "relative_im_path")
    savemat(root / "cars_annos.mat", {"annotations": table, "class_names": CAR_NAMES[None]})


def cars_devkit(root: pathlib.Path) -> None:
    (root / "devkit").mkdir(parents=True)
    savemat(root / "devkit/cars_meta.mat", {"class_names": CAR_NAMES[None]})
    files = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}
    for take, (split, file) in enumerate(files.items()):
        names = [f"{number:05d}.jpg" for number in range(1, 1 + len(CAR_KINDS))]
        for name, kind in zip(names, CAR_KINDS, strict=True):
            draw(root / f"cars_{split}" / name, kind, take)
        savemat(root / file, {"annotations": _cars(names, CAR_KINDS, "fname")})


def inshop(root: pathlib.Path) -> None:
    rows, boxes = [], []
    for kind in range(1, 5):
        item = f"id_{kind:08d}"
        for take in range(3):
            name = f"img/WOMEN/Dresses/{item}/0{take + 1}_1_front.jpg"
            state = "train" if kind < 3 else ("query", "gallery", "gallery")[take]
            rows.append(f"{name:<60} {item} {state}")
            boxes.append(f"{name} 3 1 002 003 014 013")
            draw(root / "Img" / name, kind, take)
    head = [str(len(rows)), "image_name item_id evaluation_status"]
    write_lines(root / "Eval/list_eval_partition.txt", head + rows)
    head = [str(len(rows)), "image_name clothes_type pose_type x_1 y_1 x_2 y_2"]
    write_lines(root / "Anno/list_bbox_inshop.txt", head + boxes)


def deep_fashion2(root: pathlib.Path) -> None:
    number = dict.fromkeys(("train", "validation"), 0)
    for pair in (1, 2, 3):
        part = "train" if pair == 1 else "validation"
        for source, style in (("user", 1), ("shop", 1), ("shop", 0)):
            number[part] += 1
            page = {"source": source, "pair_id": pair}
            for item, kind in ((1, style), (2, 0)):
                box = [1, 2, 15, 14] if item == 1 else [2, 2, 12, 12]
                page[f"item{item}"] = {"style": kind, "bounding_box": box, "category_id": 1}
            stem = f"{number[part]:06d}"
            draw(root / part / "image" / f"{stem}.jpg", pair if style else 9, number[part])
            write_lines(root / part / "annos" / f"{stem}.json", [json.dumps(page)])


def products10k(root: pathlib.Path) -> None:
    train, test = ["name,class,group"], ["name,class,Usage"]
    for kind in (5, 7):
        for take in range(2):
            train.append(f"{kind}{take}.jpg,{kind},1")
            test.append(f"9{kind}{take}.jpg,{kind},Public")
            draw(root / "train" / f"{kind}{take}.jpg", kind, take)
            draw(root / "test" / f"9{kind}{take}.jpg", kind, take + 5)
    write_lines(root / "train.csv", train)
    write_lines(root / "test_kaggletest.csv", test)


def rp2k(root: pathlib.Path) -> None:
    for kind in (1, 2):
        for take in range(2):
            draw(root / f"all/train/茶{kind}/{take}.jpg", kind, take)
            draw(root / f"all/test/茶{kind}/9{take}.jpg", kind, take + 5)


def _reid(root: pathlib.Path, folders: Sequence[str], name: str) -> None:
    """Two persons that train and two of the test, before two cameras."""
    for folder, persons in zip(folders, ((2, 7), (10, 11), (10, 11)), strict=True):
        query = folder == folders[1]
        for person in persons:
            for camera in (1, 2):
                for take in range(1 if query else 2):
                    file = name.format(person=person, camera=camera, take=10 * query + take)
                    draw(root / folder / file, person, 10 * camera + 5 * query + take)


MARKET = ("bounding_box_train", "query", "bounding_box_test")


def market(root: pathlib.Path) -> None:
    _reid(root, MARKET, "{person:04d}_c{camera}s1_{take:06d}_01.jpg")
    draw(root / "bounding_box_test/0000_c1s1_000801_01.jpg", 90, 0)
    draw(root / "bounding_box_test/-1_c1s1_000401_03.jpg", 91, 0)


def duke(root: pathlib.Path) -> None:
    _reid(root, MARKET, "{person:04d}_c{camera}_f{take:07d}.jpg")


def cuhk03_np(root: pathlib.Path) -> None:
    for kind in ("labeled", "detected"):
        _reid(root / kind, MARKET, "{person:04d}_c{camera}_{take}.png")


def veri776(root: pathlib.Path) -> None:
    folders = ("image_train", "image_query", "image_test")
    _reid(root, folders, "{person:04d}_c{camera:03d}_{take:08d}_0.jpg")
    for folder, split in zip(folders, ("train", "query", "test"), strict=True):
        names = sorted(path.name for path in (root / folder).iterdir())
        write_lines(root / f"name_{split}.txt", names)
    for split, parts in (("train", ("train",)), ("test", ("query", "test"))):
        names = [name for part in parts for name in (root / f"name_{part}.txt").read_text().split()]
        items = "".join(
            f'<Item imageName="{name}" vehicleID="{name[:4]}" cameraID="{name[5:9]}" colorID="1"'
            ' typeID="4" />'
            for name in names
        )
        text = f'<?xml version="1.0" encoding="gb2312"?><Images><Items 类="车">{items}</Items></Images>'
        (root / f"{split}_label.xml").write_bytes(text.encode("gb2312"))


def vehicle_id(root: pathlib.Path) -> None:
    lists = {"train_list": (1, 2), "test_list_800": (3, 4), "test_list_13164": (3, 4, 5)}
    for name, vehicles in lists.items():
        rows = [(f"{10 * kind + take:07d}", kind, take) for kind in vehicles for take in range(3)]
        write_lines(root / f"train_test_split/{name}.txt", [f"{row[0]} {row[1]}" for row in rows])
        for image, kind, take in rows:
            draw(root / "image" / f"{image}.jpg", kind, take)


def veri_wild(root: pathlib.Path) -> None:
    info = ["id/image;Camera ID;Time;Model;Type;Color"]
    rows: dict[str, list[str]] = {"train_list": [], "test_3000_query": [], "test_3000": []}
    for kind in (1, 2, 3, 4):
        for take in range(3):
            name = f"{kind:05d}/{10 * kind + take:06d}"
            info.append(f"{name};{take + 1};2018-03-11 00:00:00;Audi;SUV;white")
            part = "train_list" if kind < 3 else "test_3000_query" if take == 0 else "test_3000"
            rows[part].append(f"{name}.jpg")
            draw(root / "images" / f"{name}.jpg", kind, take)
    write_lines(root / "train_test_split/vehicle_info.txt", info)
    for part, lines in rows.items():
        write_lines(root / f"train_test_split/{part}.txt", lines)


def msmt17(root: pathlib.Path, folders: Sequence[str] = ("train", "test")) -> None:
    rows: dict[str, list[str]] = {"train": [], "val": [], "query": [], "gallery": []}
    for folder in folders:
        for person in (0, 1):
            for camera in (1, 2):
                name = f"{person:04d}/{person:04d}_00{camera}_{camera:02d}_0303morning_0015_0.jpg"
                tested = folder == folders[1]
                part = (("train", "val"), ("query", "gallery"))[tested][camera - 1]
                rows[part].append(f"{name} {person}")
                draw(root / folder / name, 2 * person + tested, camera)
    for part, lines in rows.items():
        write_lines(root / f"list_{part}.txt", lines)


def msmt17_v2(root: pathlib.Path) -> None:
    msmt17(root, ("mask_train_v2", "mask_test_v2"))


def mars(root: pathlib.Path) -> None:
    tracks = {
        "train": [("0001", 1), ("0001", 2), ("0003", 1)],
        "test": [("0002", 1), ("0002", 2), ("0004", 1), ("0004", 2), ("0000", 1), ("00-1", 1)],
    }
    for part, rows in tracks.items():
        names, table = [], []
        for number, (person, camera) in enumerate(rows, 1):
            table.append([len(names) + 1, len(names) + 3, int(person.replace("00-", "-")), camera])
            for frame in range(1, 4):
                names.append(f"{person}C{camera}T{number:04d}F{frame:03d}.jpg")
                draw(root / f"bbox_{part}" / person / names[-1], table[-1][2] + 1, frame)
        write_lines(root / f"info/{part}_name.txt", names)
        found = {f"track_{part}_info": np.array(table, float)}
        savemat(root / f"info/tracks_{part}_info.mat", found)
    savemat(root / "info/query_IDX.mat", {"query_IDX": np.array([[1, 3]])})


def cuhk03(root: pathlib.Path) -> None:
    """Needs h5py. Persons 1 and 2 train, 3 and 4 are the test; person 1 lacks an image."""
    import h5py

    (root / "cuhk03_release").mkdir(parents=True)
    with h5py.File(root / "cuhk03_release/cuhk-03.mat", "w", userblock_size=512) as mat:

        def refer(values: np.ndarray) -> h5py.Reference:
            return mat.create_dataset(f"#refs#/{len(mat['#refs#'])}", data=values).ref

        mat.create_group("#refs#")
        for kind in ("labeled", "detected"):
            people = np.zeros((10, 4), h5py.ref_dtype)
            for number in range(10):
                for person in range(4):
                    image = np.asarray(toy.photo(person, number, SIDE)).T
                    gone = number > 6 or (person, number) == (0, 1)
                    people[number, person] = refer(np.zeros(2, np.uint64) if gone else image)
            mat[kind] = np.array([[refer(people)]], h5py.ref_dtype)
        tests = [refer(np.array([[1, 1], [3, 4]], float)) for _ in range(20)]
        mat["testsets"] = np.array([tests], h5py.ref_dtype)
    names = [
        f"1_{person:03d}_{1 + (number > 5)}_{number:02d}.png"
        for person in range(1, 5)
        for number in range(1, 8)
        if (person, number) != (1, 2)
    ]

    def person_of(name: str) -> int:
        return int(name[2:5])

    asked = [name for name in names if person_of(name) > 2 and name[-6:-4] in ("01", "06")]
    rows = {
        "train": [name for name in names if person_of(name) < 3],
        "query": asked,
        "gallery": [name for name in names if person_of(name) > 2 and name not in asked],
    }
    found = {
        f"{split}_idx": np.array([[names.index(name) + 1] for name in some])
        for split, some in rows.items()
    }
    cells = np.array(names, object)[:, None]
    for kind in ("labeled", "detected"):
        table = {
            **found,
            "labels": np.array([[person_of(name)] for name in names]),
            "filelist": cells,
        }
        savemat(root / f"cuhk03_new_protocol_config_{kind}.mat", table)


COPIES: dict[str, Callable[[pathlib.Path], None]] = {
    "sop": sop,
    "cub": cub,
    "cars": cars,
    "inshop": inshop,
    "deep_fashion2": deep_fashion2,
    "products10k": products10k,
    "rp2k": rp2k,
    "market": market,
    "duke": duke,
    "cuhk03": cuhk03,
    "cuhk03_np": cuhk03_np,
    "veri776": veri776,
    "vehicle_id": vehicle_id,
    "veri_wild": veri_wild,
    "msmt17": msmt17,
    "mars": mars,
}
