import pytest

from fastseek.errors import DataError
from fastseek.formats import gldv2_lists as lists
from fastseek.formats.gldv2_names import join_labels
from fastseek.io import csv_rows


@pytest.fixture()
def write(tmp_path):
    def made(*lines):
        path = tmp_path / "file.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return made


@pytest.mark.parametrize(
    "lines",
    [
        ["id,url,landmark_id", 'aaa,"http://x/a,b.jpg",7', "bbb,http://y,0"],
        ["id,landmark_id", "aaa,7", "", "bbb,0"],
        ["landmark_id,id", "7,aaa", "0,bbb"],
    ],
)
def test_training_lists_of_all_years_are_read(write, lines):
    """landmark row 1."""
    found = lists.read_labelled(write(*lines))
    assert (found.ids.tolist(), found.landmarks.tolist()) == ([b"aaa", b"bbb"], [7, 0])


def test_the_clean_training_list_is_read_and_written_back(write, tmp_path):
    """landmark row 1."""
    found = lists.read_labelled(write("landmark_id,images", "1,aaa bbb", "0,ccc"))
    assert (found.ids.tolist(), found.landmarks.tolist()) == ([b"aaa", b"bbb", b"ccc"], [1, 1, 0])
    lists.write_train_clean(tmp_path / "out.csv", found)
    assert (tmp_path / "out.csv").read_text() == "landmark_id,images\n0,ccc\n1,aaa bbb\n"


def test_a_class_of_many_thousand_images_is_read(write):
    names = [f"{n:016x}" for n in range(20_000)]
    assert (
        lists.read_labelled(write("landmark_id,images", f"5,{' '.join(names)}"))
        .ids.astype(str)
        .tolist()
        == names
    )


def test_image_lists_and_labels_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "file.csv"
    csv_rows.write(path, ("id",), [("b",), ("a",)])
    assert lists.read_ids(path).tolist() == ["b", "a"]
    csv_rows.write(path, ("id", "landmark_id"), [("bbb", 4), ("aaa", 2)])
    assert lists.read_labelled(path).landmarks.tolist() == [4, 2]
    rows = [(1, "Sparkassen-Arena,_Göttingen"), (3, "Zürich")]
    csv_rows.write(path, ("landmark_id", "category"), rows)
    assert lists.read_categories(path) == {3: "Zürich", 1: "Sparkassen-Arena,_Göttingen"}


@pytest.mark.parametrize(
    "read, lines, line, said",
    [
        (
            lists.read_labelled,
            ["id,landmark_id", "aaa,7", "aaa,7"],
            3,
            "'aaa' stands in line 2 already",
        ),
        (lists.read_labelled, ["id,landmark_id", "aaa,"], 2, "a landmark must be a whole number"),
        (lists.read_labelled, ["id,url", "aaa,u"], 1, "must hold id,landmark_id"),
        (
            lists.read_labelled,
            ["landmark_id,images", "1,aaa", "1,bbb"],
            3,
            "landmark_id '1' stands in line 2",
        ),
        (
            lists.read_labelled,
            ["landmark_id,images", "1,aaa", "2,bbb aaa"],
            3,
            "image 'aaa' stands in line 2",
        ),
        (lists.read_labelled, ["landmark_id,images", "1, "], 2, "has no images"),
        (lists.read_ids, ["id", "a", "b", "a"], 4, "stands in line 2"),
        (lists.read_categories, ["landmark_id,category", "1,"], 2, "has no category"),
        (lists.read_categories, ["landmark_id,category", "x,Rome"], 2, "whole number"),
    ],
)
def test_lists_with_a_fault_are_refused_with_their_line(write, read, lines, line, said):
    path = write(*lines)
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}:{line}: ") and said in str(error.value)


def test_labels_are_joined_through_the_category_and_never_by_the_number(write):
    """landmark row 5."""
    theirs = lists.read_categories(
        write(
            "landmark_id,category",
            "0,http://commons.wikimedia.org/wiki/Category:Z%C3%BCrich",
            "1,http://commons.wikimedia.org/wiki/Category:Nowhere",
            "2,https://commons.wikimedia.org/wiki/Category:Old_Bridge",
        )
    )
    ours = lists.read_categories(
        write("landmark_id,category", "2,Category:Zürich", "0,Old Bridge", "1,Elsewhere")
    )
    mapping = join_labels(theirs, ours)
    assert mapping == {0: 2, 2: 0}


def test_a_category_of_two_landmarks_joins_nothing():
    with pytest.raises(DataError, match="landmarks 1 and 2 have one category, 'Rome'"):
        join_labels({0: "Rome"}, {1: "Rome", 2: "Rome"})


def test_an_image_lies_in_folders_of_its_first_letters():
    """landmark row 3."""
    assert str(lists.image_path("0123456789abcdef")) == "0/1/2/0123456789abcdef.jpg"
    for name in ("ab", "", "../x", "a/b/c", "ab.jpg"):
        with pytest.raises(DataError, match="letters and digits, three or more"):
            lists.image_path(name)
