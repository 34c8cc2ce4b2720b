"""Answers to a photo and to its parts become one list."""

import numpy as np
import pytest

from fastseek.errors import ArtefactError
from fastseek.regions.merge import merge_answers
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings, Ranking


def vectors(count, seed, dim=8):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


@pytest.fixture
def searched():
    """Five photos, the second and fourth with parts, searched among 30 images."""
    gallery = Embeddings([f"g{number:02d}" for number in range(30)], vectors(30, 0))
    photos = Embeddings([f"q{number}" for number in range(5)], vectors(5, 1))
    parts = Embeddings(["q1#1", "q1#2", "q3#1"], vectors(3, 2))
    owner = {"q1#1": "q1", "q1#2": "q1", "q3#1": "q3"}
    return gallery, photos, parts, owner


def rankings(searched, k):
    gallery, photos, parts, owner = searched
    return Exact(k=k)(photos, gallery), Exact(k=k)(parts, gallery), owner


@pytest.mark.parametrize("k", [1, 7, 30])
def test_the_score_of_an_image_is_its_largest_over_photo_and_parts(searched, k):
    """finegrained row 47. A slow twin: all cosines, the maximum, a sort."""
    gallery, photos, parts, owner = searched
    found = merge_answers(*rankings(searched, k))

    def cosine(one, other):
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    for row, name in enumerate(photos.ids):
        own = [
            photos.vectors[row],
            *(parts.vectors[n] for n, part in enumerate(parts.ids) if owner[part] == name),
        ]
        best = sorted(
            (
                (max(cosine(one, image) for one in own), number)
                for number, image in enumerate(gallery.vectors)
            ),
            reverse=True,
        )[:k]
        assert found.indices[row].tolist() == [number for _, number in best]
        np.testing.assert_allclose(found.scores[row], [score for score, _ in best], atol=1e-6)


def test_photos_without_parts_keep_their_answers(searched):
    """finegrained row 47."""
    whole, parts, owner = rankings(searched, 10)
    found = merge_answers(whole, parts, owner)
    for row in (0, 2, 4):
        assert np.array_equal(found.indices[row], whole.indices[row])
        assert np.array_equal(found.scores[row], whole.scores[row])


def test_a_photo_that_is_its_own_part_changes_nothing(searched):
    whole, _, _ = rankings(searched, 10)
    again = Ranking(
        np.char.add(whole.query_ids, "#1"), whole.gallery_ids, whole.indices, whole.scores
    )
    found = merge_answers(whole, again, {f"{name}#1": str(name) for name in whole.query_ids})
    assert np.array_equal(found.indices, whole.indices)


def test_equal_scores_stand_in_the_order_of_the_ids():
    ids = ["b", "a", "c"]
    whole = Ranking(["q"], ids, [[0, 2]], [[0.5, 0.1]])
    parts = Ranking(["q#1"], ids, [[1, 2]], [[0.5, 0.1]])
    assert merge_answers(whole, parts, {"q#1": "q"}).indices.tolist() == [[1, 0]]


def test_short_lists_are_filled_up():
    ids = ["a", "b", "c"]
    whole = Ranking(["q"], ids, [[0, -1, -1]], [[0.5, -np.inf, -np.inf]])
    parts = Ranking(["q#1"], ids, [[0, 2, -1]], [[0.7, 0.1, -np.inf]])
    found = merge_answers(whole, parts, {"q#1": "q"})
    assert found.indices.tolist() == [[0, 2, -1]] and np.allclose(found.scores[0, :2], [0.7, 0.1])


def test_what_does_not_belong_together_is_refused(searched):
    whole, parts, owner = rankings(searched, 10)
    with pytest.raises(ArtefactError, match="'q1#2' belongs to no image"):
        merge_answers(whole, parts, owner | {"q1#2": "x"})
    short = Exact(k=5)(searched[2], searched[0])
    with pytest.raises(ArtefactError, match="parts list 5 images, queries 10"):
        merge_answers(whole, short, owner)
    other = Ranking(parts.query_ids, parts.gallery_ids[::-1], parts.indices, parts.scores)
    with pytest.raises(ArtefactError, match="different galleries"):
        merge_answers(whole, other, owner)
