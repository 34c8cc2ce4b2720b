"""Hidden labels, tables of a round, and how good a choice was."""

import numpy as np
import pytest

from fastseek.data.datasets.manifest import Manifest
from fastseek.errors import DataError, UsageError
from fastseek.self_training.quality import of_choice, of_clusters, of_labels
from fastseek.self_training.simulate_unlabelled import hide
from fastseek.self_training.tables import read_truth, write_manifest, write_truth
from fastseek.structures import Item

ITEMS = [
    Item(
        f"/data/{split}/{'fruit' if label < 5 else 'root'}/{label}/{number}.jpg",
        str(label),
        split=split,
        id=f"{split}/{'fruit' if label < 5 else 'root'}/{label}/{number}.jpg",
    )
    for split, many in (("train", 12), ("query", 3))
    for label in range(10)
    for number in range(many)
]


def test_labels_are_hidden_and_none_is_lost():
    found = hide(ITEMS, 0.4, (2, 8), folder=1, seed=3)
    train = [item for item in ITEMS if item.split == "train"]
    assert {item.id for item in [*found.labelled, *found.unlabelled]} == {item.id for item in train}
    assert {item.label for item in found.unlabelled} == {""} and len(found.unlabelled) == len(
        found.truth
    )
    assert all(item.id.split("/")[2] == found.truth[item.id] for item in found.unlabelled)
    counts = sorted(
        np.unique([item.label for item in found.labelled], return_counts=True)[1].tolist()
    )
    assert counts == [2, 3, 5, 8]
    assert {item.group for item in [*found.labelled, *found.unlabelled, *found.validation]} == {
        "fruit",
        "root",
    }


def test_validation_photos_are_of_known_classes_and_the_share_of_others_is_told():
    found = hide(ITEMS, 3, (4, 4))
    known = {item.label for item in found.labelled}
    assert {item.label for item in found.validation} == known and len(known) == 3
    assert found.outside == pytest.approx(7 * 12 / (7 * 12 + 3 * 8))


def test_a_seed_hides_the_same_labels_again():
    assert hide(ITEMS, 3, (4, 4), seed=1) == hide(ITEMS, 3, (4, 4), seed=1)
    assert hide(ITEMS, 3, (4, 4), seed=1) != hide(ITEMS, 3, (4, 4), seed=2)


@pytest.mark.parametrize(
    ("numbers", "error"),
    [((11, (1, 1)), UsageError), ((3, (3, 2)), UsageError), ((3, (1, 12)), DataError)],
)
def test_impossible_splits_are_told(numbers, error):
    with pytest.raises(error):
        hide(ITEMS, *numbers)


def test_a_table_of_a_round_is_read_as_it_was_written_and_the_first_part_wins(tmp_path):
    """finegrained row 88."""
    labelled = [Item("/a/1.jpg", "dog", "x", id="1"), Item("/a/2.jpg", 'c"a,t', id="2")]
    pseudo = [Item("/a/2.jpg", "dog", id="2"), Item("/a/3.jpg", "dog", id="3")]
    made = write_manifest(tmp_path, "train", 2, [("labelled", labelled), ("pseudo", pseudo)])
    assert made.name.startswith("round2.train.")
    items = Manifest(str(made)).items
    assert [(item.id, item.path, item.label, item.group, item.meta) for item in items] == [
        ("1", "/a/1.jpg", "dog", "x", {"source": "labelled", "round": "2"}),
        ("2", "/a/2.jpg", 'c"a,t', "", {"source": "labelled", "round": "2"}),
        ("3", "/a/3.jpg", "dog", "", {"source": "pseudo", "round": "2"}),
    ]


def test_other_rows_have_another_name_and_the_old_table_goes(tmp_path):
    """finegrained row 88."""
    rows = [Item("/a/1.jpg", "dog")]
    first = write_manifest(tmp_path, "train", 1, [("labelled", rows)])
    assert write_manifest(tmp_path, "train", 1, [("labelled", rows)]) == first
    other = write_manifest(tmp_path, "train", 1, [("labelled", [Item("/a/1.jpg", "cat")])])
    assert (
        other != first
        and not first.exists()
        and write_manifest(tmp_path, "train", 2, [("a", rows)]).exists()
    )
    assert other.exists()
    with pytest.raises(DataError, match="no image"):
        write_manifest(tmp_path, "train", 1, [("labelled", [])])


def test_truth_comes_back(tmp_path):
    write_truth(tmp_path / "truth.csv", {"a,b": "x", "c": "y"})
    assert read_truth(tmp_path / "truth.csv") == {"a,b": "x", "c": "y"}
    with pytest.raises(DataError):
        read_truth(tmp_path / "none.csv")


def test_precision_and_recall_of_a_choice_count_what_they_say():
    truth, chosen = ["a", "a", "b", "out", "out"], np.array([True, False, True, True, False])
    assert {
        score.name: score.value for score in of_choice(chosen, truth, {"a", "b"})
    } == pytest.approx({"inside precision": 2 / 3, "inside recall": 2 / 3})
    labels = ["a", "", "a", "b", ""]
    assert {
        score.name: score.value for score in of_labels(labels, truth, {"a", "b"})
    } == pytest.approx({"label precision": 1 / 3, "label recall": 1 / 3})
    assert of_clusters(np.array([0, 0, 0, 1, -1]), truth)[0].value == pytest.approx(3 / 4)


def test_a_share_of_nothing_is_left_out():
    assert [score.name for score in of_choice(np.zeros(2, bool), ["a", "b"], {"a"})] == [
        "inside recall"
    ]
    assert of_clusters(np.array([-1]), ["a"]) == []
