"""Rendered objects: the same for everyone, told apart by their patterns, and never half there."""

import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from fastseek.data.datasets import _rendered_objects, rendered
from fastseek.data.datasets._rendered_objects import FAMILY, draw_view, make_object
from fastseek.errors import UsageError
from fastseek.registry import DATASETS, build

SMALL = "rendered(objects=3, views=4, size=24)"


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(rendered, "data_roots", lambda: [tmp_path / "one", tmp_path / "cache"])
    return tmp_path / "cache"


def pixels(number, view, seed=0, side=32):
    return np.asarray(Image.open(io.BytesIO(draw_view(number, view, side, seed))), np.float32)


def test_the_splits_are_apart_and_the_gallery_is_what_is_trained_on():
    items = build(SMALL, DATASETS).items
    by = {
        split: [one for one in items if one.split == split]
        for split in ("train", "query", "gallery")
    }
    assert [one.id for one in by["train"]] == [one.id for one in by["gallery"]]
    assert not {one.id for one in by["train"]} & {one.id for one in by["query"]}
    assert (len(by["train"]), len(by["query"])) == (9, 3)
    assert {one.label for one in items} == {"object 000", "object 001", "object 002"}
    assert all(Image.open(one.path).size == (24, 24) for one in items)


def test_the_same_numbers_give_the_same_bytes_and_others_do_not():
    assert draw_view(1, 2, 32, 0) == draw_view(1, 2, 32, 0)
    different = {
        draw_view(*numbers)
        for numbers in ((1, 2, 32, 0), (1, 3, 32, 0), (2, 2, 32, 0), (1, 2, 32, 1))
    }
    assert len(different) == 4


def test_objects_of_a_family_share_their_shape_and_differ_in_their_patterns():
    at = np.random.default_rng(0).uniform(-1, 1, (200, 3)).astype(np.float32)
    family = [make_object(number) for number in range(FAMILY)]
    shapes = {tuple((one.kind, *one.center, *one.scale) for one in solids) for solids in family}
    painted = {b"".join(one.pattern(at).tobytes() for one in solids) for solids in family}
    assert len(shapes) == 1 and len(painted) == FAMILY
    other = make_object(FAMILY)
    assert tuple((one.kind, *one.center, *one.scale) for one in other) not in shapes


def test_most_of_every_object_is_seen(monkeypatch):
    shares = []

    def watch(random, rays, own):
        others = plain(random, rays, own)
        seen = own.solid >= 0
        depth = _rendered_objects.cast(rays, others).depth
        shares.append((seen.mean(), (depth > own.depth)[seen].mean()))
        return others

    plain = _rendered_objects._draw_company
    monkeypatch.setattr(_rendered_objects, "_draw_company", watch)
    for number in range(6):
        for view in range(3):
            draw_view(number, view, 32)
    part, left = np.array(shares).T
    assert left.min() >= _rendered_objects.LEAST_SEEN and part.min() > 0.02
    assert left.min() < 1  # some are partly hidden


def test_pixels_alone_do_not_tell_the_objects_apart():
    views = np.stack([[pixels(n, v).ravel() for v in range(4)] for n in range(8)])
    flat = views.reshape(32, -1) - views.mean((0, 1))
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    near = flat @ flat.T - 2 * np.eye(32)
    right = (near.argmax(1) // 4 == np.arange(32) // 4).mean()
    assert right < 0.5


def test_a_killed_drawing_leaves_nothing_that_is_taken_for_a_data_set(monkeypatch, cache):
    drawn = []

    def die(number, *rest):
        drawn.append(number)
        if len(drawn) == 5:
            raise KeyboardInterrupt
        return b"x"

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(rendered, "draw_view", die)
        build(SMALL, DATASETS)
    assert list((cache / "rendered").iterdir()) == []
    assert len(build(SMALL, DATASETS).items) == 21


def test_images_are_drawn_once(monkeypatch):
    first = build(SMALL, DATASETS).items
    monkeypatch.setattr(rendered, "draw_view", None)
    assert build(SMALL, DATASETS).items == first


def test_when_two_draw_at_once_both_have_the_images(monkeypatch):
    home = []
    plain = pathlib.Path.rename

    def lose(self, target):
        home.append(target)
        target.mkdir()
        (target / "theirs").write_text("x")
        return plain(self, target)

    monkeypatch.setattr(pathlib.Path, "rename", lose)
    build(SMALL, DATASETS)
    assert (home[0] / "theirs").exists()


@pytest.mark.parametrize("wrong", ["objects=0", "views=1", "size=8"])
def test_too_little_is_refused(wrong):
    with pytest.raises(UsageError, match="at least"):
        build(f"rendered({wrong})", DATASETS)
