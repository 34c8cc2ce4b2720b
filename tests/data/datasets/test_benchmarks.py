"""Benchmarks as they are downloaded: tiny copies in the official form, found, read and refused."""

import collections
import json
import pathlib
import shutil

import numpy as np
import pytest

import official_copies as copies
from fastseek.data.datasets import _official_layouts
from fastseek.data.images import decode
from fastseek.data.own_images import spell_data_set
from fastseek.errors import DataError, UsageError
from fastseek.io.crop_locations import whole_image
from fastseek.protocols import tasks_of
from fastseek.registry import DATASETS, build

MAKERS = {**copies.COPIES, "cars_devkit": copies.cars_devkit, "msmt17_v2": copies.msmt17_v2}
PARTS = {"cars_devkit": "cars", "msmt17_v2": "msmt17"}
MORE = {"veri_wild": "size=3000"}
# Split -> images and classes of a copy.
EXPECTED = {
    "sop": {"train": (4, 2), "test": (4, 2)},
    "cub": {"train": (4, 2), "test": (4, 2)},
    "cars": {"train": (4, 2), "test": (4, 2)},
    "cars_devkit": {"train": (4, 2), "test": (4, 2)},
    "inshop": {"train": (6, 2), "query": (2, 2), "gallery": (4, 2)},
    "deep_fashion2": {"train": (2, 1), "query": (2, 2), "gallery": (8, 3)},
    "products10k": {"train": (4, 2), "query": (4, 2), "gallery": (4, 2)},
    "rp2k": {"train": (4, 2), "test": (4, 2)},
    "market": {"train": (8, 2), "query": (4, 2), "gallery": (9, 3)},
    "duke": {"train": (8, 2), "query": (4, 2), "gallery": (8, 2)},
    "cuhk03": {"train": (13, 2), "query": (4, 2), "gallery": (10, 2)},
    "cuhk03_np": {"train": (8, 2), "query": (4, 2), "gallery": (8, 2)},
    "veri776": {"train": (8, 2), "query": (4, 2), "gallery": (8, 2)},
    "vehicle_id": {"train": (6, 2), "test": (6, 2)},
    "veri_wild": {"train": (6, 2), "query": (2, 2), "gallery": (4, 2)},
    "msmt17": {"train": (2, 2), "query": (2, 2), "gallery": (2, 2)},
    "msmt17_v2": {"train": (2, 2), "query": (2, 2), "gallery": (2, 2)},
    "mars": {"train": (3, 2), "query": (2, 2), "gallery": (5, 3)},
}
KNOWN_FROM_TRAINING = ("products10k", "rp2k")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A function that makes a copy once for all tests that only read it."""
    made = {}

    def make(name):
        if name == "cuhk03":
            pytest.importorskip("h5py")
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / "copy"
            MAKERS[name](made[name])
        return made[name]

    return make


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))


def read(root, name, *more):
    options = ", ".join([repr(str(root)), *([MORE[name]] if name in MORE else []), *more])
    return build(f"{PARTS.get(name, name)}({options})", DATASETS)


def spoil(home, name, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(home(name), tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize("name", EXPECTED)
def test_a_benchmark_is_known_by_its_folder_and_read(home, name):
    root = home(name)
    part = PARTS.get(name, name)
    assert spell_data_set(root) == f"{part}({str(root)!r})"
    # An archive that unpacks to one folder may be named by the folder above.
    assert spell_data_set(root.parent) == f"{part}({str(root)!r})"
    found = read(root, name)
    per_split = collections.defaultdict(list)
    for item in found.items:
        per_split[item.split].append(item)
        assert pathlib.Path(whole_image(item.path)).is_file()
    counts = {
        split: (len(items), len({item.label for item in items}))
        for split, items in per_split.items()
    }
    assert counts == EXPECTED[name]
    for items in per_split.values():
        assert len({item.id for item in items}) == len(items)
    tested = {item.label for item in found.items if item.split in ("query", "test")}
    trained = {item.label for item in found.items if item.split == "train"}
    assert bool(tested & trained) == (name in KNOWN_FROM_TRAINING) and "" not in tested
    tasks = tasks_of(found)
    assert len(tasks) == (10 if name == "vehicle_id" else 1)
    for task in tasks:
        assert (np.diff(task.truth.relevant_starts) > 0).all() and task.metrics


def test_every_benchmark_that_is_known_by_its_folder_has_a_copy():
    assert {layout.part for layout in _official_layouts.READ} | {"duke"} == set(copies.COPIES)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("sop", "Stanford_Online_Products"), ("market", "market1501"), ("veri776", "VeRi")],
)
def test_a_benchmark_below_a_data_root_needs_no_name(home, name, folder, tmp_path, monkeypatch):
    (tmp_path / folder).symlink_to(home(name))
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path))
    assert build(name, DATASETS).root == str(tmp_path / folder)
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match=rf"not found: looked for a folder .*{folder}.* below"):
        build(name, DATASETS)


def test_a_folder_is_the_benchmark_that_lies_in_it(home):
    for name in ("cub", "market"):
        found = build(f"folder({str(home(name))!r})", DATASETS)
        assert found.items == read(home(name), name).items
        assert found.protocol == read(home(name), name).protocol
        with pytest.raises(UsageError, match="no meaning"):
            build(f"folder({str(home(name))!r}, query=0.5)", DATASETS)


def test_another_number_of_images_is_told_in_one_line_and_is_no_error(home, caplog):
    read(home("sop"), "sop")
    told = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert told == [
        "Stanford Online Products: not the published number of images: 4 train images instead of"
        " 59,551, 4 test images instead of 60,502"
    ]


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("sop", "Ebay_test.txt"),
        ("cub", "image_class_labels.txt"),
        ("cub", "classes.txt"),
        ("cub", "images"),
        ("cars_devkit", "cars_test_annos_withlabels.mat"),
        ("cars_devkit", "devkit/cars_meta.mat"),
        ("inshop", "Img"),
        ("deep_fashion2", "train/annos"),
        ("products10k", "train"),
        ("market", "query"),
        ("cuhk03", "cuhk03_new_protocol_config_labeled.mat"),
        ("veri776", "image_query"),
        ("vehicle_id", "train_test_split/test_list_800.txt"),
        ("veri_wild", "train_test_split/test_3000_query.txt"),
        ("msmt17", "list_gallery.txt"),
        ("mars", "info/query_IDX.mat"),
    ],
)
def test_a_missing_part_is_named_with_the_place_it_was_looked_for(home, name, gone, tmp_path):
    root = spoil(home, name, tmp_path)
    path = root / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError, match=path.name) as caught:
        read(root, name)
    assert str(root) in str(caught.value)


def test_images_that_are_not_there_are_refused_before_any_work(home, tmp_path):
    root = spoil(home, "cars", tmp_path)
    shutil.rmtree(root / "car_ims")
    with pytest.raises(DataError, match=r"car_ims/000001.jpg: a list names this image"):
        read(root, "cars")


@pytest.mark.parametrize("name", ["cub", "cars", "inshop"])
def test_with_boxes_an_image_is_what_its_box_holds(home, name):
    whole, cut = read(home(name), name), read(home(name), name, "boxes=True")
    assert [item.id for item in whole.items] == [item.id for item in cut.items]
    sizes = {"cub": (10, 8), "cars": (12, 12), "inshop": (12, 10)}
    assert decode(cut.items[0].path).size == sizes[name]
    assert decode(whole.items[0].path).size == (copies.SIDE, copies.SIDE)


def test_a_garment_of_deep_fashion2_is_an_item_and_one_without_a_pair_answers_nobody(home):
    items = read(home("deep_fashion2"), "deep_fashion2").items
    pairs = {(item.label, item.group, item.split) for item in items if item.label}
    assert pairs == {
        ("000001_1", "user", "train"),
        ("000001_1", "shop", "train"),
        ("000002_1", "user", "query"),
        ("000002_1", "shop", "gallery"),
        ("000003_1", "user", "query"),
        ("000003_1", "shop", "gallery"),
    }
    assert {item.split for item in items if not item.label} == {"gallery"}
    assert decode(items[0].path).size == (14, 12) and items[0].id.endswith("000001.jpg/item1")
    alone = read(home("deep_fashion2"), "deep_fashion2", "train=False").items
    assert [item for item in items if item.split != "train"] == list(alone)


def test_the_test_images_of_products10k_may_ask_one_another(home):
    items = read(home("products10k"), "products10k", "disjoint=True").items
    assert collections.Counter(item.split for item in items) == {"train": 4, "test": 4}


def test_cuhk03_has_twenty_test_sets_and_writes_its_images_once(home):
    found = read(home("cuhk03"), "cuhk03")
    written = pathlib.Path(found.items[0].path).stat().st_mtime_ns
    classic = read(home("cuhk03"), "cuhk03", "test_set=19")
    assert pathlib.Path(found.items[0].path).stat().st_mtime_ns == written
    assert len(tasks_of(classic)) == 10
    splits = collections.Counter((item.split, item.label) for item in classic.items)
    assert splits[("train", "1_001")] == 6 and splits[("query", "1_003")] == 5
    assert splits[("gallery", "1_003")] == 2
    assert {item.group for item in classic.items} == {"1", "2"}
    with pytest.raises(UsageError, match="0 to 19"):
        read(home("cuhk03"), "cuhk03", "test_set=20")


def test_without_h5py_the_extra_is_named(home, monkeypatch):
    root = home("cuhk03")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(UsageError, match=r"cuhk-03.mat is HDF5, .*pip install 'fastseek\[hdf5\]'"):
        read(root, "cuhk03")


def test_veri_is_read_by_its_lists_and_labels_and_else_by_its_names(home, tmp_path):
    root = spoil(home, "veri776", tmp_path)
    expected = [(item.id, item.label, item.group) for item in read(root, "veri776").items]
    for name in ("name_train.txt", "train_label.xml", "name_test.txt", "test_label.xml"):
        (root / name).unlink()
        found = [(item.id, item.label, item.group) for item in read(root, "veri776").items]
        assert found == expected
    lines = (root / "name_query.txt").read_text().split()
    copies.write_lines(root / "name_query.txt", lines[:1])
    counts = collections.Counter(item.split for item in read(root, "veri776").items)
    assert counts["query"] == 1 and counts["gallery"] == 8


def test_the_tracklets_of_mars_are_seen_in_as_many_images_as_asked(home):
    for frames, count in ((1, 1), (2, 2), (3, 3), (9, 3), (0, 3)):
        items = read(home("mars"), "mars", f"frames={frames}").items
        assert collections.Counter(item.split for item in items) == {
            "train": 3 * count,
            "query": 2 * count,
            "gallery": 5 * count,
        }
    assert not any("00-1" in item.id for item in items)


@pytest.mark.parametrize("size", [800, 13164])
def test_vehicle_id_has_a_list_a_size(home, size):
    items = read(home("vehicle_id"), "vehicle_id", f"size={size}").items
    assert len({item.label for item in items if item.split == "test"}) == (2 if size == 800 else 3)


@pytest.mark.parametrize("name", ["vehicle_id", "veri_wild"])
def test_a_size_that_is_not_published_is_refused(home, name):
    with pytest.raises(UsageError, match="size must be one of"):
        build(f"{name}({str(home(name))!r}, size=7)", DATASETS)


def test_msmt17_may_train_on_the_validation_too(home):
    items = read(home("msmt17"), "msmt17", "validation=True").items
    assert collections.Counter(item.split for item in items)["train"] == 4


def test_foreign_files_among_those_of_market_are_named_and_passed_over(home, tmp_path, caplog):
    root = spoil(home, "market", tmp_path)
    expected = list(read(root, "market").items)
    caplog.clear()
    copies.draw(root / "query/holiday.jpg", 1, 1)
    assert list(read(root, "market").items) == expected
    told = f"names its images otherwise (0002_c1s1_000451_03.jpg): {root}/query/holiday.jpg"
    assert f"1 files are passed over, as Market-1501 {told}" in caplog.text
    for path in (root / "query").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    with pytest.raises(DataError, match="query: no image is named as those of Market-1501"):
        read(root, "market")


def test_a_list_that_leads_out_of_the_folder_is_refused(home, tmp_path):
    root = spoil(home, "sop", tmp_path)
    lines = (root / "Ebay_test.txt").read_text().splitlines()
    copies.write_lines(root / "Ebay_test.txt", [*lines, "9 4 1 ../secret.jpg"])
    with pytest.raises(DataError, match="'../secret.jpg', which lies outside"):
        read(root, "sop")


def test_a_damaged_annotation_is_named(home, tmp_path):
    root = spoil(home, "deep_fashion2", tmp_path)
    path = root / "validation/annos/000001.json"
    for page in ({"pair_id": 1}, {"source": "moon", "pair_id": 1}, [1]):
        path.write_text(json.dumps(page))
        with pytest.raises(DataError, match=r"000001.json: not an annotation of DeepFashion2"):
            read(root, "deep_fashion2")
