import gzip
import os

import numpy as np
import pytest

from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.structures import Embeddings, Ranking

INDICES, SCORES = [[2, 0], [1, -1]], [[0.9, 0.5], [0.1, -np.inf]]


def ranking(**change):
    given = {
        "query_ids": ["q1", "q2"],
        "gallery_ids": ["a", "b", "c"],
        "indices": INDICES,
        "scores": SCORES,
        "provenance": {"search": "exact()", "queries": {"views": ["hflip()"]}},
    }
    return Ranking(**given | change)


def test_what_is_saved_is_loaded(tmp_path):
    ranking().save(tmp_path / "r.npz")
    loaded = Ranking.load(tmp_path / "r.npz")
    for name in ("query_ids", "gallery_ids", "indices", "scores"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(ranking(), name))
    assert loaded.provenance == ranking().provenance
    assert (loaded.indices.dtype, loaded.scores.dtype) == (np.int64, np.float32)


def test_file_names_that_are_no_utf8_go_out_and_in(tmp_path):
    odd = os.fsdecode(b"x\xff.jpg")
    ranking(
        query_ids=[odd, "q"], gallery_ids=["a", odd, "c"], provenance={"queries": {"root": odd}}
    ).save(tmp_path / "r")
    loaded = Ranking.load(tmp_path / "r")
    assert loaded.query_ids.tolist() == [odd, "q"] and loaded.gallery_ids.tolist() == [
        "a",
        odd,
        "c",
    ]
    assert os.fsencode(str(loaded.query_ids[0])) == b"x\xff.jpg" and loaded.provenance == {
        "queries": {"root": odd}
    }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"indices": [[2, 3], [1, -1]]}, "outside the gallery of 3"),
        ({"indices": [[2, -2], [1, -1]]}, "outside"),
        ({"indices": [[2, 2], [1, -1]]}, "'q1' lists a gallery image twice"),
        ({"indices": [[2, 0], [1, 0]]}, "-1 and score -inf"),
        ({"scores": [[0.9, 0.5], [0.1, 0]]}, "-1 and score -inf"),
        ({"scores": [[0.5, 0.9], [0.1, -np.inf]]}, "'q1' rise"),
        ({"scores": [[0.9, np.nan], [0.1, -np.inf]]}, "'q1' are NaN"),
        ({"scores": [[0.9], [0.1]]}, r"\[Q, K\]"),
        ({"query_ids": ["q1"]}, "2 rows for 1 queries"),
        ({"query_ids": ["q1", "q1"]}, "'q1' stands 2 times"),
        ({"gallery_ids": ["a", "a", "b"]}, "'a' stands 2 times"),
    ],
)
def test_what_is_no_ranking_is_refused(change, told):
    with pytest.raises(DataError, match=told):
        ranking(**change)


def test_equal_scores_and_several_empty_places_are_fine():
    made = ranking(indices=[[2, 0, 1], [1, -1, -1]], scores=[[1, 1, 1], [0, -np.inf, -np.inf]])
    assert made.indices.shape == (2, 3)


def test_a_ranking_of_no_images_or_no_queries_is_fine():
    assert ranking(indices=np.empty((2, 0)), scores=np.empty((2, 0))).indices.shape == (2, 0)
    assert ranking(
        query_ids=[], indices=np.empty((0, 5)), scores=np.empty((0, 5))
    ).indices.shape == (0, 5)


def test_a_file_that_is_not_there_or_something_else_is_a_data_error(tmp_path):
    np.savez(tmp_path / "other.npz", stuff=np.ones(3))
    np.save(tmp_path / "array.npy", np.ones(3))
    for name, told in (
        ("none.npz", "no such file"),
        ("other.npz", "lacks indices"),
        ("array.npy", "expected an .npz"),
    ):
        with pytest.raises(DataError, match=told):
            Ranking.load(tmp_path / name)


def test_any_cut_and_any_flipped_byte_is_refused_or_harmless(tmp_path):
    path = tmp_path / "r.npz"
    ranking().save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises((ArtefactError, DataError)):
            Ranking.load(path)
    for place in range(0, len(whole), 11):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            loaded = Ranking.load(path)
        except (ArtefactError, DataError):
            continue
        np.testing.assert_array_equal(loaded.indices, ranking().indices)
        np.testing.assert_array_equal(loaded.scores, ranking().scores)


def test_objects_are_never_unpickled(tmp_path):
    np.savez(
        tmp_path / "r.npz",
        **{
            name: np.array([{}], object)
            for name in ("indices", "scores", "query_ids", "gallery_ids")
        },
    )
    with pytest.raises(ArtefactError):
        Ranking.load(tmp_path / "r.npz")


def test_a_file_whose_provenance_has_lost_its_name_is_refused(tmp_path):
    ranking().save(tmp_path / "r.npz")
    whole = (tmp_path / "r.npz").read_bytes()
    name = whole.rindex(b"passport.npy")
    for bit in range(8 * len(b"passport.npy")):
        damaged = bytearray(whole)
        damaged[name + bit // 8] ^= 1 << bit % 8
        (tmp_path / "r.npz").write_bytes(damaged)
        with pytest.raises(ArtefactError, match="r.npz"):
            Ranking.load(tmp_path / "r.npz")


def foreign(path, **change):
    """A ranking as somebody else's program could have written it."""
    made = ranking()
    np.savez(
        path,
        **{name: getattr(made, name) for name in ("query_ids", "gallery_ids", "indices", "scores")}
        | change,
    )
    return path


def test_a_foreign_file_without_provenance_and_with_more_in_it_is_read(tmp_path):
    loaded = Ranking.load(
        foreign(tmp_path / "r.npz", more=np.ones(3), indices=np.array(INDICES, np.float64))
    )
    assert loaded.provenance == {} and loaded.indices.tolist() == INDICES


@pytest.mark.parametrize(
    "change",
    [
        {"indices": np.array([[2.5, 0], [1, -1]])},
        {"indices": np.array([[1e30, 0], [1, -1]])},
        {"indices": np.array([[2, 0], [1, 2**64 - 1]], np.uint64)},
        {"indices": np.asarray("x")},
        {"scores": np.array(SCORES) + 1j},
        {"scores": np.array([[1e300, 0], [0, -np.inf]])},
        {"scores": np.asarray("x")},
        {"scores": np.array([[0, -1e300], [0, -np.inf]])},
        {"scores": np.array([[np.inf, 0], [0, -np.inf]], np.float32)},
        {"query_ids": np.array([b"\xff", b"q"])},
        {"query_ids": np.asarray("q")},
        {"gallery_ids": np.array([["a", "b"]])},
        {"passport": np.asarray("[1]")},
        {"passport": np.asarray("5")},
        {"passport": np.asarray('{"queries": 5}')},
        {"passport": np.asarray('{"gallery": null}')},
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_foreign_file_that_is_no_ranking_is_refused_by_its_name(tmp_path, change):
    with pytest.raises((ArtefactError, DataError), match="r.npz: "):
        Ranking.load(foreign(tmp_path / "r.npz", **change))


def test_a_file_that_cannot_be_opened_is_not_called_damaged(tmp_path):
    (tmp_path / "r.npz").mkdir()
    with pytest.raises(DataError, match="r.npz: cannot be read"):
        Ranking.load(tmp_path / "r.npz")


def test_a_merged_ranking_may_list_the_provenances_of_its_members():
    assert ranking(provenance={"gallery": [{"model": "a"}, [{}, None]]}).provenance["gallery"][
        0
    ] == {"model": "a"}


def test_the_old_field_name_is_read_and_taken_with_a_warning():
    told = {"search": "exact()"}
    with pytest.warns(DeprecationWarning, match="is called provenance"):
        built = Ranking(["q"], ["a"], [[0]], [[1.0]], passport=told)
    with pytest.warns(DeprecationWarning, match="is called provenance"):
        assert built.passport == built.provenance == told
    with pytest.warns(DeprecationWarning, match="Embeddings.passport"):
        assert Embeddings(["a"], np.ones((1, 2), np.float32), told).passport == told


@pytest.mark.parametrize(
    "name, said",
    [("r.csv", "not read back: name the .npz"), ("r.npz", "it begins with b'query,ra'")],
)
def test_a_table_in_place_of_a_ranking_is_told_so_and_never_to_be_loaded_unsafely(
    name, said, tmp_path
):
    (tmp_path / name).write_text("query,rank,id,score\nq,1,g,0.5\n")
    with pytest.raises(ArtefactError) as told:
        Ranking.load(tmp_path / name)
    assert said in str(told.value) and "pickle" not in str(told.value)


def test_an_empty_file_is_told_to_be_empty(tmp_path):
    (tmp_path / "r.npz").touch()
    with pytest.raises(ArtefactError, match=r"r\.npz: not a whole \.npz file \(it is empty\)"):
        Ranking.load(tmp_path / "r.npz")


WRITERS = {
    "answers.csv": Ranking.to_csv,
    "answers.csv.gz": Ranking.to_csv,
    "answers.json": Ranking.to_json,
    "answers.jsonl": Ranking.to_json,
    "answers.npz": Ranking.save,
    "answers": Ranking.save,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_writer_replaces_what_it_wrote_and_nothing_foreign_unless_forced(name, tmp_path):
    write, path = WRITERS[name], tmp_path / name
    for content in (b"day,hours\nmonday,3\n", b'{"mine": 1}\n', b"PK\x05\x06" + bytes(18)):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=f"{name} is there and is no ranking.*force=True"):
            write(ranking(), path)
        assert path.read_bytes() == content
        write(ranking(), path, force=True)
    first = path.read_bytes()
    write(ranking(), path)
    assert path.read_bytes() == first and first
    for other, form in WRITERS.items():
        if form is write:
            write(ranking(), tmp_path / other)


@pytest.mark.parametrize("write", [Ranking.to_csv, Ranking.to_json, Ranking.save])
def test_a_writer_refuses_a_name_of_another_kind_of_file(write, tmp_path):
    others = {name for name, form in WRITERS.items() if form is not write and "." in name}
    for name in (
        ({"answers"} if write is not Ranking.save else set()) | others | {"a.xlsx", ".csv.bz2"}
    ):
        with pytest.raises(UsageError, match=r"a ranking is written as \.\w+"):
            write(ranking(), tmp_path / name)
    for nothing in (None, 7, b"a.csv"):
        with pytest.raises(UsageError, match="expected the name of a file that ends in"):
            write(ranking(), nothing)
    assert not list(tmp_path.iterdir())


def test_a_compressed_table_is_the_table_compressed_and_the_same_every_time(tmp_path):
    odd = os.fsdecode(b"x\xff.jpg")
    made = ranking(query_ids=[odd, "q"])
    made.to_csv(tmp_path / "a.csv")
    made.to_csv(tmp_path / "a.csv.gz")
    made.to_csv(tmp_path / "b.csv.gz")
    packed = (tmp_path / "a.csv.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "a.csv").read_bytes()
    assert packed == (tmp_path / "b.csv.gz").read_bytes()
