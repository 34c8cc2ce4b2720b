"""Every score tells what was asked, what was searched and how, and what was left out."""

import dataclasses
import json
import logging

import numpy as np
import pytest

from fastseek.cli._fuse import fuse_files
from fastseek.cli._score import score_file
from fastseek.errors import UsageError
from fastseek.metrics import evaluate
from fastseek.registry import FUSERS, build
from fastseek.retrieval import retrieve
from fastseek.structures import Embeddings, GroundTruth, Ranking, describe_protocol

CALLS = ["map()", "map(2)", "recall(1)", "gap()"]


@pytest.fixture
def case():
    """Five queries, of which one has no answer, and twenty images of four classes."""
    random = np.random.default_rng(0)
    labels = np.array([*"abcdx", *"abcd" * 5])
    sides = [
        Embeddings([f"{side}{row:02d}" for row in range(count)], random.normal(size=(count, 8)))
        for side, count in (("q", 5), ("g", 20))
    ]
    truth = GroundTruth.from_labels(sides[0].ids, labels[:5], sides[1].ids, labels[5:])
    return *sides, truth


@pytest.mark.parametrize("call", CALLS)
def test_F39_the_protocol_tells_sets_rule_depth_and_denominator(case, call):
    queries, gallery, truth = case
    ranking = retrieve(queries, gallery, "exact(k=20)", rerank_calls=["k_reciprocal(k1=3, k2=2)"])
    for score in evaluate(ranking[-1], truth, [call]):
        told = score.protocol
        assert (told["queries"], told["gallery"], told["depth"]) == (5, 20, 20)
        assert told["counted"] == 4 and told.get("skipped", told.get("without_answer")) == 1
        assert told["denominator"] == "queries with a relevant image in the gallery"
        assert told["relevant"] == "same label" and told["self_match"] == "junk"
        assert told["search"].startswith("exact(") and told["exact"] is True
        assert told["rerank"][0].startswith("k_reciprocal(") and "cut" not in told
        lines = describe_protocol(told)
        assert lines[0] == (
            "5 queries in a gallery of 20, lists of 20; counted are the 4 queries with a relevant"
            " image in the gallery, 1 have none"
        )
        assert lines[1].startswith("right: same label; junk: the query itself; ties ")
        assert lines[2].startswith("ranked by exact(") and ", then k_reciprocal(" in lines[2]


def test_F62_map_over_lists_that_end_early_says_so(case):
    queries, gallery, truth = case
    cut = evaluate(retrieve(queries, gallery, "exact(k=5)")[0], truth, ["map()", "map(5)"])
    assert cut[0].protocol["cut"].startswith("lists of 5 of 20 images")
    assert any("counts as not found" in line for line in describe_protocol(cut[0].protocol))
    assert "cut" not in cut[1].protocol  # five places are all that map(5) looks at
    longer = evaluate(retrieve(queries, gallery, "exact(k=5)")[0], truth, ["map(10)"])[0]
    assert "cut" in longer.protocol
    whole = evaluate(retrieve(queries, gallery, "exact(k=20)")[0], truth, ["map()"])[0]
    assert "cut" not in whole.protocol


def test_what_is_junk_is_told_once(case):
    queries, gallery, truth = case
    listed = dataclasses.replace(truth, protocol={"relevant": "listed", "junk": "as listed"})
    ranking = retrieve(queries, gallery, "exact(k=20)")[0]
    lines = describe_protocol(evaluate(ranking, listed, ["map()"])[0].protocol)
    assert any(line.startswith("right: listed; junk: as listed;") for line in lines), lines


def test_F62_an_approximate_ranking_is_scored_with_its_engine_and_recall(case):
    queries, gallery, truth = case
    exact = retrieve(queries, gallery, "exact(k=5)")[0]
    rough = retrieve(queries, gallery, "quantized(k=5, storage='int8', rescore=1)")[0]
    told = evaluate(rough, truth, ["map(5)"])[0].protocol
    assert told["exact"] is False and told["recall"] == rough.provenance["recall"]
    line = f"approximate search by numpy {np.__version__}: "
    assert any(one.startswith(line) for one in describe_protocol(told))
    fused = build("reciprocal_rank()", FUSERS)([exact, rough])
    told = evaluate(fused, truth, ["map(5)"])[0].protocol
    assert told["exact"] is False and told["recall"] == [rough.provenance["recall"]]
    assert len(told["search"]) == 2
    silent = dataclasses.replace(rough, provenance={"search": "mine()", "exact": False})
    lines = describe_protocol(evaluate(silent, truth, ["map(5)"])[0].protocol)
    assert "approximate search: its recall is not told" in lines


def test_F62_weights_tuned_on_the_truth_that_is_scored_are_flagged(case, tmp_path):
    queries, gallery, truth = case
    whole = GroundTruth.from_labels(
        [f"q{row:02d}" for row in range(20)], list("abcd" * 5), gallery.ids, list("abcd" * 5)
    )
    asked = Embeddings(whole.query_ids, np.random.default_rng(1).normal(size=(20, 8)))
    paths = [tmp_path / f"{number}.npz" for number in range(2)]
    for number, path in enumerate(paths):
        shifted = Embeddings(asked.ids, asked.vectors + number)
        retrieve(shifted, gallery, "exact(k=20)")[0].save(path)
    whole.save(tmp_path / "t.npz")
    fuse_files(paths, "reciprocal_rank()", tmp_path / "f.npz", "map(5)", tmp_path / "t.npz")
    fused = Ranking.load(tmp_path / "f.npz")
    told = evaluate(fused, whole, ["map(5)"])[0].protocol["tuned"]
    assert "on half of these very queries" in told and "map(5)" in told
    order = np.arange(20)[::-1]
    again = evaluate(fused, whole.subset(order), ["map(5)"])[0].protocol["tuned"]
    assert again == told  # the order of the queries does not hide it
    other = dataclasses.replace(
        fused, provenance={**fused.provenance, "tuned": {"metric": "map(5)"}}
    )
    assert "not told" in evaluate(other, whole, ["map(5)"])[0].protocol["tuned"]
    fused_again = build("vote()", FUSERS)([fused, fused])
    assert "these very queries" in evaluate(fused_again, whole, ["map(5)"])[0].protocol["tuned"]
    assert "tuned" not in evaluate(Ranking.load(paths[0]), whole, ["map(5)"])[0].protocol


def test_F62_a_member_whose_scores_spread_further_is_named_and_can_be_scaled(caplog):
    def rank(order, scale):
        return Ranking(["q"], ["a", "b", "c"], [order], [scale * np.array([3.0, 2.0, 1.0])])

    members = [rank([0, 1, 2], 0.1), rank([2, 1, 0], 100.0)]
    with caplog.at_level(logging.WARNING):
        alone = build("sum_top()", FUSERS)(members, ["near.npz", "far.npz"])
        assert alone.indices[0].tolist() == [2, 1, 0]
        assert "scores of far.npz spread over 200" in caplog.text
        build("distance_average(scale='none')", FUSERS)(members)
        assert caplog.text.count("decides alone") == 2
        for call in ("sum_top(scale='minmax')", "sum_top(weights=[1, 0.001])", "vote()"):
            build(call, FUSERS)(members)
        assert caplog.text.count("decides alone") == 2
    scaled = build("sum_top(scale='minmax')", FUSERS)(members)
    np.testing.assert_allclose(scaled.scores, [[1, 1, 1]])
    with pytest.raises(UsageError, match="minmax"):
        build("sum_top(scale='max')", FUSERS)


def test_F62_the_fingerprint_of_a_truth_is_of_who_answers_whom(case):
    truth = case[2]
    assert truth.fingerprint() == truth.subset([4, 2, 0, 1, 3]).fingerprint()
    assert truth.fingerprint() != truth.subset([0, 1, 2, 3]).fingerprint()
    other = dataclasses.replace(truth, relevant=truth.relevant[::-1].copy())
    assert truth.fingerprint() != other.fingerprint()


def test_F39_scoring_prints_the_protocol_below_the_table(case, tmp_path):
    queries, gallery, truth = case
    retrieve(queries, gallery, "exact(k=5)")[0].save(tmp_path / "r.npz")
    truth.save(tmp_path / "t.npz")
    text = score_file(tmp_path / "r.npz", tmp_path / "t.npz", ["map()", "recall(1)"])
    table, below = text.split("\n\n")
    assert len(table.splitlines()) == 3
    assert below.splitlines()[0].startswith("5 queries in a gallery of 20, lists of 5; counted")
    assert "\nmap: lists of 5 of 20 images" in below and "recall(1): lists" not in below


def test_F39_a_score_as_json_holds_its_protocol(case):
    queries, gallery, truth = case
    for score in evaluate(retrieve(queries, gallery, "exact(k=20)")[0], truth, CALLS):
        told = json.loads(json.dumps(score.to_json()))
        assert told["name"] == score.name and told["value"] == score.value
        assert told["protocol"]["queries"] == 5 and told["protocol"]["counted"] == 4
        assert (told["interval"] is None) == (score.per_query is None)
