"""Laws of the bridge: fast-reid's data sets as items, ours for fast-reid."""

import logging
import random
import shutil
import sys

import numpy as np
import pytest

import official_copies
import toy
from fastseek.data import fastreid_datasets
from fastseek.data.fastreid_datasets import resolve
from fastseek.data.label_index import TrainSet
from fastseek.errors import DataError, UsageError
from fastseek.registry import DATASETS, Registry, build

from fastreid.data.common import CommDataset
from fastreid.data.datasets import DATASET_REGISTRY


@pytest.fixture
def market(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path))
    return toy.market(tmp_path)


@pytest.fixture
def own(toy_root, monkeypatch):
    """A data set of ours with a name and no arguments, as Grocery has."""

    class OwnPhotos:
        def __init__(self, fine: bool = True) -> None:
            self.items = build(f"folder({str(toy_root)!r})", DATASETS).items

    private = Registry("dataset", "")
    private.register(OwnPhotos)
    monkeypatch.setattr(fastreid_datasets, "DATASETS", private)
    fastreid_datasets._register_ours()
    yield "OwnPhotos"
    del DATASET_REGISTRY._obj_map["OwnPhotos"]


def test_fast_reids_data_sets_become_items(cfg, market):
    items = resolve("Market1501")
    theirs = DATASET_REGISTRY.get("Market1501")(root=str(market))
    for split in ("train", "query", "gallery"):
        mine = {(item.path, item.label, item.group) for item in items if item.split == split}
        assert mine == {(path, str(pid), str(camid)) for path, pid, camid in getattr(theirs, split)}
    assert all(str(market / item.id) == item.path for item in items)
    assert [item.path for item in items if item.split == "train"] == sorted(
        path for path, *_ in theirs.train
    )


def test_classes_have_the_codes_fast_reid_gives_them(cfg, market):
    items = [item for item in resolve("Market1501") if item.split == "train"]
    mine, theirs = (
        TrainSet(items),
        CommDataset([(item.path, item.label, item.group) for item in items]),
    )
    assert mine.classes == theirs.pids and mine.cameras == theirs.cams
    assert mine.labels.tolist() == [theirs.pid_dict[item.label] for item in items]
    assert mine.groups.tolist() == [theirs.cam_dict[item.group] for item in items]
    assert (mine.num_classes, mine.num_cameras) == (theirs.num_classes, theirs.num_cameras)


def test_the_root_is_asked_for_when_it_is_needed(cfg, market, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path / "empty"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="FASTREID_DATASETS"):
        resolve("Market1501")
    monkeypatch.setenv("FASTREID_DATASETS", str(market))
    assert resolve("Market1501")


def test_combineall_trains_on_everything_as_fast_reid_does(cfg, market):
    theirs = DATASET_REGISTRY.get("Market1501")(root=str(market), combineall=True)
    mine = {
        (item.path, item.label)
        for item in resolve("Market1501", combine_all=True)
        if item.split == "train"
    }
    assert mine == {(path, str(pid)) for path, pid, _ in theirs.train}
    assert any("_test_" in label for _, label in mine)


def test_combineall_adds_our_own_images_once(cfg):
    before = resolve(cfg.DATASETS.NAMES[0])
    after = resolve(cfg.DATASETS.NAMES[0], combine_all=True)
    trained = [item.id for item in after if item.split == "train"]
    assert len(trained) == len(set(trained)) == len({item.id for item in before})
    assert [item for item in after if item.split != "train"] == [
        item for item in before if item.split != "train"
    ]


@pytest.mark.parametrize(
    "name", ["folder({!r})", "Folder({!r})", "folder(root={!r})", " folder({!r}) "]
)
def test_our_names_may_be_written_as_class_or_recipe_name(cfg, toy_root, name):
    assert resolve(name.format(str(toy_root))) == resolve(cfg.DATASETS.NAMES[0])


@pytest.mark.parametrize("name", ["Market1502", "nothing()", "folder(", "folder()", ""])
def test_a_name_nobody_knows_is_refused(cfg, name):
    with pytest.raises(UsageError):
        resolve(name)


def test_what_is_known_is_listed(cfg):
    with pytest.raises(UsageError, match="grocery.*Market1501"):
        resolve("Marked")


@pytest.mark.parametrize("name", ["Grocery", "Landmarks", "Folder", "Manifest"])
def test_stock_fast_reid_knows_our_data_sets(name):
    assert DATASET_REGISTRY.get(name).__name__ == name


def test_stock_fast_reid_can_train_and_test_on_them(own):
    data = DATASET_REGISTRY.get(own)(root="anywhere", combineall=False)
    train = CommDataset(data.train, relabel=True)
    assert (len(train), train.num_classes) == (48, 8) and train[0]["targets"] == 0
    assert all(
        isinstance(pid, int) and isinstance(camid, int)
        for _, pid, camid in data.query + data.gallery
    )
    assert {pid for _, pid, _ in data.query} == {pid for _, pid, _ in data.gallery} == set(range(8))
    # the camera rule drops matches of one camera, so the two sides must not share one
    assert not {camid for _, _, camid in data.query} & {camid for _, _, camid in data.gallery}
    assert {pid for _, pid, _ in data.train} == {
        f"own_photos_class_{label:02d}" for label in range(8)
    }
    data.show_train(), data.show_test()


def test_a_chance_split_is_the_same_every_time_and_uses_up_no_ones_chance(cfg, market, monkeypatch):
    class Drawn(DATASET_REGISTRY.get("Market1501")):
        def __init__(self, **options):
            super().__init__(**options)
            both = sorted(self.query + self.gallery)
            random.shuffle(both)
            self._query, self._gallery = both[:9], both[9:]

    monkeypatch.setitem(DATASET_REGISTRY._obj_map, "Drawn", Drawn)
    state = random.getstate()
    first = resolve("Drawn")
    assert random.getstate() == state
    random.seed(5)
    np.random.seed(5)
    assert resolve("Drawn") == first


def test_F19_the_working_folder_gives_no_data(market, tmp_path, monkeypatch):
    """fast-reid's own default is the folder `datasets` of the working folder."""
    monkeypatch.delenv("FASTREID_DATASETS")
    monkeypatch.delenv("FASTSEEK_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "datasets").symlink_to(market)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(DataError, match=f"such as {tmp_path}/here/datasets"):
        resolve("Market1501")


def test_F19_the_root_that_was_used_is_told(market, caplog):
    with caplog.at_level(logging.INFO):
        resolve("Market1501")
    assert f"read below {market}" in caplog.text


def test_F46_a_broken_data_set_is_an_error_and_no_reason_to_take_the_next_root(
    market, tmp_path, monkeypatch
):
    broken = tmp_path / "broken"
    shutil.copytree(market / "Market-1501-v15.09.15", broken / "Market-1501-v15.09.15")
    shutil.rmtree(broken / "Market-1501-v15.09.15" / "query")
    monkeypatch.setenv("FASTREID_DATASETS", str(broken))
    monkeypatch.setenv("FASTSEEK_DATA", str(market))
    with pytest.raises(DataError, match="broken.*query.* is not found"):
        resolve("Market1501")
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path / "nothing"))
    assert resolve("Market1501")


@pytest.mark.parametrize(
    "name", ["holiday.jpg", "1502_c1s1_000001_00.jpg", "0002_c7s1_000001_00.jpg"]
)
def test_F26_a_foreign_name_in_markets_layout_is_one_line_that_names_it(market, name):
    home = market / "Market-1501-v15.09.15" / "bounding_box_train"
    (home / name).write_bytes(b"x")
    with pytest.raises(DataError, match=f"^Market1501: .*{name} cannot be read") as caught:
        resolve("Market1501")
    assert "\n" not in str(caught.value)


def test_F26_msmt17_is_looked_for_in_every_root(tmp_path, monkeypatch):
    home = tmp_path / "second" / "MSMT17_V1"
    for split in ("train", "val", "query", "gallery"):
        folder = "test" if split in ("query", "gallery") else "train"
        (home / folder / "0000").mkdir(parents=True, exist_ok=True)
        (home / f"list_{split}.txt").write_text("0000/0000_000_01_0303morning_0008_0.jpg 0\n")
    (tmp_path / "first").mkdir()
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path / "first"))
    monkeypatch.setenv("FASTSEEK_DATA", str(tmp_path / "second"))
    assert {item.split for item in resolve("MSMT17")} == {"train", "query", "gallery"}
    monkeypatch.setenv("FASTSEEK_DATA", str(tmp_path / "first"))
    with pytest.raises(DataError, match="MSMT17: its files were not found"):
        resolve("MSMT17")


def test_F26_cuhk03_without_h5py_says_what_to_install(tmp_path, monkeypatch):
    home = tmp_path / "cuhk03"
    (home / "cuhk03_release").mkdir(parents=True)
    for name in (
        "cuhk03_release/cuhk-03.mat",
        *(f"cuhk03_new_protocol_config_{kind}.mat" for kind in ("detected", "labeled")),
    ):
        (home / name).write_bytes(b"x")
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match="CUHK03: .* pip install h5py"):
        resolve("CUHK03")


def test_F33_a_folder_that_is_only_spelled_otherwise_is_named(tmp_path, monkeypatch):
    (tmp_path / "VeRi" / "image_train").mkdir(parents=True)
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path))
    told = rf"{tmp_path}/VeRi is there: rename it to veri.*downloaded is read by veri776\("
    with pytest.raises(DataError, match=told):
        resolve("VeRi")


def test_what_reads_a_set_of_fast_reids_as_downloaded_is_there():
    theirs = fastreid_datasets.AS_DOWNLOADED
    assert set(theirs) <= set(DATASET_REGISTRY._obj_map)
    assert all(name in DATASETS for name in theirs.values())


def test_test_images_that_ask_one_another_do_so_here_and_under_fast_reid(tmp_path, monkeypatch):
    official_copies.sop(tmp_path / "SOP")
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path))
    found = build("sop", DATASETS).items
    tested = sorted(item.id for item in found if item.split == "test")
    for side in ("query", "gallery"):
        assert [item.id for item in resolve("sop") if item.split == side] == tested
    theirs = DATASET_REGISTRY.get("Sop")()
    rows = list(zip(theirs.query, theirs.gallery, strict=True))
    assert len(theirs.train) == 4 and len(rows) == 4
    # Its rule of cameras takes out what has the query's person and camera: the query alone.
    for asked, _ in rows:
        hidden = [one for _, one in rows if one[1:] == asked[1:]]
        right = [one for _, one in rows if one[1] == asked[1] and one not in hidden]
        assert [one[0] for one in hidden] == [asked[0]] and len(right) == 1
