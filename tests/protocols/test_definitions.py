"""What each protocol asks, against the definition written as loops over pairs of images."""

import math
from collections import Counter

import numpy as np
import pytest

from fastseek.errors import DataError
from fastseek.protocols import within_distance
from fastseek.registry import PROTOCOLS, build
from fastseek.structures import Item


def shuffled(seed, splits, count=60, **meta):
    random = np.random.default_rng(seed)
    return [
        Item(
            f"{row:02d}.png",
            str(random.integers(0, 9)) if random.random() > 0.1 else "",
            f"c{random.integers(0, 3)}",
            splits[random.integers(len(splits))],
            meta={key: draw(random) for key, draw in meta.items()},
        )
        for row in range(count)
    ]


def pairs(task):
    """(query, image) -> "right" or "junk"."""
    found = {}
    for row, query in enumerate(task.queries):
        for kind, rows in (
            ("right", task.truth.relevant_to(row)),
            ("junk", task.truth.junk_of(row)),
        ):
            found |= {(query.id, task.gallery[image].id): kind for image in rows.tolist()}
    return found


def loop(queries, gallery, right, junk):
    found = {}
    for query in queries:
        for image in gallery:
            if junk(query, image):
                found[query.id, image.id] = "junk"
            elif right(query, image):
                found[query.id, image.id] = "right"
    return found


def same(query, image):
    return query.label == image.label != "" and image.split != "distractor"


def of(items, *splits):
    return [item for split in splits for item in items if item.split == split]


SIDES = ["train", "query", "gallery", "distractor"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("call", "camera"),
    [
        ("query_gallery(camera=True)", True),
        ("query_gallery(camera=False)", False),
        ("in_shop(recall=(1, 3))", False),
        ("ilias(k=10)", False),
        ("holidays()", False),
    ],
)
def test_two_sides_are_compared_by_label(seed, call, camera):
    items = shuffled(seed, SIDES)
    task = build(call, PROTOCOLS).tasks(items)[0]
    queries, gallery = of(items, "query"), of(items, "gallery", "distractor")
    assert (task.queries, task.gallery) == (queries, gallery)
    wanted = loop(
        queries,
        gallery,
        same,
        lambda query, image: camera and same(query, image) and query.group == image.group,
    )
    assert pairs(task) == wanted


@pytest.mark.parametrize("seed", range(3))
def test_all_images_of_the_test_ask_each_other(seed):
    items = shuffled(seed, ["train", "test"])
    tests = of(items, "test")
    itself = lambda query, image: query.id == image.id and query.label != ""  # noqa: E731
    alone = build("leave_one_out(recall=(1, 2))", PROTOCOLS).tasks(items)[0]
    assert pairs(alone) == loop(tests, tests, same, itself)
    whole = build("ukbench()", PROTOCOLS).tasks(items)[0]
    assert pairs(whole) == loop(tests, tests, same, lambda query, image: False)


def test_a_domain_asks_the_gallery_of_all_domains():
    items = shuffled(0, SIDES, domain=lambda random: str(random.choice(["cars", "food"])))
    tasks = build("uned(k=5)", PROTOCOLS).tasks(items)
    assert [task.name for task in tasks] == ["cars", "food"]
    for task in tasks:
        asked = [item for item in of(items, "query") if item.meta["domain"] == task.name]
        gallery = of(items, "gallery", "distractor")
        wanted = loop(
            asked,
            gallery,
            lambda query, image: same(query, image) and query.meta == image.meta,
            lambda query, image: False,
        )
        assert task.queries == asked and task.gallery == gallery and pairs(task) == wanted
    with pytest.raises(DataError, match="no domain"):
        build("uned()", PROTOCOLS).tasks(shuffled(0, SIDES))


def test_a_draw_puts_one_image_of_every_vehicle_into_the_gallery_and_the_order_does_not_matter():
    items = shuffled(1, ["train", "test"])
    part = build("vehicle_id(repeats=4)", PROTOCOLS)
    tasks, back = part.tasks(items), part.tasks(items[::-1])
    known = {item.id for item in of(items, "test") if item.label}
    galleries = set()
    for task, turned in zip(tasks, back, strict=True):
        assert {item.id for item in task.gallery} == {item.id for item in turned.gallery}
        labels = Counter(item.label for item in task.gallery)
        assert set(labels.values()) == {1} and set(labels) == {
            item.label for item in of(items, "test") if item.label
        }
        ids = {item.id for item in [*task.queries, *task.gallery]}
        assert ids == known and len(task.queries) + len(task.gallery) == len(known)
        assert set(Counter(query for query, _ in pairs(task)).values()) == {1}
        galleries.add(tuple(sorted(item.id for item in task.gallery)))
    assert len(galleries) > 1
    other = build("vehicle_id(repeats=4, seed=1)", PROTOCOLS).tasks(items)
    assert [task.truth.fingerprint() for task in other] != [
        task.truth.fingerprint() for task in tasks
    ]


def test_a_single_shot_draws_one_gallery_image_of_every_identity():
    items = shuffled(2, SIDES)
    for task in build("single_shot(repeats=3)", PROTOCOLS).tasks(items):
        assert task.queries == of(items, "query") and task.averages == ("tasks",)
        assert set(Counter(item.label for item in task.gallery).values()) == {1}
        assert {item.split for item in task.gallery} == {"gallery"}


def meters(one, other):
    """Great-circle distance by the angle between unit vectors."""
    vectors = []
    for lat, lon in (one, other):
        lat, lon = math.radians(lat), math.radians(lon)
        vectors.append(
            (math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat))
        )
    cross = np.linalg.norm(np.cross(*vectors))
    return 6_371_008.8 * math.atan2(cross, np.dot(*vectors))


@pytest.mark.parametrize("flat", [True, False])
def test_what_was_taken_near_by_is_right(flat):
    random = np.random.default_rng(3)
    # Degrees around the date line, where longitudes wrap, and far north.
    places = random.uniform(-60, 60, (80, 2)) if flat else random.uniform(-4e-4, 4e-4, (80, 2))
    if not flat:
        places += [70, 180]
        places[:, 1] = (places[:, 1] + 180) % 360 - 180
    keys = ("utm_north", "utm_east") if flat else ("lat", "lon")
    items = [
        Item(f"{row:02d}", split=SIDES[row % 4], meta=dict(zip(keys, place, strict=True)))
        for row, place in enumerate(places.tolist())
    ]
    task = build("within_distance(meters=25, recall=(1, 2))", PROTOCOLS).tasks(items)[0]
    away = math.dist if flat else meters

    def near(query, image):
        return away(tuple(query.meta.values()), tuple(image.meta.values())) <= 25

    wanted = loop(task.queries, task.gallery, near, lambda query, image: False)
    assert pairs(task) == wanted and len(wanted) > 20
    with pytest.raises(DataError, match="02"):
        build("within_distance()", PROTOCOLS).tasks([*items[:2], Item("02", split="gallery")])
    assert within_distance.find_near(np.zeros((1, 2)), np.zeros((1, 2)), 0.0, True)[0].tolist() == [
        0
    ]
