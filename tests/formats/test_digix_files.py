import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.errors import DataError
from fastseek.formats import digix
from fastseek.formats.answer_lists import Lists
from fastseek.structures import Ranking

GALLERY = [f"g{n}.jpg" for n in range(12)]


def test_labels_are_read_as_they_were_written(tmp_path):
    labels = {"DIGIX_000000/a.jpg": 0, "DIGIX_000001/b.jpg": 1}
    digix.write_labels(tmp_path / "label.txt", labels)
    assert (tmp_path / "label.txt").read_text() == "DIGIX_000000/a.jpg,0\nDIGIX_000001/b.jpg,1\n"
    assert digix.read_labels(tmp_path / "label.txt") == labels


@pytest.mark.parametrize(
    "lines, line, said",
    [
        (["a.jpg,1", "b.jpg"], 2, "expected image,class, found 1 values"),
        (["a.jpg,1", "", "a.jpg,2"], 3, "image 'a.jpg' stands in line 1 already"),
        (["a.jpg,phone"], 1, "class must be a whole number, found 'phone'"),
    ],
)
def test_labels_with_a_fault_are_refused_with_their_line(tmp_path, lines, line, said):
    path = tmp_path / "label.txt"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError) as error:
        digix.read_labels(path)
    assert str(error.value).startswith(f"{path}:{line}: ") and said in str(error.value)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text("abc/_.0", min_size=1, max_size=8), st.permutations(GALLERY)))
def test_a_submission_is_read_as_it_was_written(tmp_path_factory, rows):
    """finegrained row 56."""
    path = tmp_path_factory.mktemp("round") / "submission.csv"
    answers = {query: names[:10] for query, names in rows.items()}
    digix.write_submission(path, Lists.of(answers.items()), list(rows), GALLERY)
    assert dict(digix.read_submission(path)) == answers


def test_the_first_ten_of_a_ranking_are_written_in_braces(tmp_path):
    """finegrained row 56."""
    order = np.random.default_rng(0).permutation(12)
    ranking = Ranking(["q.jpg"], GALLERY, order[None], -np.arange(12.0)[None])
    digix.write_submission(tmp_path / "s.csv", ranking, ["q.jpg"], GALLERY)
    expected = ",".join(GALLERY[row] for row in order[:10])
    assert (tmp_path / "s.csv").read_text() == f"q.jpg,{{{expected}}}\n"


@pytest.mark.parametrize(
    "line, said",
    [
        ("q.jpg,a.jpg", "expected query,{first,second,…}"),
        ("q.jpg", "expected query"),
        ("q.jpg,{a.jpg", "expected query"),
        ("q.jpg,{a.jpg},b.jpg", "expected query"),
        ("q.jpg,{{a.jpg}}", "expected query"),
        ("q.jpg,{a.jpg,}", "an answer must be one word, found ''"),
        ("q.jpg,{a b.jpg}", "found 'a b.jpg'"),
        (",{a.jpg}", "query '' must be one word"),
        ("first.jpg,{a.jpg}", "'first.jpg' stands in line 1 already"),
    ],
)
def test_a_submission_with_a_fault_is_refused_with_its_line(tmp_path, line, said):
    path = tmp_path / "s.csv"
    path.write_text(f"first.jpg,{{a.jpg,b.jpg}}\n{line}\n")
    with pytest.raises(DataError) as error:
        digix.read_submission(path)
    assert str(error.value).startswith(f"{path}:2: ") and said in str(error.value)


@pytest.mark.parametrize(
    "names, said",
    [
        (GALLERY[:9], "has 9 answers, must have 10 to 10"),
        (GALLERY[:11], "has 11 answers"),
        ([*GALLERY[:9], "g0.jpg"], "'g0.jpg' twice"),
        ([*GALLERY[:9], "new.jpg"], "not in the gallery"),
    ],
)
def test_a_submission_with_a_fault_is_not_written(tmp_path, names, said):
    with pytest.raises(DataError, match=said):
        digix.write_submission(tmp_path / "s.csv", Lists.of([("q.jpg", names)]), ["q.jpg"], GALLERY)
    with pytest.raises(DataError, match="1 of 2 queries are missing"):
        digix.write_submission(
            tmp_path / "s.csv", Lists.of([("q.jpg", GALLERY[:10])]), ["q.jpg", "r.jpg"], GALLERY
        )
    assert not list(tmp_path.iterdir())
