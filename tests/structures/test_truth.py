import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.errors import DataError
from fastseek.structures import GroundTruth, Item

LABELS = st.sampled_from(["", "a", "b", "c"])
GROUPS = st.sampled_from(["", "1", "2"])
SIDE = st.lists(st.tuples(LABELS, GROUPS), min_size=1, max_size=12)


def slow_twin(query, gallery):
    """One query against every image by the rules as they are written."""
    relevant, junk = [], []
    q_id, q_label, q_group = query
    for row, (g_id, g_label, g_group) in enumerate(gallery):
        if q_label == "" or q_label != g_label:
            continue
        same_group = q_group != "" and q_group == g_group
        (junk if same_group or g_id == q_id else relevant).append(row)
    return relevant, junk


@settings(max_examples=80, deadline=None)
@given(SIDE, SIDE, st.integers(0, 12))
def test_relevant_is_the_same_label_and_junk_the_same_group_or_the_image_itself(
    queries, gallery, shared
):
    q_ids = [f"x{n}" for n in range(len(queries))]
    g_ids = [f"x{n}" if n < shared else f"y{n}" for n in range(len(gallery))]
    columns = [[pair[column] for pair in side] for side in (queries, gallery) for column in (0, 1)]
    truth = GroundTruth.from_labels(q_ids, columns[0], g_ids, columns[2], columns[1], columns[3])
    gallery_rows = list(zip(g_ids, columns[2], columns[3], strict=True))
    for number, query in enumerate(zip(q_ids, columns[0], columns[1], strict=True)):
        relevant, junk = slow_twin(query, gallery_rows)
        assert (
            truth.relevant_to(number).tolist() == relevant
            and truth.junk_of(number).tolist() == junk
        )


def test_the_protocol_tells_whether_cameras_were_known():
    columns = ["q"], ["a"], ["x"], ["a"]
    assert GroundTruth.from_labels(*columns).protocol["camera_rule"] is False
    assert GroundTruth.from_labels(*columns, ["1"], ["2"]).protocol["camera_rule"] is True
    assert GroundTruth.from_labels(*columns, ["1"], [""]).protocol["camera_rule"] is False


def test_what_is_saved_is_loaded(tmp_path):
    truth = GroundTruth.from_labels(["q", "r"], ["a", ""], ["x", "y", "q"], ["a", "b", "a"])
    truth.save(tmp_path / "t.npz")
    loaded = GroundTruth.load(tmp_path / "t.npz")
    for name in (
        "query_ids",
        "gallery_ids",
        "relevant_starts",
        "relevant",
        "junk_starts",
        "junk",
        "query_labels",
        "gallery_labels",
    ):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(truth, name))
    assert loaded.protocol == truth.protocol


@pytest.mark.parametrize(
    ("starts", "rows"),
    [
        ([0, 1], [3]),
        ([0, 1], [-1]),
        ([0, 2], [0]),
        ([1, 1], [0]),
        ([0], []),
        ([0, 1, 1], [0]),
        ([], []),
    ],
)
def test_lists_that_do_not_fit_are_refused(starts, rows):
    with pytest.raises(DataError):
        GroundTruth(["q"], ["x", "y", "z"], starts, rows, [0, 0], [], ["a"], ["a", "b", "c"])


def test_falling_starts_are_refused():
    with pytest.raises(DataError):
        GroundTruth(["q", "r"], ["x"], [0, 2, 1], [0], [0, 0, 0], [], ["a", "a"], ["a"])


def test_labels_must_be_as_many_as_images():
    with pytest.raises(DataError, match="2 gallery_labels for 1"):
        GroundTruth(["q"], ["x"], [0, 0], [], [0, 0], [], ["a"], ["a", "b"])


def test_an_item_is_named_by_its_path_unless_it_has_an_id():
    assert Item("a/b.jpg").id == "a/b.jpg" and Item("a/b.jpg", id="b.jpg").id == "b.jpg"
    with pytest.raises(DataError, match="no path"):
        Item("")
    with pytest.raises(AttributeError):
        Item("a").label = "b"


@pytest.mark.parametrize(
    "change",
    [
        {"relevant": [0.5]},
        {"relevant_starts": 0},
        {"junk": [["x"]]},
        {"query_labels": np.array([b"\xff"])},
        {"gallery_labels": "x"},
    ],
)
def test_lists_of_another_kind_are_refused(change):
    made = {
        "query_ids": ["q"],
        "gallery_ids": ["a"],
        "relevant_starts": [0, 1],
        "relevant": [0],
        "junk_starts": [0, 0],
        "junk": np.empty(0, int),
        "query_labels": ["x"],
        "gallery_labels": ["x"],
    }
    GroundTruth(**made)
    with pytest.raises(DataError):
        GroundTruth(**made | change)


def test_the_truth_of_items_is_that_of_their_columns_and_a_subset_keeps_what_is_relevant():
    queries = [Item("q1", "a", "1"), Item("q2", "b", ""), Item("q3", "", "2")]
    gallery = [Item("g1", "a", "1"), Item("g2", "a", "2"), Item("q2", "b", ""), Item("g3", "b")]
    made = GroundTruth.from_items(queries, gallery)
    assert [made.relevant_to(row).tolist() for row in range(3)] == [[1], [3], []]
    assert [made.junk_of(row).tolist() for row in range(3)] == [[0], [2], []]
    some = made.subset([2, 1])
    assert some.query_ids.tolist() == ["q3", "q2"] and some.protocol == made.protocol
    assert [some.relevant_to(row).tolist() for row in range(2)] == [[], [3]]
    assert [some.junk_of(row).tolist() for row in range(2)] == [[], [2]]
    assert len(made.subset([]).query_ids) == 0
