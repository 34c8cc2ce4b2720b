"""Votes, label_rank, hard_rank and hard_insert against loops and the worked examples of the
contests.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.recognition.knn_vote import CONFIDENCES, Reference
from fastseek.registry import RERANKERS, SEARCHERS, build
from fastseek.rerank.hard_insert import HardInsert
from fastseek.rerank.hard_rank import HardRank
from fastseek.rerank.label_rank import LabelRank
from fastseek.rerank.non_landmark import NonLandmark
from fastseek.search import sharded  # noqa: F401  (registers it)
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings, Ranking
from fastseek.structures.label_file import read_labels


def at(*degrees):
    """Unit vectors in the plane."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def cos(degrees):
    return float(np.cos(np.radians(degrees)))


def sides(seed, queries=6, gallery=30, reference=25, dim=5, classes=4):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(classes, dim))
    made = []
    for letter, count in (("q", queries), ("g", gallery), ("r", reference)):
        vectors = centres[random.integers(0, classes, count)] + 0.8 * random.normal(
            size=(count, dim)
        )
        made.append(
            Embeddings([f"{letter}{n:02d}" for n in range(count)], vectors.astype(np.float32))
        )
    return (
        made[0],
        made[1],
        Reference.from_labels(made[2], random.integers(0, classes, reference).astype(str)),
    )


def slow_vote(vector, reference, votes, confidence):
    """Label and confidence of one image, with a dictionary."""
    rows = reference.embeddings.vectors.astype(np.float64)
    cosines = rows @ vector / np.linalg.norm(rows, axis=1) / np.linalg.norm(vector)
    best = sorted(range(len(rows)), key=lambda row: (-cosines[row], reference.embeddings.ids[row]))[
        :votes
    ]
    sums, members = {}, {}
    for row in best:
        label = reference.labels[row]
        sums[label] = sums.get(label, 0) + cosines[row]
        members.setdefault(label, []).append(cosines[row])
    label = max(sums, key=sums.get)
    sure = {
        "sum": sums[label],
        "sum/3": sums[label] / votes,
        "mean-of-agreeing": np.mean(members[label]),
        "top1": max(members[label]),
    }[confidence]
    return label, max(sure, 0)


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize("votes", [1, 3, 100])
def test_votes_are_those_of_a_dictionary(confidence, votes):
    """landmark row 42."""
    for seed in range(4):
        queries, _, reference = sides(seed)
        labels, sure = reference.vote(queries, votes, confidence)
        expected = [
            slow_vote(vector.astype(np.float64), reference, votes, confidence)
            for vector in queries.vectors
        ]
        np.testing.assert_array_equal(labels, [label for label, _ in expected])
        np.testing.assert_allclose(sure, [value for _, value in expected], atol=1e-6)


def test_two_that_agree_outvote_the_nearest():
    reference = Reference.from_labels(
        Embeddings(list("abcd"), at(2, 20, 25, 90)), np.array(["x", "y", "y", "x"])
    )
    votes = {name: reference.vote(Embeddings(["q"], at(0)), 3, name) for name in CONFIDENCES}
    assert all(reference.classes[found.labels[0]] == "y" for found in votes.values())
    total = cos(20) + cos(25)
    expected = {"sum": total, "sum/3": total / 3, "mean-of-agreeing": total / 2, "top1": cos(20)}
    for name, value in expected.items():
        assert votes[name].confidence[0] == pytest.approx(value, abs=1e-6)


def test_of_equal_sums_the_nearer_image_wins_and_of_equal_images_the_first_id():
    """landmark row 42."""
    vectors = np.array([[1, 0], [1, 0], [1, 0]], np.float32)
    for ids, winner in ((["a", "b", "c"], "z"), (["b", "a", "c"], "y"), (["b", "c", "a"], "x")):
        reference = Reference.from_labels(Embeddings(ids, vectors), np.array(["z", "y", "x"]))
        found = reference.vote(Embeddings(["q"], at(30)))
        assert reference.classes[found.labels[0]] == winner


def example():
    """Query near landmark x; gallery images a (y, nearest), b (x), c (y), d (x, far)."""
    reference = Reference.from_labels(Embeddings(["r1", "r2"], at(-10, 25)), np.array(["x", "y"]))
    queries, gallery = Embeddings(["q"], at(0)), Embeddings(list("abcd"), at(10, -12, 40, -60))
    return queries, gallery, reference, Exact(k=4)(queries, gallery)


def test_label_rank_is_the_formula_of_the_2021_winners():
    """landmark row 43."""
    queries, gallery, reference, ranking = example()
    part = LabelRank("", "", votes=1, conf="sum")
    after = part.rerank_by(reference, ranking, queries, gallery)
    expected = {
        "a": cos(10) - 0.1 * cos(15),
        "b": cos(12) + cos(2),
        "c": cos(40) - 0.1 * cos(15),
        "d": cos(60) + cos(50),
    }
    found = dict(zip(gallery.ids[after.indices[0]].tolist(), after.scores[0].tolist(), strict=True))
    assert found == pytest.approx(expected, abs=1e-6)
    assert gallery.ids[after.indices[0]].tolist() == list("bdac")


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_label_rank_is_the_formula_in_a_double_loop(confidence):
    """landmark row 43."""
    for seed in range(4):
        queries, gallery, reference = sides(seed)
        ranking = Exact(k=20)(queries, gallery)
        part = LabelRank("", "", 0.7, 0.2, 3, confidence)
        after = part.rerank_by(reference, ranking, queries, gallery)
        for query in range(len(queries)):
            mine, _ = slow_vote(queries.vectors[query].astype(np.float64), reference, 3, confidence)
            new = {}
            for row, score in zip(ranking.indices[query], ranking.scores[query], strict=True):
                label, sure = slow_vote(
                    gallery.vectors[row].astype(np.float64), reference, 3, confidence
                )
                new[int(row)] = score + 0.7 * sure if label == mine else score - 0.2 * sure
            np.testing.assert_allclose(
                after.scores[query], [new[row] for row in after.indices[query]], atol=1e-6
            )
            assert (np.diff(after.scores[query]) <= 0).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_factors_of_0_change_nothing(seed, depth):
    """landmark row 43."""
    queries, gallery, reference = sides(seed)
    ranking = Exact(k=depth)(queries, gallery)
    after = LabelRank("", "", 0, 0).rerank_by(reference, ranking, queries, gallery)
    np.testing.assert_array_equal(after.indices, ranking.indices)
    np.testing.assert_array_equal(after.scores, ranking.scores)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 3), st.floats(0, 3))
def test_images_of_the_querys_label_never_lose_a_place_to_others(seed, up, down):
    queries, gallery, reference = sides(seed)
    ranking = Exact(k=30)(queries, gallery)
    after = LabelRank("", "", up, down).rerank_by(reference, ranking, queries, gallery)
    same = reference.vote(gallery).labels[None] == reference.vote(queries).labels[:, None]
    for query in range(len(queries)):
        place = {int(row): n for n, row in enumerate(ranking.indices[query])}
        new = {int(row): n for n, row in enumerate(after.indices[query])}
        for one in np.flatnonzero(same[query]):
            for other in np.flatnonzero(~same[query]):
                assert not (place[one] < place[other] and new[one] > new[other])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_hard_rank_is_a_stable_partition(seed, depth):
    """landmark row 45."""
    queries, gallery, reference = sides(seed)
    ranking = Exact(k=depth)(queries, gallery)
    after = HardRank("", "").rerank_by(reference, ranking, queries, gallery)
    images, asked = reference.vote(gallery).labels, reference.vote(queries).labels
    for query in range(len(queries)):
        rows = ranking.indices[query].tolist()
        expected = [r for r in rows if images[r] == asked[query]] + [
            r for r in rows if images[r] != asked[query]
        ]
        assert after.indices[query].tolist() == expected


def test_hard_rank_keeps_the_scores_of_the_others_and_lifts_its_own_above_them():
    queries, gallery, reference, ranking = example()
    after = HardRank("", "", votes=1).rerank_by(reference, ranking, queries, gallery)
    assert gallery.ids[after.indices[0]].tolist() == list("bdac")
    spread = cos(10) - cos(60)
    np.testing.assert_allclose(
        after.scores[0], [cos(12) + spread, cos(60) + spread, cos(10), cos(40)], atol=1e-6
    )


def slow_insert(ranking, query, labels, sure, mine, own, threshold, ids):
    rows = [row for row in ranking.indices[query].tolist() if row >= 0]
    new = [
        row
        for row in range(len(ids))
        if row not in rows and labels[row] == mine and own + sure[row] > threshold
    ]
    new.sort(key=lambda row: (-sure[row], ids[row]))
    same = [row for row in rows if labels[row] == mine]
    return (same + new + [row for row in rows if labels[row] != mine])[: ranking.indices.shape[1]]


@pytest.mark.parametrize("threshold", [-1.0, 0.6, 1.2, 9.0])
def test_hard_insert_is_the_rule_of_the_2019_winners_in_a_loop(threshold):
    """landmark row 45."""
    for seed in range(6):
        queries, gallery, reference = sides(seed)
        ranking = Exact(k=7)(queries, gallery)
        after = HardInsert("", "", threshold).rerank_by(reference, ranking, queries, gallery)
        images, asked = reference.vote(gallery), reference.vote(queries)
        for query in range(len(queries)):
            expected = slow_insert(
                ranking,
                query,
                images.labels,
                images.confidence,
                asked.labels[query],
                asked.confidence[query],
                threshold,
                gallery.ids,
            )
            assert after.indices[query].tolist() == expected
        if threshold == 9:
            hard = HardRank("", "").rerank_by(reference, ranking, queries, gallery)
            np.testing.assert_array_equal(after.indices, hard.indices)


def test_hard_insert_fills_short_lists_before_it_drops_anything():
    queries, gallery, reference, full = example()
    ranking = Ranking(full.query_ids, full.gallery_ids, [[0, 2, -1]], [[cos(10), cos(40), -np.inf]])
    part = HardInsert("", "", 0.6, votes=1)
    after = part.rerank_by(reference, ranking, queries, gallery)
    assert gallery.ids[after.indices[0]].tolist() == ["b", "d", "a"]
    assert (np.diff(after.scores[0]) < 0).all()
    none = Ranking(full.query_ids, full.gallery_ids, [[-1, -1]], [[-np.inf, -np.inf]])
    assert gallery.ids[part.rerank_by(reference, none, queries, gallery).indices[0]].tolist() == [
        "b",
        "d",
    ]


def test_only_hard_insert_may_bring_other_images():
    assert [
        name for name in RERANKERS.names() if getattr(RERANKERS.get(name), "inserts", False)
    ] == ["hard_insert"]


def test_a_reference_of_another_model_is_refused():
    queries, gallery, reference, ranking = example()
    told = [Embeddings(side.ids, side.vectors, {"model": "m"}) for side in (queries, gallery)]
    other = Reference(
        Embeddings(reference.embeddings.ids, reference.embeddings.vectors, {"model": "n"}),
        reference.classes,
        reference.labels,
    )
    with pytest.raises(ArtefactError, match="queries and reference differ in model: m and n"):
        LabelRank("", "").rerank_by(other, ranking, *told)


@pytest.mark.parametrize(
    "call",
    [
        "exact(k=9, metric='l2')",
        "exact(k=9, metric='ip')",
        "sharded(\"exact(k=9, metric='l2')\", rows=7)",
    ],
)
def test_scores_that_are_no_cosines_are_refused_by_those_that_take_them_for_cosines(call):
    queries, gallery, reference = sides(5)
    ranking = build(call, SEARCHERS)(queries, gallery)
    for reranker, other in (
        (LabelRank("", ""), reference),
        (NonLandmark(""), reference.embeddings),
    ):
        with pytest.raises(ArtefactError, match="search with metric='cosine'"):
            reranker.rerank_by(other, ranking, queries, gallery)
    HardRank("", "").rerank_by(reference, ranking, queries, gallery)
    for fits in ("exact(k=9)", "sharded('exact(k=9)', rows=7)"):
        LabelRank("", "").rerank_by(
            reference, build(fits, SEARCHERS)(queries, gallery), queries, gallery
        )


def test_a_reference_without_images_or_labels_is_refused(tmp_path):
    with pytest.raises(DataError, match="at least one"):
        Reference.from_labels(Embeddings([], np.empty((0, 2), np.float32)), np.array([], str))
    Embeddings(["a", "b"], at(0, 1)).save(tmp_path / "r")
    (tmp_path / "labels.csv").write_text("id,label\nb,x\n")
    with pytest.raises(DataError, match="no label for 1 images of .*, the first is 'a'"):
        Reference.load(tmp_path / "r", tmp_path / "labels.csv")


@pytest.mark.parametrize(
    "text",
    [
        "id,label\na,x\nb,y z\n",
        "\ufeffid,landmark_id\r\na,x\r\nb,y z\r\n",
        'label,url,id\nx,,a\n\ny z,"h,t",b\n',
    ],
)
def test_label_files_are_read_whatever_their_columns(text, tmp_path):
    (tmp_path / "l.csv").write_bytes(text.encode())
    assert read_labels(tmp_path / "l.csv") == {"a": "x", "b": "y z"}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", ":1: needs the columns"),
        ("id,name\na,x\n", ":1: needs the columns"),
        ("id,label\na,x\na,y\n", ":3: id 'a' stands twice"),
        ("id,label\na\n", ":2: 1 values, the header has 2"),
        ("id,label\na, \n", ":2: needs an id and a label"),
        ('id,label\n"a,x\n', ":2: not a CSV row"),
        (b"id,label\n\xff,x\n", ":2: not UTF-8"),
    ],
)
def test_damaged_label_files_are_refused_with_the_line(text, where, tmp_path):
    (tmp_path / "l.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=where):
        read_labels(tmp_path / "l.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_labels(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    "call",
    [
        "label_rank()",
        "label_rank('r', 'l', up=-1)",
        "label_rank('r', 'l', votes=0)",
        "label_rank('r', 'l', conf='best')",
        "hard_rank('r')",
        "hard_rank('r', 'l', votes=0)",
        "hard_insert('r', 'l', conf='max')",
    ],
)
def test_impossible_settings_are_refused(call):
    with pytest.raises(UsageError):
        build(call, RERANKERS)
