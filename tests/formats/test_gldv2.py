import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.errors import DataError
from fastseek.formats import gldv2
from fastseek.formats.answer_lists import Lists, check
from fastseek.formats.gldv2 import Recognition, Solution
from fastseek.structures import Ranking

A, B, C, D, E = (f"{n}123456789abcdef" for n in range(5))  # queries
X, Y, Z = (f"fedcba98765432{n}0" for n in (1, 0, 2))  # index images


@pytest.fixture()
def write(tmp_path):
    def made(*lines, name="file.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
        return path

    return made


def refused(read, path, line, said):
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}:{line}: ") and said in str(error.value), error.value
    assert error.value.exit_code == 3


def test_a_recognition_solution_is_read(write):
    solution = gldv2.read_recognition_solution(
        write(
            "id,landmarks,Usage",
            f"{A},0 12,Public",
            f"{B},,Public",
            f"{C},100,Ignored",
            f"{D},1,Private",
            f"{E},,Ignored",
        )
    )
    assert solution.ids.tolist() == [A, B, C, D, E]
    assert solution.only("Public", "Private").right == [[0, 12], [], [1]]
    assert solution.only("Public").ids.tolist() == [A, B]
    assert solution.only("Ignored").ids.tolist() == [C, E]


def test_a_retrieval_solution_is_read(write):
    solution = gldv2.read_retrieval_solution(
        write(
            "id,images,Usage",
            f"{A},None,Ignored",
            f"{B},{X} {Y},Public",
            f"{C},{Y},Private",
            f"{E},None,Ignored",
        )
    )
    assert solution.only("Public", "Private").right == [[X, Y], [Y]]


@pytest.mark.parametrize(
    "lines, line, said",
    [
        (
            ["id,landmarks,Usage", f"{A},1,public"],
            2,
            "Usage must be Public, Private, Ignored, found 'public'",
        ),
        (["id,landmarks,Usage", f"{A},1,Public", f"{A},2,Private"], 3, "stands in line 2 already"),
        (
            ["id,landmarks,Usage", f"{A},one,Public"],
            2,
            "landmark must be a whole number, found 'one'",
        ),
        (["id,landmarks,Usage", f"{A},1.0,Public"], 2, "whole number"),
        (["id,landmarks,Usage", f"{A},1_0,Public"], 2, "whole number"),
        (["id,landmarks,Usage", f"{A},1"], 2, "2 values, the header has 3"),
        (["id,landmarks,Usage", "", f"{A},1,Public,"], 3, "4 values, the header has 3"),
        (["id,landmarks", f"{A},1"], 1, "must hold id,landmarks,Usage"),
        (["id;landmarks;Usage", f"{A};1;Public"], 1, "separated by commas, not ';'"),
        (["id,images,Usage", f"{A},{X},Public"], 1, "must hold id,landmarks,Usage"),
        ([], 1, "found nothing"),
    ],
)
def test_a_recognition_solution_with_a_fault_is_refused_with_its_line(write, lines, line, said):
    """landmark row 56."""
    refused(gldv2.read_recognition_solution, write(*lines), line, said)


@pytest.mark.parametrize("value", ["", "None", " "])
def test_a_scored_retrieval_query_must_have_an_image(write, value):
    """landmark row 56."""
    refused(
        gldv2.read_retrieval_solution,
        write("id,images,Usage", f"{A},{value},Private"),
        2,
        "must have an image",
    )


def solution_of(ids, usage, right):
    return Solution(np.array(ids), np.array(usage), right)


def test_recognition_predictions_are_read(write):
    solution = solution_of(
        [A, B, C, D, E], ["Public", "Public", "Ignored", "Private", "Ignored"], [[]] * 5
    )
    found = gldv2.read_recognition(
        write("id,landmarks", f"{A},12 0.1 ", f"{D},0 19.0", f"{B},", "", f"{E},14 0.01"), solution
    )
    assert found.ids.tolist() == [A, D]
    assert found.landmarks.tolist() == [12, 0]
    assert found.scores.tolist() == [0.1, 19.0]


def test_retrieval_predictions_are_read(write):
    solution = solution_of(
        [A, B, C, D, E], ["Ignored", "Public", "Private", "Private", "Ignored"], [[]] * 5
    )
    found = gldv2.read_retrieval(
        write("id,images", f"{A},{Z} ", f"{D},{Z}", f"{B},{X} {Y} {X}", "", f"{E},"), solution
    )
    assert dict(found) == {D: [Z], B: [X, Y, X]}


def test_an_unknown_query_may_stand_without_an_answer_but_not_with_one(write):
    """landmark row 56."""
    solution = solution_of([A], ["Public"], [[]])
    assert not len(gldv2.read_recognition(write("id,landmarks", "stranger,"), solution).ids)
    refused(
        lambda path: gldv2.read_recognition(path, solution),
        write("id,landmarks", "stranger,1 2"),
        2,
        "'stranger' is not in the solution",
    )
    refused(
        lambda path: gldv2.read_retrieval(path, solution),
        write("id,images", "", "stranger,x"),
        3,
        "'stranger' is not in the solution",
    )


def test_an_ignored_query_is_passed_over_whatever_it_is_answered(write):
    """landmark row 56."""
    solution = solution_of([A], ["Ignored"], [[]])
    assert not len(
        gldv2.read_recognition(write("id,landmarks", f"{A},no landmark at all"), solution).ids
    )


FAULTS = [
    (["id,landmarks", f"{A},1"], 2, "expected a landmark and its score, found 1 words"),
    (["id,landmarks", f"{A},1 2 3"], 2, "found 3 words"),
    (["id,landmarks", f"{A},x 0.5"], 2, "landmark must be a whole number"),
    (["id,landmarks", f"{A},1 high"], 2, "score must be a number, found 'high'"),
    (["id,landmarks", f"{A},1 nan"], 2, "finite number, found 'nan'"),
    (["id,landmarks", f"{A},1 -inf"], 2, "finite number"),
    (["id,landmarks", f"{A},1 1_0"], 2, "finite number"),
    (["id,landmarks", f"{A},1  0.5"], 2, "one space"),
    (["id,landmarks", f"{A},1 0.5", f"{B},", f"{A},1 0.5"], 4, "stands in line 2 already"),
    (["id,landmarks", f"{A},", f"{A},"], 3, "stands in line 2 already"),
    (["id,landmarks", ",1 0.5"], 2, "id '' must be one word"),
    (["id,landmarks", f"{A} ,1 0.5"], 2, "must be one word"),
    (["id,landmarks", f"{A},1,0.5"], 2, "3 values, the header has 2"),
    (["id,landmarks", f"{A}"], 2, "1 values, the header has 2"),
    (["id,landmarks", f"{A}\t1 0.5"], 2, "1 values"),
    ([f"{A},1 0.5"], 1, "the header must be id,landmarks"),
    (["landmarks,id", f"1 0.5,{A}"], 1, "the header must be id,landmarks"),
    ([",id,landmarks", f"0,{A},1 0.5"], 1, "the header must be id,landmarks"),
    (["id,landmark_id", f"{A},1 0.5"], 1, "the header must be id,landmarks"),
    (["id\tlandmarks", f"{A}\t1 0.5"], 1, "not '\\t'"),
    (["\ufeffid,landmarks", f"{A},1 0.5"], 1, "byte order mark"),
    (["id,landmarks", f'{A},"1 0.5'], 2, "not a CSV row"),
]


@pytest.mark.parametrize("lines, line, said", FAULTS)
def test_a_recognition_submission_with_a_fault_is_refused_with_its_line(write, lines, line, said):
    """landmark row 56."""
    refused(gldv2.read_recognition, write(*lines), line, said)


def test_bytes_that_are_no_text_are_refused_with_their_line(write):
    refused(
        gldv2.read_recognition,
        write("id,landmarks", f"{A},1 0.5", "naïve,", encoding="latin1"),
        3,
        "not UTF-8",
    )


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            gldv2.read_retrieval(path)


NAMES = st.text("0123456789abcdef", min_size=1, max_size=16)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        NAMES,
        st.none()
        | st.tuples(st.integers(-1, 10**9), st.floats(allow_nan=False, allow_infinity=False)),
    )
)
def test_what_is_written_for_recognition_is_read_back(tmp_path_factory, rows):
    """landmark row 57."""
    path = tmp_path_factory.mktemp("round") / "submission.csv"
    said = {name: pair for name, pair in rows.items() if pair}
    made = Recognition(
        np.array(list(said), str),
        np.array([pair[0] for pair in said.values()], np.int64),
        np.array([pair[1] for pair in said.values()], np.float64),
    )
    gldv2.write_recognition(path, made, list(rows))
    found = gldv2.read_recognition(path)
    assert [line.split(",")[0] for line in path.read_text().splitlines()] == ["id", *rows]
    assert found.ids.tolist() == list(said)
    assert list(zip(found.landmarks.tolist(), found.scores.tolist(), strict=True)) == list(
        said.values()
    )


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(NAMES, st.lists(NAMES, unique=True, max_size=5)))
def test_what_is_written_for_retrieval_is_read_back(tmp_path_factory, rows):
    """landmark row 57."""
    path = tmp_path_factory.mktemp("round") / "submission.csv"
    gldv2.write_retrieval(path, Lists.of(rows.items()), list(rows))
    assert dict(gldv2.read_retrieval(path)) == {
        name: names for name, names in rows.items() if names
    }


def test_the_first_hundred_of_a_ranking_are_written_and_a_test_image_without_answer_stays(tmp_path):
    gallery = [f"g{n:03d}" for n in range(150)]
    order = np.random.default_rng(0).permutation(150)
    indices = np.stack([order, np.full(150, -1)])
    ranking = Ranking([B, A], gallery, indices, np.where(indices < 0, -np.inf, -np.arange(150.0)))
    gldv2.write_retrieval(tmp_path / "s.csv", ranking, [A, B, C], gallery)
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert lines == [
        "id,images",
        f"{A},",
        f"{B},{' '.join(gallery[row] for row in order[:100])}",
        f"{C},",
    ]


@pytest.mark.parametrize(
    "answers, tests, said",
    [
        ([(A, ["x", "y", "x"])], [A], f"query '{A}' is answered with 'x' twice"),
        ([(A, [f"g{n}" for n in range(101)])], [A], "101 answers, must have 0 to 100"),
        ([(A, ["x"]), (A, ["y"])], [A], "stands 2 times"),
        ([(A, ["x"])], [B], "1 queries are not among the 1 test images"),
        ([(A, ["x"])], [A, A], "test images: query .* stands 2 times"),
        ([(A, ["q"])], [A], "answered with 'q', which is not in the gallery"),
        ([("a,b", ["x"])], ["a,b"], "must be one word without commas"),
    ],
)
def test_a_retrieval_submission_with_a_fault_is_not_written(tmp_path, answers, tests, said):
    (tmp_path / "s.csv").write_text("old")
    with pytest.raises(DataError, match=said):
        gldv2.write_retrieval(
            tmp_path / "s.csv",
            Lists.of(answers),
            tests,
            ["x", "y", "a,b"] if "twice" not in said and "101" not in said else None,
        )
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(
    "ids, scores, tests, said",
    [
        ([A], [np.nan], [A], "score of query .* is nan"),
        ([A, A], [1, 2], [A], "stands 2 times"),
        ([A], [1.0], [B], "not among the 1 test images"),
        ([A], [np.inf], [A], "is inf"),
        ([""], [1.0], [""], "one word"),
    ],
)
def test_a_recognition_submission_with_a_fault_is_not_written(tmp_path, ids, scores, tests, said):
    made = Recognition(np.array(ids), np.ones(len(ids), np.int64), np.array(scores, float))
    with pytest.raises(DataError, match=said):
        gldv2.write_recognition(tmp_path / "s.csv", made, tests)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "rows, said",
    [
        ([(A, ["x"])], "1 of 2 queries are missing, the first is '1123"),
        ([(A, ["x"]), (B, ["y"]), (C, ["y"])], "1 of 2 queries are not among those asked"),
        ([(A, []), (B, ["x"])], "has 0 answers, must have 1 to 3"),
        ([(A, ["z"]), (B, ["x"])], "'z', which is not in the gallery"),
        ([(A, ["x", 'y"']), (B, ["x"])], "without commas, quotes"),
    ],
)
def test_lists_that_may_not_be_handed_in_are_refused(rows, said):
    with pytest.raises(DataError, match=said):
        check(Lists.of(rows), "s.csv", most=3, least=1, queries=[A, B], images=["x", "y", 'y"'])
