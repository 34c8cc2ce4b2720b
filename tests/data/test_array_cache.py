"""A cache changes nothing but the time it takes, and refuses what it was not made of."""

import json
import os
import pickle
import shutil
import threading

import numpy as np
import pytest
import torch

import toy
from fastseek.data import image_cache
from fastseek.data.builders import build_test_loader, build_train_loader
from fastseek.data.image_cache import ArrayCache, cache_images, split_fixed
from fastseek.data.images import BadImage, decode
from fastseek.data.transforms._pipeline import compose
from fastseek.errors import ArtefactError, DataError, UsageError

PIXELS = 10**6
CALLS = ["rescale_pad(24)"]


@pytest.fixture
def paths(tmp_path):
    """Ten images of different shapes, the fourth of them broken."""
    names = []
    for number in range(10):
        names.append(str(tmp_path / f"{number}.png"))
        toy.photo(number, 0, 40).crop((0, 0, 40, 20 + number)).save(names[-1])
    with open(names[3], "wb") as file:
        file.write(b"not an image")
    return names


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(image_cache, "ROWS", 4)


def test_a_cached_image_is_what_the_transforms_give(tmp_path, paths):
    """finegrained row 23."""
    cache = cache_images(tmp_path / "c", paths, CALLS, PIXELS)
    assert len(cache) == 10 and cache.size == (24, 24)
    for row, path in enumerate(paths):
        if row != 3:
            assert np.array_equal(
                np.asarray(cache[row]), compose(CALLS)(decode(path)).numpy().transpose(1, 2, 0)
            )


def test_an_image_that_cannot_be_read_is_told_as_without_a_cache(tmp_path, paths):
    cache = cache_images(tmp_path / "c", paths, CALLS, PIXELS)
    with pytest.raises(BadImage) as cached_error:
        cache[3]
    with pytest.raises(BadImage) as error:
        decode(paths[3])
    assert (cached_error.value.code, cached_error.value.detail) == (
        error.value.code,
        error.value.detail,
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_with_and_without_a_cache(cfg, tmp_path, workers):
    """finegrained row 23."""
    cfg.DATALOADER.NUM_WORKERS = workers
    cfg.SEEK.TRAIN = ["resize(24)", "random_patch(0.5)", "hflip(0.5)", "cutout(0.4, p=0.5)"]
    batches = []
    for folder in ("", str(tmp_path / "c")):
        cfg.SEEK.CACHE = folder
        items = build_train_loader(cfg).dataset.items
        train = [
            batch["images"] for batch, _ in zip(build_train_loader(cfg), range(4), strict=False)
        ]
        batches.append(train + [batch["images"] for batch in build_test_loader(cfg, items)])
    assert len(batches[0]) > 8
    assert all(torch.equal(*pair) for pair in zip(*batches, strict=True))


def test_colour_order_format_and_size_are_written_down(tmp_path, paths):
    """finegrained row 23, trap 10."""
    folder = cache_images(tmp_path / "c", paths, CALLS, PIXELS).folder
    told = json.loads((folder / "manifest.json").read_text())
    assert (told["colours"], told["format"], told["size"], told["transforms"]) == (
        "RGB",
        1,
        [24, 24],
        CALLS,
    )
    told["colours"] = "BGR"
    (folder / "manifest.json").write_text(json.dumps(told))
    with pytest.raises(ArtefactError, match="colours BGR; this version reads 1, RGB"):
        ArrayCache(folder)


def test_red_stays_red(tmp_path):
    """trap 10."""
    from PIL import Image

    Image.new("RGB", (30, 30), (255, 0, 10)).save(tmp_path / "red.png")
    assert cache_images(tmp_path / "c", [str(tmp_path / "red.png")], CALLS, PIXELS)[0].getpixel(
        (12, 12)
    ) == (255, 0, 10)


def test_changed_bytes_are_noticed_when_the_image_is_read(tmp_path, paths):
    """finegrained row 23."""
    cache = cache_images(tmp_path / "c", paths, CALLS, PIXELS)
    with open(cache.folder / "00001.npy", "r+b") as file:
        file.seek(-24 * 24 * 3 - 5, os.SEEK_END)
        file.write(b"x")
    fresh = ArrayCache(cache.folder)
    assert fresh[7].size == (24, 24)
    with pytest.raises(
        ArtefactError, match="00001.npy: the bytes of image 6 are not those that were written"
    ):
        fresh[6]


def test_a_cut_shard_is_noticed(tmp_path, paths):
    cache = cache_images(tmp_path / "c", paths, CALLS, PIXELS)
    with open(cache.folder / "00000.npy", "r+b") as file:
        file.truncate(500)
    with pytest.raises(ArtefactError, match="not a whole shard"):
        ArrayCache(cache.folder)[0]


def changed(paths, what):
    if what == "photo":
        os.utime(paths[0], (1, 1))
    return {
        "paths": paths[:9] if what == "fewer" else paths,
        "calls": ["rescale_pad(25)"] if what == "transform" else CALLS,
        "max_pixels": 50_000 if what == "limit" else PIXELS,
    }


@pytest.mark.parametrize("what", ["photo", "fewer", "transform", "limit"])
def test_other_images_or_transforms_get_a_cache_of_their_own_and_refuse_this_one(
    tmp_path, paths, what
):
    """finegrained row 23."""
    first = cache_images(tmp_path / "c", paths, CALLS, PIXELS)
    other = cache_images(tmp_path / "c", **changed(paths, what))
    assert other.folder != first.folder
    with pytest.raises(ArtefactError, match="other images or by other transforms"):
        ArrayCache(first.folder, json.loads((other.folder / "manifest.json").read_text())["digest"])


def test_another_table_of_noise_is_another_cache(tmp_path, paths):
    table, digests = tmp_path / "noise.csv", []
    for kind in ("clean", "impulse"):
        table.write_text("path,class\n" + "".join(f"{path},{kind}\n" for path in paths))
        digests.append(
            cache_images(tmp_path / "c", paths, [f"denoise({str(table)!r})", *CALLS], PIXELS).folder
        )
    assert digests[0] != digests[1]


def test_a_killed_build_goes_on_where_it_stopped(tmp_path, paths, monkeypatch):
    """finegrained row 23."""
    seen = []

    def counted(path, max_pixels):
        seen.append(path)
        if len(seen) > 6:
            raise KeyboardInterrupt
        return decode(path, max_pixels)

    monkeypatch.setattr(image_cache, "decode", counted)
    with pytest.raises(KeyboardInterrupt):
        cache_images(tmp_path / "c", paths, CALLS, PIXELS)
    monkeypatch.setattr(
        image_cache, "decode", lambda path, limit: seen.append(path) or decode(path, limit)
    )
    assert not list((tmp_path / "c").glob("*/manifest.json"))
    seen.clear()
    cache = cache_images(tmp_path / "c", paths, CALLS, PIXELS)
    assert sorted(seen) == paths[4:] and np.array_equal(
        np.asarray(cache[1]), compose(CALLS)(decode(paths[1])).numpy().transpose(1, 2, 0)
    )
    seen.clear()
    cache_images(tmp_path / "c", paths, CALLS, PIXELS)
    assert seen == []


def test_an_unfinished_cache_is_none(tmp_path, paths):
    folder = cache_images(tmp_path / "c", paths, CALLS, PIXELS).folder
    (folder / "manifest.json").unlink()
    with pytest.raises(ArtefactError, match="no finished cache"):
        ArrayCache(folder)


def test_two_builders_wait_for_each_other(tmp_path, paths, monkeypatch):
    monkeypatch.setattr(image_cache, "_WAIT", 0.01)
    found, decoded = [], []
    monkeypatch.setattr(
        image_cache, "decode", lambda path, limit: decoded.append(path) or decode(path, limit)
    )
    threads = [
        threading.Thread(
            target=lambda: found.append(cache_images(tmp_path / "c", paths, CALLS, PIXELS))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and sorted(decoded) == paths


def test_a_cache_is_small_when_sent_to_a_worker(tmp_path, paths):
    cache = cache_images(tmp_path / "c", paths, CALLS, PIXELS)
    assert np.asarray(cache[0]).shape == (24, 24, 3)
    sent = pickle.dumps(cache)
    assert len(sent) < 4000 and np.array_equal(
        np.asarray(pickle.loads(sent)[0]), np.asarray(cache[0])
    )


def test_images_of_several_sizes_cannot_be_cached(tmp_path, paths):
    with pytest.raises(DataError, match="needs first transforms that give one size"):
        cache_images(tmp_path / "c", paths, ["resize(10, keep=True)"], PIXELS)


def test_what_draws_nothing_is_done_once_and_the_rest_every_time():
    assert split_fixed(["denoise()", "resize(20)", "hflip()", "resize(10)"]) == (
        ["denoise()", "resize(20)"],
        ["hflip()", "resize(10)"],
    )


@pytest.mark.parametrize("calls", [["hflip(0.5)", "resize(20)"], []])
def test_a_list_that_begins_by_chance_is_refused(calls):
    with pytest.raises(UsageError, match="SEEK.CACHE"):
        split_fixed(calls)


def test_a_cache_of_unreadable_images_only_is_still_one(tmp_path, paths):
    shutil.copy(paths[3], tmp_path / "bad.png")
    cache = cache_images(tmp_path / "c", [str(tmp_path / "bad.png")], CALLS, PIXELS)
    with pytest.raises(BadImage):
        cache[0]
