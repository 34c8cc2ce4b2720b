import numpy as np
import pytest

from fastseek.cli._fuse import fuse_files, scorer
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.metrics import evaluate
from fastseek.registry import FUSERS, build
from fastseek.structures import GroundTruth, Ranking


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A good and a random ranking of 40 queries, and their truth."""
    home = tmp_path_factory.mktemp("fuse")
    random = np.random.default_rng(0)
    labels = random.integers(0, 6, 100).astype(str)
    truth = GroundTruth.from_labels(
        [f"q{n:02d}" for n in range(40)], labels[:40], [f"g{n:02d}" for n in range(60)], labels[40:]
    )
    truth.save(home / "t.npz")
    right = (labels[:40, None] == labels[None, 40:]).astype(np.float32)
    for name, strength in (("good", 2.0), ("noise", 0.0)):
        scores = random.normal(size=(40, 60)).astype(np.float32) + strength * right
        order = np.argsort(-scores, axis=1)[:, :50]
        Ranking(
            truth.query_ids, truth.gallery_ids, order, np.take_along_axis(scores, order, axis=1)
        ).save(home / f"{name}.npz")
    return home


def test_files_are_fused_as_the_rankings_are(home, tmp_path):
    paths = [home / "good.npz", home / "noise.npz"]
    line = fuse_files(paths, "vote(depth=5)", tmp_path / "out.npz")
    made = Ranking.load(tmp_path / "out.npz")
    expected = build("vote(depth=5)", FUSERS)([Ranking.load(path) for path in paths])
    assert np.array_equal(made.indices, expected.indices)
    assert np.array_equal(made.scores, expected.scores)
    assert "2 rankings of 40 queries, 5 images each" in line


def test_weights_are_tuned_and_told_in_the_provenance(home, tmp_path):
    paths = [home / "good.npz", home / "noise.npz"]
    line = fuse_files(paths, "distance_average()", tmp_path / "out.npz", "map(20)", home / "t.npz")
    made = Ranking.load(tmp_path / "out.npz")
    assert line.startswith("tuned weights")
    assert made.provenance["tuned"]["metric"] == "map(20)"
    assert made.provenance["tuned"]["found"][0] > 0.7
    truth = GroundTruth.load(home / "t.npz")
    plain = build("distance_average()", FUSERS)([Ranking.load(path) for path in paths])
    assert (
        evaluate(made, truth, ["map(20)"])[0].value
        > evaluate(plain, truth, ["map(20)"])[0].value + 0.05
    )


def test_equal_weights_are_told_as_such(home, tmp_path):
    line = fuse_files(
        [home / "good.npz"] * 2, "sum_top()", tmp_path / "out.npz", "map(20)", home / "t.npz"
    )
    assert line.startswith("equal weights") and "0.500, 0.500" in line


def test_a_member_that_does_not_fit_is_named_by_its_file(home, tmp_path):
    good = Ranking.load(home / "good.npz")
    Ranking(good.query_ids[1:], good.gallery_ids, good.indices[1:], good.scores[1:]).save(
        tmp_path / "short.npz"
    )
    with pytest.raises(
        ArtefactError, match="short.npz does not fit .*good.npz: it lacks 1 queries"
    ):
        fuse_files([home / "good.npz", tmp_path / "short.npz"], "vote()", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_a_member_with_no_numbers_is_named_by_its_file(home, tmp_path):
    good = Ranking.load(home / "good.npz")
    arrays = {"query_ids": good.query_ids, "gallery_ids": good.gallery_ids, "indices": good.indices}
    np.savez(tmp_path / "nan.npz", **arrays, scores=np.full_like(good.scores, np.nan))
    np.savez(tmp_path / "flat.npz", **arrays, scores=np.ones_like(good.scores))
    np.savez(tmp_path / "turned.npz", **{**arrays, "indices": good.indices.T}, scores=good.scores.T)
    for name, said in (
        ("nan", "NaN"),
        ("flat", "all 2000 scores are 1.0"),
        ("turned", "rows for 40 queries"),
    ):
        with pytest.raises(DataError, match=f"{name}.npz.*{said}"):
            fuse_files(
                [home / "good.npz", tmp_path / f"{name}.npz"], "vote()", tmp_path / "out.npz"
            )


def test_tuning_needs_metric_and_truth_and_a_mean_over_queries(home, tmp_path):
    paths = [home / "good.npz", home / "noise.npz"]
    with pytest.raises(UsageError, match="both a metric and the truth"):
        fuse_files(paths, "vote()", tmp_path / "o.npz", "map(20)")
    with pytest.raises(UsageError, match="no mean over queries"):
        fuse_files(paths, "vote()", tmp_path / "o.npz", "gap()", home / "t.npz")


def test_the_values_of_some_queries_are_those_of_all_in_their_places(home):
    truth, good = GroundTruth.load(home / "t.npz"), Ranking.load(home / "good.npz")
    rows = [7, 3, 30]
    some = Ranking(good.query_ids[rows], good.gallery_ids, good.indices[rows], good.scores[rows])
    whole = evaluate(good, truth, ["map(20)"])[0].per_query
    assert scorer(truth, "map(20)")(some).tolist() == whole[rows].tolist()
    assert truth.subset(rows).query_labels.tolist() == truth.query_labels[rows].tolist()
    assert truth.subset(rows).relevant_to(1).tolist() == truth.relevant_to(3).tolist()


def test_a_query_the_truth_does_not_know_is_refused(home):
    good = Ranking.load(home / "good.npz")
    foreign = Ranking(["new"], good.gallery_ids, good.indices[:1], good.scores[:1])
    with pytest.raises(ArtefactError, match="lacks 1 of 1 queries, the first is 'new'"):
        scorer(GroundTruth.load(home / "t.npz"), "map(20)")(foreign)
