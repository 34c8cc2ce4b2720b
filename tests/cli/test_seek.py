import numpy as np
import pytest

import toy
from fastseek.cli._search import seek_files
from fastseek.errors import ArtefactError, UsageError
from fastseek.retrieval import retrieve
from fastseek.structures import Embeddings, Ranking


def pair(seed=0, model="m"):
    random = np.random.default_rng(seed)
    return (
        Embeddings(
            np.arange(6).astype(str), random.normal(size=(6, 8)).astype(np.float32), {"model": "m"}
        ),
        Embeddings(
            np.arange(40).astype(str),
            random.normal(size=(40, 8)).astype(np.float32),
            {"model": model},
        ),
    )


def test_every_step_gives_a_ranking_and_the_provenance_tells_them_all():
    rankings = retrieve(
        *pair(), "exact(k=9)", ["aqe(k=3)"], ["k_reciprocal(k1=4)", "k_reciprocal(k1=6)"]
    )
    assert len(rankings) == 3
    provenance = rankings[-1].provenance
    assert provenance["queries"]["enhance"] == ["aqe(k=3, times=1, alpha=3.0)"]
    assert provenance["search"].startswith("exact(k=9") and len(provenance["rerank"]) == 2


def test_a_wrong_call_is_told_before_any_work():
    class Untouchable:
        def __getattr__(self, name):
            raise AssertionError(f"{name} was read")

    with pytest.raises(UsageError, match="k_reciprocal"):
        retrieve(Untouchable(), Untouchable(), "exact()", (), ["k_reciprocl()"])


def test_embeddings_of_two_models_are_refused_before_they_are_mixed():
    for enhance in ((), ("aqe()",)):
        with pytest.raises(ArtefactError, match="model"):
            retrieve(*pair(model="other"), "exact()", enhance)


def test_files_in_and_out_give_the_ranking_in_memory(tmp_path):
    queries, gallery = pair()
    queries.save(tmp_path / "q")
    gallery.save(tmp_path / "g", rows=7)
    told = seek_files(tmp_path / "q", tmp_path / "g", tmp_path / "r.npz", "exact(k=5)")
    expected, found = retrieve(queries, gallery, "exact(k=5)")[0], Ranking.load(tmp_path / "r.npz")
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert "6 queries, 5 of 40" in told


def test_bare_arrays_have_row_numbers_as_ids(tmp_path):
    queries, gallery = pair()
    np.save(tmp_path / "q.npy", queries.vectors)
    np.save(tmp_path / "g.npy", gallery.vectors)
    seek_files(tmp_path / "q.npy", tmp_path / "g.npy", tmp_path / "r.npz", "exact(k=5)")
    with np.load(tmp_path / "r.npz") as file:
        assert (file["indices"].dtype, file["scores"].dtype) == (np.int64, np.float32)
        assert file["gallery_ids"].tolist() == [str(n) for n in range(40)]


def test_a_flipped_byte_in_the_gallery_is_refused(tmp_path):
    queries, gallery = pair()
    queries.save(tmp_path / "q")
    gallery.save(tmp_path / "g")
    toy.flip(tmp_path / "g" / "00000.vectors.npy")
    with pytest.raises(ArtefactError, match="00000.vectors.npy"):
        seek_files(tmp_path / "q", tmp_path / "g", tmp_path / "r.npz", "exact(k=5)")
    assert not (tmp_path / "r.npz").exists()


@pytest.mark.parametrize(
    "calls",
    [
        {"rerank_calls": ["non_landmark(reference='other')"]},
        {"rerank_calls": ["hard_rank('other', 'labels.csv')"]},
        {"enhance_calls": ["concat('other', 'other')"]},
        {"enhance_calls": ["concat(('q', 'other'), ('q', 'q'))"]},
    ],
)
def test_a_changed_byte_in_what_a_step_reads_is_refused(tmp_path, monkeypatch, calls):
    monkeypatch.chdir(tmp_path)
    for name, side in zip(("q", "g"), pair(), strict=True):
        side.save(name)
    pair()[1].save("other")
    (tmp_path / "labels.csv").write_text("id,label\n" + "".join(f"{row},a\n" for row in range(40)))
    toy.flip(tmp_path / "other" / "00000.vectors.npy")
    with pytest.raises(ArtefactError, match="other/00000.vectors.npy: the bytes are not those"):
        seek_files("q", "g", "r.npz", "exact(k=5)", **calls)
