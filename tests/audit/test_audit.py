"""What is planted is found: duplicate classes, collisions, disagreement, weight."""

import itertools

import numpy as np
import pytest

from fastseek.audit.collisions import advice, collision_probability
from fastseek.audit.contact_sheet import contact_sheet
from fastseek.audit.disagreement import overlaps
from fastseek.audit.duplicate_classes import duplicate_classes
from fastseek.audit.size_budget import check_size
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.structures import Ranking


def classifier(groups, classes=600, dim=128, spread=0.4, seed=0):
    """Random rows; those of a group around one direction, of any length."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(classes, dim))
    for group in groups:
        rows[list(group)] = rows[group[0]] + spread * random.normal(size=(len(group), dim))
    return (rows * random.uniform(0.1, 5, (classes, 1))).astype(np.float32)


PLANTED = [(5, 77, 300, 301, 599), (0, 1), (40, 41, 42)]


@pytest.mark.parametrize("tau", [None, 0.5, 0.7])
def test_planted_duplicates_are_found_and_no_others(tau):
    """finegrained row 39."""
    rows = classifier(PLANTED)
    before = rows.copy()
    found = duplicate_classes(rows, tau=tau)
    assert found.groups == ((5, 77, 300, 301, 599), (40, 41, 42), (0, 1)) and found.classes == 600
    assert all(cosine >= found.tau for cosine in found.cosines) and np.array_equal(rows, before)


def test_the_duplicates_themselves_do_not_raise_the_threshold():
    """finegrained row 39: mean + 6 deviations of all nearest cosines would be above 1 here."""
    rows = classifier([(2 * number, 2 * number + 1) for number in range(40)])
    found = duplicate_classes(rows)
    assert len(found.groups) == 40 and 0.6 <= found.tau < 0.8
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    nearest = (units @ units.T - 2 * np.eye(600)).max(axis=1)
    assert nearest.mean() + 6 * nearest.std() > 1


def test_alike_classes_raise_the_threshold_over_six_tenths():
    random = np.random.default_rng(0)
    alike = random.normal(size=(300, 64)) + 8 * random.normal(size=64)
    assert duplicate_classes(alike).tau > 0.9 and duplicate_classes(alike).groups == ()


def test_groups_are_what_joining_pair_by_pair_gives():
    """A slow twin: every pair looked at, groups joined until nothing changes."""
    random = np.random.default_rng(3)
    rows = random.normal(size=(60, 6))
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    group = list(range(60))
    pairs = [(i, j) for i, j in itertools.combinations(range(60), 2) if units[i] @ units[j] >= 0.85]
    for _ in range(60):
        for i, j in pairs:
            group[i] = group[j] = min(group[i], group[j])
    expected = {tuple(n for n in range(60) if group[n] == name) for name in set(group)}
    found = duplicate_classes(rows, tau=0.85)
    assert set(found.groups) == {one for one in expected if len(one) > 1}
    for members, cosine in zip(found.groups, found.cosines, strict=True):
        joined = [units[i] @ units[j] for i, j in pairs if i in members]
        assert cosine == pytest.approx(min(joined), abs=1e-5)


def test_several_centres_of_a_class_count_as_their_mean():
    random = np.random.default_rng(0)
    rows = classifier(PLANTED)
    several = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).repeat(3, axis=0)
    several += 0.02 * random.normal(size=several.shape)
    assert duplicate_classes(several, centers=3).groups == duplicate_classes(rows).groups


def test_chunks_change_nothing(monkeypatch):
    whole = duplicate_classes(classifier(PLANTED))
    monkeypatch.setattr("fastseek.audit.duplicate_classes.BLOCK", 7)
    parts = duplicate_classes(classifier(PLANTED))
    assert parts.groups == whole.groups and parts.tau == pytest.approx(whole.tau)


@pytest.mark.parametrize("row", [0.0, np.nan])
def test_a_row_that_says_nothing_is_an_error(row):
    rows = classifier([])
    rows[17] = row
    with pytest.raises(DataError, match="row 17"):
        duplicate_classes(rows)
    with pytest.raises(DataError, match="at least two"):
        duplicate_classes(np.ones((1, 4)))


@pytest.mark.parametrize(
    "sizes, classes, ids",
    [
        ((2,), 5, 2),
        ((2, 3), 7, 3),
        ((3, 3), 6, 2),
        ((), 6, 3),
        ((2, 2, 2), 6, 3),
        ((4,), 9, 1),
        ((2,), 5, 0),
        ((2,), 3, 3),
    ],
)
def test_the_chance_of_a_collision_is_the_share_of_such_batches(sizes, classes, ids):
    """finegrained row 40. A slow twin: all batches, one by one."""
    name = [number for number, size in enumerate(sizes) for _ in range(size)]
    name += list(range(-1, -1 - (classes - len(name)), -1))
    batches = list(itertools.combinations(range(classes), ids))
    hit = sum(len({name[one] for one in batch}) < len(batch) for batch in batches)
    assert collision_probability(sizes, classes, ids) == pytest.approx(
        hit / len(batches), abs=1e-12
    )


def test_the_chance_agrees_with_drawing_batches():
    """finegrained row 40: the figures of the contest, 170 duplicate classes of 3,097."""
    sizes, random = (2,) * 60 + (5,) * 10, np.random.default_rng(0)
    name = np.concatenate([np.repeat(np.arange(70), sizes), np.arange(70, 70 + 3097 - 170)])
    drawn = name[np.array([random.choice(3097, 20, replace=False) for _ in range(4000)])]
    hit = np.mean([len(set(batch)) < 20 for batch in drawn.tolist()])
    assert abs(collision_probability(sizes, 3097, 20) - hit) < 4 * np.sqrt(hit / 4000)


def test_fewer_classes_with_more_photos_collide_less():
    """finegrained row 40."""
    ways = advice((2,) * 80, 3097, 48)
    assert [(n, m) for n, m, _ in ways] == [
        (2, 24),
        (3, 16),
        (4, 12),
        (6, 8),
        (8, 6),
        (12, 4),
        (16, 3),
        (24, 2),
    ]
    chances = [chance for *_, chance in ways]
    assert chances == sorted(chances) and chances[-1] > 100 * chances[0]


@pytest.mark.parametrize("sizes, classes, ids", [((3,), 2, 1), ((2,), 5, 6)])
def test_more_classes_than_there_are_is_refused(sizes, classes, ids):
    with pytest.raises(ValueError, match="too few"):
        collision_probability(sizes, classes, ids)


def ranking(rows, queries=None, gallery=None):
    rows = np.asarray(rows)
    count = int(rows.max()) + 1 if gallery is None else len(gallery)
    scores = np.where(rows < 0, -np.inf, -np.arange(rows.shape[1], dtype=float))
    return Ranking(
        queries or [f"q{row}" for row in range(len(rows))],
        gallery or [f"g{number}" for number in range(count)],
        rows,
        scores,
    )


def test_overlap_is_the_mean_over_pairs_of_models():
    """finegrained row 45."""
    members = [
        ranking([[0, 1, 2, 3], [0, 1, 2, 3]], gallery=list("abcdefgh")),
        ranking([[3, 2, 1, 0], [4, 5, 6, 7]], gallery=list("abcdefgh")),
        ranking([[0, 1, 4, 5], [4, 5, 2, 3]], gallery=list("abcdefgh")),
    ]
    assert overlaps(members, 4).tolist() == pytest.approx(
        [(1 + 0.5 + 0.5) / 3, (0 + 0.5 + 0.5) / 3]
    )
    assert overlaps(members, 1).tolist() == pytest.approx([1 / 3, 1 / 3])


def test_order_of_queries_and_gallery_do_not_matter():
    """finegrained row 45."""
    random = np.random.default_rng(0)
    first = ranking([random.permutation(12)[:6] for _ in range(5)], gallery=list("abcdefghijkl"))
    second = ranking([random.permutation(12)[:6] for _ in range(5)], gallery=list("abcdefghijkl"))
    shuffle = random.permutation(12)
    place = np.argsort(shuffle)
    turned = Ranking(
        second.query_ids[::-1],
        second.gallery_ids[shuffle],
        place[second.indices[::-1]],
        second.scores[::-1],
    )
    assert overlaps([first, second], 4).tolist() == overlaps([first, turned], 4).tolist()


def test_lists_that_end_early_are_compared_by_the_longer_one():
    short = ranking([[0, 1, -1, -1]], gallery=list("abcd"))
    full = ranking([[0, 1, 2, 3]], gallery=list("abcd"))
    assert overlaps([short, full], 4).tolist() == [0.5]
    empty = ranking([[-1, -1, -1, -1]], gallery=list("abcd"))
    assert overlaps([empty, empty], 4).tolist() == [1.0]


def test_other_queries_or_a_single_ranking_cannot_be_compared():
    one = ranking([[0, 1]])
    with pytest.raises(ArtefactError, match="ranking 1 is not over the queries"):
        overlaps([one, ranking([[0, 1]], ["x"])])
    with pytest.raises(UsageError, match="at least two"):
        overlaps([one])


def test_an_ensemble_within_its_budget_is_told_and_a_larger_one_is_an_error(tmp_path):
    """finegrained row 55."""
    for name, size in (("a", 3_000_000), ("b", 1_500_000)):
        (tmp_path / name).write_bytes(bytes(size))
    files = [tmp_path / "a", tmp_path / "b", tmp_path / "a"]
    assert list(check_size(files, 4.5).values()) == [3.0, 1.5]
    with pytest.raises(
        ArtefactError, match=r"4.5 MB in 2 models, 4.4 are allowed .*a 3.0, .*b 1.5"
    ):
        check_size(files, 4.4)
    with pytest.raises(DataError, match="no such file"):
        check_size([tmp_path / "c"])


def test_names_on_a_contact_sheet_are_escaped():
    page = contact_sheet("<t>", "a & b", [("<h>", [("<script>", [b"jpeg"])])])
    assert (
        "<script>" not in page
        and "&lt;script&gt;" in page
        and "&lt;h&gt;" in page
        and "a &amp; b" in page
    )
    assert page.count("data:image/jpeg;base64,anBlZw==") == 1 and "http" not in page
