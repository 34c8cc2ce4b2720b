"""What a batch tells beside its images: places, and crops by boxes."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from fastseek.data.builders import build_test_loader, build_train_loader
from fastseek.data.crops.boxes import Boxes
from fastseek.data.datasets.manifest import Manifest
from fastseek.data.torch_datasets import cut_box
from fastseek.errors import DataError, UsageError
from fastseek.registry import CROPS, build
from fastseek.structures import Item, with_split

SHARES = {"0000": (0.25, 0.25, 0.75, 0.75), "0001": (0.0, 0.5, 1.0, 1.0)}


@pytest.fixture
def table(toy_root):
    """A manifest of the small gallery; every other image tells its place."""
    path = toy_root / "places.csv"
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split", "lat", "lon", "date", "location_uncertainty"])
        for split in ("train", "query", "gallery"):
            for number, photo in enumerate(sorted((toy_root / split).rglob("*.jpg"))):
                told = [number / 2, -number, "2021-01-02", 7] if number % 2 else ["", "", "", ""]
                rows.writerow(
                    [photo.relative_to(toy_root).as_posix(), photo.parent.name, split, *told]
                )
    return path


@pytest.fixture
def boxes(toy_root):
    """A file in COCO's format: images 0000 and 0001 of every class have boxes, 0002 an unsure one,
    others none.
    """
    page = {"images": [], "annotations": []}
    for number, photo in enumerate(sorted((toy_root / "train").rglob("*.jpg"))):
        page["images"].append(
            {"id": number, "file_name": "/".join(photo.parts[-2:]), "width": 32, "height": 32}
        )
        for score in (0.31, 0.9, 0.6):
            left, top, right, bottom = SHARES.get(photo.stem, (0, 0, 0.1, 0.1))
            box = [32 * left, 32 * top, 32 * (right - left), 32 * (bottom - top)]
            if photo.stem in SHARES:
                box = box if score == 0.9 else [0, 0, 3, 3]
                page["annotations"].append({"image_id": number, "bbox": box, "score": score})
        if photo.stem == "0002":
            page["annotations"].append({"image_id": number, "bbox": [0, 0, 3, 3], "score": 0.29})
    path = toy_root / "boxes.json"
    path.write_text(json.dumps(page))
    return path


def test_places_reach_the_batches_of_training_and_test_row_by_row(cfg, table):
    """finegrained row 74."""
    cfg.DATASETS.NAMES = (f"manifest('{table}')",)
    items = Manifest(str(table)).items
    told = {item.id: item.meta for item in items}
    batches = [batch for batch, _ in zip(build_train_loader(cfg), range(4), strict=False)]
    batches += list(build_test_loader(cfg, items, runs=[range(3, len(items))]))
    seen = 0
    for batch in batches:
        assert (
            batch["places"].shape == (len(batch["ids"]), 4)
            and batch["places"].dtype == torch.float32
        )
        for name, row in zip(batch["ids"], batch["places"].tolist(), strict=True):
            meta = told[name]
            expected = (
                [float(meta["lat"]), float(meta["lon"]), 1 / 365, 7]
                if meta["lat"]
                else [math.nan] * 4
            )
            assert row == pytest.approx(expected, nan_ok=True)
            seen += meta["lat"] != ""
    assert seen > 20


def test_a_batch_has_neither_places_nor_crops_where_none_are_known(cfg):
    loader = build_train_loader(cfg)
    assert not {"places", "crops"} & set(next(iter(loader)))
    assert not {"places", "crops"} & set(
        next(iter(build_test_loader(cfg, with_split(loader.dataset.items, "train"))))
    )


def test_F54_a_training_tells_how_many_images_have_a_place_where_a_branch_asks_for_it(
    cfg, table, caplog
):
    with caplog.at_level("INFO"):
        build_train_loader(cfg)
        assert "a place" not in caplog.text
        cfg.SEEK.BRANCHES = ["two_stream(of=\"geo(on='s4')\")"]
        build_train_loader(cfg)
    found = [one for one in caplog.records if "a place" in one.getMessage()]
    assert [one.levelname for one in found] == ["WARNING"] and "0 of 48" in caplog.text
    caplog.clear()
    cfg.DATASETS.NAMES = (f"manifest('{table}')",)
    with caplog.at_level("INFO"):
        items = build_train_loader(cfg).dataset.items
    placed = sum(item.meta["lat"] != "" for item in items)
    assert f"{placed} of {len(items)} training images have a place, {placed} a date" in caplog.text


def test_a_wrong_place_in_a_manifest_names_file_and_line(tmp_path):
    (tmp_path / "t.csv").write_text("path,lat,lon\na.jpg,1,2\nb.jpg,95,2\n")
    with pytest.raises(DataError, match=r"t\.csv:3: lat is '95'; expected -90 to 90"):
        Manifest(str(tmp_path / "t.csv"))


def test_crops_are_the_best_boxes_through_the_same_transforms(cfg, toy_root, boxes):
    """finegrained row 77."""
    cfg.SEEK.CROPS = f"boxes(file='{boxes}', margin=0.0)"
    loader = build_train_loader(cfg)
    found = list(build_test_loader(cfg, loader.dataset.items))
    for batch in found:
        assert batch["crops"].shape == batch["images"].shape
        for path, image, crop in zip(
            batch["img_paths"], batch["images"], batch["crops"], strict=True
        ):
            box = SHARES.get(path[-8:-4])
            if box is None:
                assert torch.equal(image, crop)
            else:
                inside = Image.open(path).convert("RGB").crop([round(32 * side) for side in box])
                expected = np.asarray(inside.resize((24, 24), Image.Resampling.BICUBIC)).mean(
                    (0, 1)
                )
                assert crop.mean((1, 2)).numpy() == pytest.approx(expected, abs=2)
    assert {path[-8:-4] for batch in found for path in batch["img_paths"]} > set(SHARES)
    for _, batch in zip(range(4), loader, strict=False):
        assert batch["crops"].shape == batch["images"].shape
        whole = torch.tensor([path[-8:-4] not in SHARES for path in batch["img_paths"]])
        assert torch.equal(
            batch["images"][whole], batch["crops"][whole]
        )  # the same draws, flip and cutout too
        assert not torch.equal(batch["images"][~whole], batch["crops"][~whole])


def test_an_image_and_its_crop_are_augmented_by_the_same_draws(cfg, tmp_path):
    """An image that is its own mirror image but for one side tells which way it was flipped."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, 16:] = 255
    for split in ("train", "query", "gallery"):
        (tmp_path / split / "a").mkdir(parents=True)
        for number in range(16):
            Image.fromarray(pixels).save(tmp_path / split / "a" / f"{number}.png")
    rows = "".join(f"train/a/{n}.png,a,0 0.25 1 1\n" for n in range(16))
    (tmp_path / "t.csv").write_text("path,label,box\n" + rows)
    cfg.DATASETS.NAMES = (f"manifest('{tmp_path / 't.csv'}')",)
    cfg.SEEK.TRAIN, cfg.SEEK.CROPS = ["resize(24)", "hflip(0.5)"], "boxes()"
    batch = next(iter(build_train_loader(cfg)))
    sides = [(images[:, 0, 0, -1] > 128).tolist() for images in (batch["images"], batch["crops"])]
    assert sides[0] == sides[1] and set(sides[0]) == {True, False}


def test_a_box_grows_by_its_margin_and_stays_inside():
    """finegrained row 77: 10 % on every side."""
    item = Item("a.jpg", meta={"box": "0.2 0.05 0.6 0.45"})
    assert Boxes(margin=0.1)([item])[0].tolist() == pytest.approx([0.16, 0.01, 0.64, 0.49])
    assert Boxes(margin=0.5)([item])[0].tolist() == pytest.approx([0.0, 0.0, 0.8, 0.65])
    image = Image.fromarray(np.zeros((50, 100, 3), np.uint8))
    assert cut_box(image, np.array([0.155, 0.01, 0.641, 0.49])).size == (50, 25)
    assert cut_box(image, np.array([0.999, 0.999, 1.0, 1.0])).size == (1, 1)


def test_unsure_boxes_and_images_without_any_are_whole(boxes, toy_root):
    """finegrained row 77: below score 0.3 the whole image."""
    items = [Item(str(toy_root / "train" / "class_00" / f"{n:04d}.jpg")) for n in range(4)]
    found = Boxes(str(boxes), margin=0)(items)
    assert found[:2].tolist() == [pytest.approx(SHARES["0000"]), pytest.approx(SHARES["0001"])]
    assert np.isnan(found[2:]).all()
    assert not np.isnan(Boxes(str(boxes), score=0.29)(items)[2]).any()
    assert np.isnan(Boxes(str(boxes), score=0.95)(items)).all()


def test_a_box_found_by_id_or_by_any_end_of_the_path(tmp_path):
    page = {
        "images": [{"id": 1, "file_name": "x/b.jpg", "width": 10, "height": 20}],
        "annotations": [{"image_id": 1, "bbox": [1, 2, 5, 10]}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(page))
    part = build(f"boxes(file={str(tmp_path / 'boxes.json')!r}, margin=0)", CROPS)
    found = part(
        [Item("/far/x/b.jpg"), Item("q.jpg", id="x/b.jpg"), Item("/far/y/b.jpg"), Item("xx/b.jpg")]
    )
    assert np.isnan(found[:, 0]).tolist() == [False, False, True, True]
    assert found[0].tolist() == pytest.approx([0.1, 0.1, 0.6, 0.6]) and len(part.digest) == 64


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ({"images": []}, "COCO"),
        ([], "COCO"),
        ({"images": [{"id": 1}], "annotations": []}, "COCO"),
        (
            {
                "images": [{"id": 1, "file_name": "a", "width": 4, "height": 4}],
                "annotations": [{"image_id": 1, "bbox": [5, 0, 2, 2]}],
            },
            "no area",
        ),
        (
            {
                "images": [{"id": 1, "file_name": "a", "width": 4, "height": 4}],
                "annotations": [{"image_id": 2, "bbox": [0, 0, 2, 2]}],
            },
            "COCO",
        ),
    ],
)
def test_a_damaged_file_of_boxes_is_told(tmp_path, page, says):
    (tmp_path / "boxes.json").write_text(json.dumps(page))
    with pytest.raises(DataError, match=says):
        Boxes(str(tmp_path / "boxes.json"))([Item("a")])


def test_training_with_boxes_of_other_images_or_with_a_cache_is_refused(cfg, tmp_path):
    page = {
        "images": [{"id": 1, "file_name": "a", "width": 4, "height": 4}],
        "annotations": [{"image_id": 1, "bbox": [0, 0, 2, 2]}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(page))
    cfg.SEEK.CROPS = f"boxes(file='{tmp_path / 'boxes.json'}')"
    with pytest.raises(DataError, match="none of 48 training images has a box"):
        build_train_loader(cfg)
    cfg.SEEK.CACHE = str(tmp_path / "cache")
    with pytest.raises(UsageError, match=r"SEEK\.CACHE"):
        build_train_loader(cfg)


@pytest.mark.parametrize("call", ["boxes(margin=-0.1)", "boxes(score=2)", "boxes(size=3)"])
def test_settings_that_cannot_be_are_usage_errors(call):
    with pytest.raises(UsageError):
        build(call, CROPS)


def test_a_box_that_is_none_is_named():
    with pytest.raises(DataError, match="four shares"):
        Boxes()([Item("a", meta={"box": "1 2 3"})])
    with pytest.raises(DataError, match="no area"):
        Boxes()([Item("a", meta={"box": (0.5, 0.5, 0.5, 0.6)})])


def test_F11_boxes_that_nothing_uses_are_told(cfg, toy_root, tmp_path, caplog):
    path = toy_root / "boxed.csv"
    path.write_text(
        "path,label,box\n"
        + "".join(
            f"{image.relative_to(toy_root)},{image.parent.name},{'0 0 1 0.5' if row else ''}\n"
            for row, image in enumerate(sorted((toy_root / "train").rglob("*.jpg")))
        )
    )
    cfg.DATASETS.NAMES = (f"manifest({str(path)!r})",)
    build_train_loader(cfg)
    assert "47 of 48 images have a box that nothing uses" in caplog.text
    caplog.clear()
    cfg.SEEK.CROPS = "boxes()"
    build_train_loader(cfg)
    assert "nothing uses" not in caplog.text
