"""Benchmarks of landmarks, objects and scenes as they are downloaded: tiny copies in the official
form, read, scored and refused.
"""

import shutil

import numpy as np
import official_scenes as copies
import pyarrow
import pytest
from pyarrow import parquet
from scipy.io import loadmat, savemat

from fastseek.data.images import decode
from fastseek.data.own_images import spell_data_set
from fastseek.errors import DataError
from fastseek.formats.revisited import read_gnd
from fastseek.io.paths import locate
from fastseek.metrics import evaluate
from fastseek.protocols import tasks_of
from fastseek.registry import DATASETS, build
from fastseek.structures import Ranking

# Call of a part -> what makes its copy, and split -> images.
READ = {
    "revisited({root!r})": (copies.revisited, {"query": 6, "gallery": 18}),
    "oxford_buildings({root!r})": (copies.oxford_buildings, {"query": 3, "gallery": 15}),
    "holidays({root!r})": (copies.holidays, {"query": 3, "gallery": 9}),
    "ukbench({root!r})": (copies.ukbench, {"test": 12}),
    "gpr1200({root!r})": (copies.gpr1200, {"test": 9}),
    "instre({root!r})": (copies.instre, {"query": 3, "gallery": 9}),
    "instre({root!r}, part='S1')": (copies.instre, {"test": 4}),
    "met({root!r})": (copies.met, {"query": 5, "gallery": 8}),
    "met({root!r}, mini=True, queries='val')": (copies.met, {"query": 1, "gallery": 6}),
    "inat_retrieval({root!r})": (copies.inat_retrieval, {"train": 4, "test": 4}),
    "coco_boxes({root!r})": (copies.coco, {"train": 6, "query": 2, "gallery": 6}),
    "image_folder({root!r})": (copies.image_folder, {"train": 6, "query": 3, "gallery": 6}),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A function that makes a copy once for all tests that only read it."""
    made = {}

    def make(maker, *more):
        if (maker, *more) not in made:
            made[maker, *more] = tmp_path_factory.mktemp(maker.__name__) / "copy"
            maker(made[maker, *more], *more)
        return made[maker, *more]

    return make


def read(call, root):
    return build(call.format(root=str(root)), DATASETS)


def look(item):
    """What an image looks like, 4 x 4 pixels of it, as a unit vector."""
    pixels = np.asarray(decode(item.path).resize((4, 4)), np.float64).ravel()
    pixels -= pixels.mean()
    return pixels / np.linalg.norm(pixels)


def similarities(task):
    queries, gallery = (
        np.stack([look(one) for one in side]) for side in (task.queries, task.gallery)
    )
    return queries @ gallery.T


def score(task):
    """The figures of a task by its images, and the scores of all pairs."""
    alike = similarities(task)
    order = np.lexsort((np.broadcast_to(task.truth.gallery_ids, alike.shape), -alike))
    order = order[:, : task.depth]
    ids = task.truth.query_ids, task.truth.gallery_ids
    scores = np.take_along_axis(alike, order, 1).astype(np.float32)
    found = evaluate(Ranking(*ids, order, scores), task.truth, task.metrics)
    return {one.name: one.value for one in found}, alike


def trapezoid(ranks, count):
    """AP as the scripts of Oxford, Holidays and the revisited benchmarks count it; ranks from 0."""
    total = 0.0
    for number, rank in enumerate(sorted(ranks)):
        before = 1.0 if rank == 0 else number / rank
        total += (before + (number + 1) / (rank + 1)) / 2 / count
    return total


def ranks_without(alike, right, junk):
    """The places, from 0, of right images in a list without junk."""
    order = [row for row in np.argsort(-alike, kind="stable").tolist() if row not in junk]
    return [place for place, row in enumerate(order) if row in right]


@pytest.mark.parametrize("call", READ)
def test_a_benchmark_is_read_as_it_is_downloaded(home, call):
    maker, expected = READ[call]
    found = read(call, home(maker))
    counts = {}
    for item in found.items:
        counts[item.split] = counts.get(item.split, 0) + 1
        assert min(decode(item.path).size) >= 8
    assert counts == expected and found.root == str(home(maker))
    for task in tasks_of(found):
        figures, _ = score(task)
        assert task.truth.protocol["definition"] and all(0 <= one <= 4 for one in figures.values())


def test_revisited_from_images_equals_its_definition(home):
    root = home(copies.revisited)
    found, page = read("revisited({root!r})", root), copies.revisited(root)
    easy, medium, hard = tasks_of(found)
    assert [task.name for task in (easy, medium, hard)] == ["easy", "medium", "hard"]
    kinds = {
        "easy": (["easy"], ["junk", "hard"]),
        "medium": (["easy", "hard"], ["junk"]),
        "hard": (["hard"], ["junk", "easy"]),
    }
    for task in (easy, medium, hard):
        figures, alike = score(task)
        ok, junk = kinds[task.name]
        aps, precisions = [], []
        for row, gnd in enumerate(page["gnd"]):
            right = sum((gnd[kind] for kind in ok), [])
            if not right:
                continue
            ranks = ranks_without(alike[row], right, sum((gnd[kind] for kind in junk), []))
            aps.append(trapezoid(ranks, len(right)))
            depth = min(max(ranks) + 1, 5)
            precisions.append(sum(rank < depth for rank in ranks) / depth)
        assert len(aps) == (5 if task.name == "easy" else 6)
        assert figures["revisited_map"] == pytest.approx(np.mean(aps), abs=1e-12)
        assert figures["revisited_mp(5)"] == pytest.approx(np.mean(precisions), abs=1e-12)
    whole = read("revisited({root!r}, crop=False)", root)
    assert [decode(one.items[0].path).size[0] for one in (found, whole)] == [24, 48]
    assert easy.protocol != tasks_of(whole)[0].protocol


def test_distractors_are_searched_and_answer_nothing(home, tmp_path):
    copies.distractors(tmp_path / "r1m")
    root = home(copies.revisited)
    call = f"revisited({{root!r}}, distractors={str(tmp_path / 'r1m')!r})"
    (task, bare) = (tasks_of(read(one, root))[1] for one in (call, "revisited({root!r})"))
    assert len(task.gallery) == len(bare.gallery) + 4
    assert {item.split for item in task.gallery[18:]} == {"distractor"}
    assert task.truth.protocol["distractors"] == 4
    assert score(task)[0]["revisited_map"] <= score(bare)[0]["revisited_map"]
    call = f"oxford_buildings({{root!r}}, distractors={str(tmp_path / 'r1m')!r})"
    assert len(tasks_of(read(call, home(copies.oxford_buildings)))[0].gallery) == 19


def test_classic_oxford_counts_the_query_itself_and_leaves_junk_out(home):
    (task,) = tasks_of(read("oxford_buildings({root!r})", home(copies.oxford_buildings)))
    figures, alike = score(task)
    names = task.truth.gallery_ids.tolist()
    aps = []
    for place in range(3):
        rows = [names.index(f"hall_{place}_{one:06d}") for one in (0, 9, 1)]
        junk = [names.index(f"hall_{place}_000002")]
        aps.append(trapezoid(ranks_without(alike[place], rows, junk), 3))
    assert figures == {"map(trapezoid=True)": pytest.approx(np.mean(aps), abs=1e-12)}


def test_classic_oxford_is_read_where_images_and_text_files_lie_together(home, tmp_path):
    whole = home(copies.oxford_buildings)
    for file in [*whole.glob("jpg/*"), *whole.glob("gt_files/*")]:
        shutil.copy(file, tmp_path)
    found = build(spell_data_set(tmp_path), DATASETS).items
    assert [one.id for one in found] == [
        one.id for one in read("oxford_buildings({root!r})", whole).items
    ]


def test_a_folder_of_a_benchmark_asks_what_its_own_part_asks(home):
    root = home(copies.met)
    named = [
        [task.protocol for task in tasks_of(read(call, root))]
        for call in ("folder({root!r})", "met({root!r})")
    ]
    assert named[0] == named[1] == ["met(mini=False, queries='test')"]


def test_holidays_leaves_the_query_out(home):
    (task,) = tasks_of(read("holidays({root!r})", home(copies.holidays)))
    figures, alike = score(task)
    groups = [[0, 1], [2, 3, 4], [5, 6, 7, 8]]
    aps = [
        trapezoid(ranks_without(alike[row], rows[1:], rows[:1]), len(rows) - 1)
        for row, rows in enumerate(groups)
    ]
    assert figures == {"map(trapezoid=True)": pytest.approx(np.mean(aps), abs=1e-12)}


def test_ukbench_counts_the_query_among_the_first_four(home):
    (task,) = tasks_of(read("ukbench({root!r})", home(copies.ukbench)))
    figures, alike = score(task)
    first = np.argsort(-alike, axis=1)[:, :4]
    assert figures == {
        "n_s": pytest.approx((first // 4 == np.arange(12)[:, None] // 4).sum(1).mean())
    }
    assert 1 <= figures["n_s"] <= 4


def test_gpr1200_can_count_the_query_as_its_script_does(home):
    root = home(copies.gpr1200)
    (task,) = tasks_of(read("gpr1200({root!r})", root))
    (counted,) = tasks_of(read("gpr1200({root!r}, count_query=True)", root))
    figures, alike = score(task)
    labels = [item.label for item in task.queries]
    means = {}
    for itself in (False, True):
        aps = []
        for row, label in enumerate(labels):
            right = [n for n, one in enumerate(labels) if one == label and (itself or n != row)]
            ranks = ranks_without(alike[row], right, [] if itself else [row])
            aps.append(np.mean([(n + 1) / (rank + 1) for n, rank in enumerate(sorted(ranks))]))
        means[itself] = np.mean(aps)
    assert figures["map"] == pytest.approx(means[False], abs=1e-12)
    assert score(counted)[0]["map"] == pytest.approx(means[True], abs=1e-12)
    assert means[True] > means[False]
    assert task.protocol != counted.protocol


def test_instre_takes_boxes_as_corners_or_with_width_and_height(home):
    corners, sizes = home(copies.instre), home(copies.instre, False)
    found = [
        [decode(one.path).size for one in read("instre({root!r})", root).items[:3]]
        for root in (corners, sizes)
    ]
    assert found == [[(copies.SIDE, copies.SIDE)] * 3, [(4, 5)] * 3]


def test_instre_takes_no_image_from_outside_of_its_folder(tmp_path):
    copies.instre(tmp_path / "copy")
    (tmp_path / "outside.jpg").write_bytes(b"secret")
    page = loadmat(tmp_path / "copy" / "gnd_instre.mat")
    cells = {name: page[name] for name in ("imlist", "qimlist", "gnd")}
    cells["imlist"][0, 1] = "../outside.jpg"
    savemat(tmp_path / "copy" / "gnd_instre.mat", cells)
    with pytest.raises(DataError, match="'../outside.jpg', which lies outside of the folder"):
        read("instre({root!r})", tmp_path / "copy")


def test_met_asks_with_distractors_that_have_no_answer(home):
    (task,) = tasks_of(read("met({root!r})", home(copies.met)))
    figures, alike = score(task)
    labels = np.array([item.label for item in task.gallery])
    best = alike.argmax(1)
    right = labels[best] == np.array([item.label for item in task.queries])
    order = np.argsort(-alike.max(1))
    gap, correct = 0.0, 0
    for place, row in enumerate(order, 1):
        correct += int(right[row])
        gap += right[row] * correct / place / 3
    assert figures["gap"] == pytest.approx(gap, abs=1e-12)
    assert figures["top1"] == pytest.approx(right[:3].mean()) and not right[3:].any()


def test_uned_asks_one_gallery_of_all_domains_and_takes_every_class_of_a_query(home):
    found = read("uned({root!r}, domains=('cars', 'inshop', 'gldv2'))", home(copies.uned))
    tasks = tasks_of(found)
    assert [task.name for task in tasks] == ["cars", "inshop", "gldv2"]
    figures = []
    for task in tasks:
        values, alike = score(task)
        domain, searched = task.name, [item.label for item in task.gallery]
        precision = []
        for row, item in enumerate(task.queries):
            kind, take = item.id[-7], item.id[-5]
            wanted = {f"{domain}/{kind}"} | ({"gldv2/5"} if domain == "gldv2" else set())
            own = [n for n, one in enumerate(task.gallery) if one.id == item.id]
            right = [n for n, one in enumerate(searched) if one in wanted and n not in own]
            ranks = ranks_without(alike[row], right, own)
            depth = min(len(right), 5)
            precision.append(sum(rank < depth for rank in ranks) / depth)
            assert len(own) == (domain == "cars") and take in "01"
        assert values["mmp(5)"] == pytest.approx(np.mean(precision), abs=1e-12)
        figures.append(values["mmp(5)"])
    assert len(tasks[0].gallery) == 12 and max(figures) > 0
    val = read("uned({root!r}, split='val', domains=('cars',), train=False)", home(copies.uned))
    assert [item.split for item in val.items] == ["query"] * 4 + ["gallery"] * 4


def test_ilias_has_its_lists_and_its_shards_of_distractors(home):
    root = home(copies.ilias)
    for given, count in (("all", 6), ("mini", 2), ("none", 0)):
        items = read(f"ilias({{root!r}}, distractors={given!r})", root).items
        splits = [item.split for item in items]
        assert [splits.count(one) for one in ("query", "gallery", "distractor")] == [3, 4, count]
    items = read("ilias({root!r})", root).items
    assert {item.label for item in items if item.split == "distractor"} == {""}
    assert {item.label for item in items} == {"bold_bimp_000", "zippy_zoot_001", ""}
    assert all(decode(item.path).size == (copies.SIDE, copies.SIDE) for item in items)


@pytest.mark.parametrize("year", [2017, 2018, 2019, 2021])
def test_lists_of_every_year_of_inat_are_read_by_their_folder(home, year):
    found = read("inat({root!r})", home(copies.inat_year, year))
    assert [item.split for item in found.items].count("train") == 4
    assert [(item.label, item.split) for item in found.items[4:6]] == [
        ("00000", "query"),
        ("00001", "query"),
    ]
    (task,) = tasks_of(found)
    assert len(task.gallery) == 4
    assert all(decode(item.path).size for item in found.items)


def test_boxes_of_coco_are_items_and_show_what_they_hold(home):
    root = home(copies.coco)
    found = read("coco_boxes({root!r})", root)
    first = found.items[0]
    assert first.id == "train2017/000000000000.jpg/0" and first.label == "dog"
    alone = copies.toy.photo(0, 0, copies.SIDE)
    assert np.abs(np.asarray(decode(first.path), float) - np.asarray(alone)).mean() < 30
    file = root / "annotations/instances_train2017.json"
    shared = build(f"coco_boxes({str(file)!r}, query=0.34)", DATASETS)
    assert sorted({item.split for item in shared.items}) == ["gallery", "query", "train"]


@pytest.mark.parametrize(
    ("contest", "options"),
    [
        ("humpback", "path='Image', label='Id', folder='train'"),
        ("shopee", "path='image', label='label_group', folder='train_images'"),
        ("hotel_id", "path='{{chain}}/{{image}}', label='hotel_id', folder='train_images'"),
        ("sorghum", "path='image', label='cultivar', folder='train_images'"),
        ("products", "path='name', label='class', folder='train'"),
    ],
)
def test_lists_of_kaggle_are_read_by_the_names_of_their_columns(home, contest, options):
    table = home(copies.kaggle, contest) / "train.csv"
    items = read(f"manifest({{root!r}}, {options}, query=0.3)", table).items
    assert len({item.label for item in items}) == 3
    assert [item.split for item in items].count("query") == 3
    assert all(decode(item.path).size == (copies.SIDE, copies.SIDE) for item in items)


def test_tars_and_parquet_with_images_inside_are_benchmarks(tmp_path):
    names = [f"kind{kind}/{take}.jpg" for kind in range(3) for take in range(3)]
    images = {name: copies.encode(int(name[4]), int(name[6])) for name in names}
    copies.write_tar(tmp_path / "0.tar", images)
    (task,) = tasks_of(build(f"webdataset({str(tmp_path / '0.tar')!r}, query=0.3)", DATASETS))
    assert (len(task.queries), len(task.gallery)) == (3, 6) and score(task)[0]["map"] > 0.5
    columns = {
        "image": [{"bytes": content, "path": name} for name, content in images.items()],
        "label": [name[:5] for name in names],
        "split": ["test"] * 9,
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "list.parquet")
    (task,) = tasks_of(build(f"manifest({str(tmp_path / 'list.parquet')!r})", DATASETS))
    assert task.queries is task.gallery and task.protocol.startswith("leave_one_out")
    assert len(task.gallery) == 9 and score(task)[0]["recall(1)"] > 0.5


def test_the_real_truth_asks_seventy_queries_of_all_its_images(tmp_path):
    folder = locate_or_skip("metadata/revisited/gnd_roxford5k.pkl")
    (tmp_path / "gnd_roxford5k.pkl").symlink_to(folder)
    gnd = read_gnd(folder)
    copies.draw(tmp_path / "one.jpg", 0)
    (tmp_path / "jpg").mkdir()
    for image in (*gnd.queries, *gnd.images):
        (tmp_path / "jpg" / f"{image}.jpg").symlink_to(tmp_path / "one.jpg")
    tasks = tasks_of(read("revisited({root!r})", tmp_path))
    asked = [int((np.diff(task.truth.relevant_starts) > 0).sum()) for task in tasks]
    assert asked == [68, 70, 70]
    assert all(len(task.gallery) == 4993 and len(task.queries) == 70 for task in tasks)


def locate_or_skip(name):
    try:
        return locate(name)
    except DataError:
        pytest.skip("the truths of the revisited benchmarks are not here")


FOLDERS = {
    "revisited({})": (copies.revisited,),
    "oxford_buildings({})": (copies.oxford_buildings,),
    "holidays({})": (copies.holidays,),
    "ukbench({})": (copies.ukbench,),
    "gpr1200({})": (copies.gpr1200,),
    "instre({})": (copies.instre,),
    "met({})": (copies.met,),
    "ilias({})": (copies.ilias,),
    "uned({})": (copies.uned,),
    "inat_retrieval({})": (copies.inat_retrieval,),
    "inat({})": (copies.inat_year, 2018),
    "coco_boxes({})": (copies.coco,),
    "image_folder({})": (copies.image_folder,),
}


@pytest.mark.parametrize("call", FOLDERS)
def test_a_benchmark_is_known_by_what_lies_in_its_folder(home, call):
    root = home(*FOLDERS[call])
    assert spell_data_set(root) == call.format(repr(str(root)))


@pytest.mark.parametrize("contest", copies.KAGGLE)
def test_a_list_of_kaggle_is_known_by_its_header(home, contest):
    root = home(copies.kaggle, contest)
    items = build(spell_data_set(root), DATASETS).items
    assert [item.split for item in items].count("query") == 3
    assert all(decode(item.path).size == (copies.SIDE, copies.SIDE) for item in items)


def test_class_folders_beside_a_strange_table_stay_class_folders(tmp_path):
    for kind in range(2):
        copies.draw(tmp_path / f"kind{kind}" / "0.jpg", kind)
    copies.write_lines(tmp_path / "metadata.csv", ["when,where", "today,here"])
    copies.write_lines(tmp_path / "train.csv", ["name,price", "a,1"])
    assert spell_data_set(tmp_path) == f"folder({str(tmp_path)!r}, query=0.2)"


MISSING = {
    "revisited({root!r})": (copies.revisited, "jpg/place_000003.jpg", "place_000003.jpg: expected"),
    "oxford_buildings({root!r})": (
        copies.oxford_buildings,
        "gt_files/hall_0_1_ok.txt",
        "hall_0_1_ok",
    ),
    "holidays({root!r})": (copies.holidays, "jpg/100100.jpg", "expected 100100.jpg"),
    "ukbench({root!r})": (
        copies.ukbench,
        "full/ukbench00005.jpg",
        "ukbench00004.jpg to ukbench00007",
    ),
    "instre({root!r})": (copies.instre, "gnd_instre.mat", "gnd_instre.mat: there is no such file"),
    "met({root!r})": (copies.met, "ground_truth/testset.json", "testset.json"),
    "ilias({root!r})": (copies.ilias, "image_ids/positive_ids.txt", "positive_ids.txt"),
    "uned({root!r}, domains=('cars', 'gldv2'))": (
        copies.uned,
        "info_files/gldv2/index.json",
        "info_files/gldv2/index.json",
    ),
    "inat_retrieval({root!r})": (
        copies.inat_retrieval,
        "Inat_dataset_splits/Inaturalist_test_set1.txt",
        "Inaturalist_test_set1.txt",
    ),
    "coco_boxes({root!r})": (copies.coco, "val2017/000000000000.jpg", "val2017/000000000000.jpg"),
}


@pytest.mark.parametrize("call", MISSING)
def test_a_missing_part_is_named_with_its_place(home, call, tmp_path):
    maker, part, says = MISSING[call]
    shutil.copytree(home(maker), tmp_path / "copy")
    (tmp_path / "copy" / part).unlink()
    with pytest.raises(DataError) as caught:
        read(call, tmp_path / "copy")
    assert says in str(caught.value) and str(tmp_path) in str(caught.value)
