"""What an adapter does to classes it was not fitted on: the folds, the figures, the choice."""

import numpy as np
import pytest

from fastseek.adapt import Trying, check_harmless, fit_adapter
from fastseek.adapt._folds import draw_classes, make_folds
from fastseek.adapt._judgement import HARMS, HELPS, choose, class_interval, judge
from fastseek.adapt._trials import FROZEN, METRICS, Asked, Trials, try_candidates
from fastseek.enhance._blended_map import BlendedMap
from fastseek.errors import DataError, RunError, UsageError
from fastseek.metrics import evaluate
from fastseek.registry import ADAPTERS, build
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings, GroundTruth, interval


def planted(seed=0, classes=18, images=8, dim=16, helpful=True):
    """Embeddings whose classes differ in four directions, under louder ones that tell nothing.

    Unless `helpful`: what tells a class is a direction of its own, which other classes cannot teach.
    """
    random = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(classes), images)
    centers = np.zeros((classes, dim))
    if helpful:
        centers[:, :4] = random.normal(size=(classes, 4))
        loud = np.where(np.arange(dim) < 4, 0.2, 1.5)
    else:
        centers[np.arange(classes), np.arange(classes) % dim] = 1.5
        loud = np.full(dim, 0.3)
    vectors = (centers[numbers] + random.normal(size=(len(numbers), dim)) * loud).astype(np.float32)
    ids = [f"{number:04d}.jpg" for number in range(len(numbers))]
    labels = {name: f"class {number}" for name, number in zip(ids, numbers, strict=True)}
    return Embeddings(ids, vectors, {"model": "m"}), labels


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_every_class_is_left_out_once_and_nothing_asked_was_fitted(seed):
    random = np.random.default_rng(seed)
    classes = np.repeat(np.arange(9), random.integers(1, 14, 9))
    sizes = np.bincount(classes)
    folds = make_folds(classes, 4, seed)
    left_out = [set(classes[fold.queries[fold.unseen]].tolist()) for fold in folds]
    assert sorted(sum(map(list, left_out), [])) == np.flatnonzero(sizes > 1).tolist()
    for fold, gone in zip(folds, left_out, strict=True):
        assert not set(classes[fold.fit].tolist()) & gone
        assert not set(fold.fit.tolist()) & set(fold.queries.tolist())
        assert set(classes[fold.fit].tolist()) | gone == set(range(9))
        # A seen class's query is searched, not found in itself; an unseen one's may find itself.
        seen, unseen = fold.queries[~fold.unseen], fold.queries[fold.unseen]
        assert not set(seen.tolist()) & set(fold.gallery.tolist())
        assert set(fold.gallery.tolist()) == set(fold.fit.tolist()) | set(unseen.tolist())


def test_large_sets_are_judged_by_whole_classes():
    classes = np.repeat(np.arange(50), 10)
    rows = draw_classes(classes, 120, 0)
    assert len(rows) == 120 and (np.bincount(classes[rows])[np.unique(classes[rows])] == 10).all()
    assert len(draw_classes(classes, 5, 0)) == 30  # never fewer than three classes
    np.testing.assert_array_equal(draw_classes(classes, 500, 0), np.arange(500))


def test_the_figures_of_a_fold_are_those_of_search_and_evaluation():
    side, labels = planted(1, classes=6)
    classes = np.unique([labels[name] for name in side.ids], return_inverse=True)[1]
    vectors, fold = unit(side.vectors), make_folds(classes, 3, 0)[1]
    method = build("lda()", ADAPTERS)
    trials = try_candidates(vectors, classes, [fold], [method], (0.5, 1.0))
    seen = np.unique(classes[fold.fit], return_inverse=True)[1]
    fitted = method(vectors[fold.fit], seen)
    for candidate, blend in ((FROZEN, 0.0), ((method.call, 0.5), 0.5), ((method.call, 1.0), 1.0)):
        layer = BlendedMap(*fitted, blend)
        queries, gallery = (
            Embeddings(rows.astype(str), layer(vectors[rows])) for rows in fold[1::2]
        )
        ranking = Exact(k=len(gallery))(queries, gallery)
        truth = GroundTruth.from_labels(
            queries.ids,
            classes[fold.queries].astype(str),
            gallery.ids,
            classes[fold.gallery].astype(str),
        )
        for metric, score in zip(METRICS, evaluate(ranking, truth, METRICS), strict=True):
            np.testing.assert_allclose(trials.values[candidate][metric], score.per_query, atol=1e-6)


def test_classes_that_share_directions_help_one_another():
    adapted = fit_adapter(*planted())
    judgement = adapted.judgement
    assert judgement.verdict == HELPS
    gains = {(one.group, one.metric): one.gain for one in judgement.changes}
    assert gains["unseen", "map"] > 0.1 and gains["seen", "map"] > 0.1
    check_harmless(adapted)


def test_classes_that_share_nothing_are_harmed_and_that_is_told():
    side, labels = planted(classes=12, helpful=False)
    adapted = fit_adapter(side, labels, Trying(methods=("lda()",), blend=1.0))
    assert adapted.judgement.verdict == HARMS
    with pytest.raises(RunError, match=r"harms .*unseen classes, map 0.\d+ -> 0.\d+.*--force"):
        check_harmless(adapted)


def test_a_smaller_blend_is_taken_where_the_whole_layer_harms():
    side, labels = planted(classes=12, helpful=False)
    whole = fit_adapter(side, labels, Trying(methods=("lda()",), blend=1.0)).judgement
    chosen = fit_adapter(side, labels, Trying(methods=("lda()",))).judgement
    assert whole.verdict == HARMS and chosen.candidate[1] < 1
    first = {one.group: one.gain for one in chosen.changes if one.metric == "map"}
    assert first["unseen"] > next(one.gain for one in whole.changes if one.group == "unseen")


def trials_of(**values):
    """Two folds of two queries, one of a seen and one of an unseen class each; map is recall."""
    asked = Asked(np.array([0, 0, 1, 1]), np.array([False, True] * 2), np.arange(4))
    named = {"frozen": FROZEN, "a": ("a()", 1.0), "b": ("b()", 0.5)}
    return Trials(
        asked,
        {named[key]: dict.fromkeys(METRICS, np.array(value)) for key, value in values.items()},
    )


def test_the_choice_is_the_best_that_harms_nobody():
    everywhere = np.ones(4, bool)
    frozen = [0.5, 0.5, 0.5, 0.5]
    harmful = trials_of(frozen=frozen, a=[1, 0.4, 1, 0.4], b=[0.6, 0.5, 0.6, 0.5])
    assert choose(harmful, everywhere) == ("b()", 0.5)
    assert choose(harmful, everywhere, harm=np.inf) == ("a()", 1.0)
    # Unseen classes that gain do not pay for seen ones that lose.
    assert choose(trials_of(frozen=frozen, a=[0.4, 1, 0.4, 1]), everywhere) is None
    assert choose(trials_of(frozen=frozen, a=[0.5, 0.499, 0.5, 0.499]), everywhere)


def test_a_choice_is_judged_by_folds_that_did_not_make_it():
    """In each fold the candidate that the other fold likes best is the worse one."""
    trials = trials_of(frozen=[0.5, 0.5, 0.5, 0.5], a=[0.9, 0.9, 0.5, 0.5], b=[0.5, 0.5, 0.8, 0.8])
    judgement = judge(trials)
    assert judgement.candidate == ("a()", 1.0)
    assert [one.gain for one in judgement.changes] == [0] * 4  # not +0.2, which is chance


def test_where_every_candidate_harms_the_best_is_told_as_harmful():
    judgement = judge(trials_of(frozen=[0.5] * 4, a=[0.9, 0.1, 0.9, 0.1], b=[0.1] * 4))
    assert judgement.candidate == ("a()", 1.0) and judgement.verdict == HARMS
    gains = {one.group: one.gain for one in judgement.changes}
    assert gains == pytest.approx({"seen": 0.4, "unseen": -0.4})


def test_an_interval_over_classes_of_one_query_is_that_over_queries():
    values = np.random.default_rng(0).random(40)
    np.testing.assert_allclose(class_interval(values, np.arange(40)), interval(values))


def test_an_interval_over_classes_is_wider_where_queries_of_a_class_are_alike():
    values = np.repeat(np.random.default_rng(0).random(10), 20)
    low, high = class_interval(values, np.repeat(np.arange(10), 20))
    of_queries = interval(values)
    assert high - low > 3 * (of_queries[1] - of_queries[0])


@pytest.mark.parametrize("method", ["ridge()", "lda()", "cosine_linear(epochs=2)"])
def test_the_order_of_the_rows_changes_nothing(method):
    side, labels = planted(2, classes=6)
    order = np.random.default_rng(0).permutation(len(side))
    turned = Embeddings(side.ids[order], side.vectors[order], side.provenance)
    trying = Trying(methods=(method,))
    one, two = fit_adapter(side, labels, trying), fit_adapter(turned, labels, trying)
    assert one.fit.digest == two.fit.digest and one.judgement == two.judgement


def test_images_without_a_label_and_lengths_of_vectors_change_nothing():
    side, labels = planted(3, classes=6)
    random = np.random.default_rng(0)
    more = Embeddings(
        [*side.ids, "extra.jpg"],
        np.concatenate([side.vectors, random.normal(size=(1, 16)).astype(np.float32)])
        * random.choice([0.5, 2.0], (len(side) + 1, 1)).astype(np.float32),
        side.provenance,
    )
    trying = Trying(methods=("lda()",), folds=0)
    one, two = fit_adapter(side, labels, trying), fit_adapter(more, labels, trying)
    for name, array in one.fit.arrays.items():
        np.testing.assert_allclose(two.fit.arrays[name], array, atol=1e-5)
    assert one.images == two.images == 48


def test_too_few_classes_are_told_with_what_is_needed():
    side, labels = planted(classes=3, images=4)
    for most, told in ((1, "name 1 class: .* two or more"), (2, "takes 3 classes")):
        few = {name: label for name, label in labels.items() if label <= f"class {most - 1}"}
        with pytest.raises(DataError, match=told):
            fit_adapter(side, few)
    with pytest.raises(DataError, match="none of the 12 images has a label: .* '0000.jpg'"):
        fit_adapter(side, {"other.jpg": "class 1"})
    with pytest.raises(DataError, match="1 of them with two images"):
        fit_adapter(side, {f"{row:04d}.jpg": label for row, label in enumerate("aabcd")})
    two = {name: label for name, label in labels.items() if label < "class 2"}
    unjudged = fit_adapter(side, two, Trying(methods=("lda()",), folds=0))
    with pytest.raises(RunError, match="not judged"):
        check_harmless(unjudged)


@pytest.mark.parametrize(
    ("trying", "told"),
    [
        (Trying(methods=("rigde()",)), "did you mean 'ridge'"),
        (Trying(blend=0.0), "above 0"),
        (Trying(blend=1.5), "at most 1"),
        (Trying(folds=1), "2 or more"),
        (Trying(seed=-1), "seed"),
        (Trying(folds=0), "2 methods and no folds"),
    ],
)
def test_wrong_wishes_are_told_before_any_work(trying, told):
    class Untouchable:
        def __getattr__(self, name):
            raise AssertionError(f"{name} was read")

    with pytest.raises(UsageError, match=told):
        fit_adapter(Untouchable(), {}, trying)


def test_a_vector_without_direction_is_named():
    side, labels = planted(classes=3)
    vectors = side.vectors.copy()
    vectors[5] = 0
    with pytest.raises(DataError, match="0005.jpg.*zero"):
        fit_adapter(Embeddings(side.ids, vectors), labels)


def test_a_method_that_cannot_be_fitted_is_left_out_with_its_reason():
    random = np.random.default_rng(3)
    classes = np.concatenate([np.arange(49), np.arange(4)])
    ids = [f"{number:02d}" for number in range(53)]
    embeddings = Embeddings(ids, random.normal(size=(53, 64)).astype(np.float32))
    labels = dict(zip(ids, map(str, classes), strict=True))
    adapted = fit_adapter(embeddings, labels, Trying(folds=4))
    judged = adapted.judgement
    ((call, why),) = judged.unfit.items()
    assert judged.candidate[0].startswith("ridge(") and call.startswith("lda(")
    assert "no class has two images that differ" in why
    if judged.verdict == HARMS:
        with pytest.raises(RunError, match="lda.* was left out"):
            check_harmless(adapted)
    assert judged.to_json()["unfit"] == judged.unfit
    with pytest.raises(DataError, match="no method can be fitted.*lda.*two images that differ"):
        fit_adapter(embeddings, labels, Trying(methods=("lda()",), folds=4))
