import math

import pytest
import torch

from fastseek.modeling.layers.subcenter import centers, subcenter_cosine


def test_the_nearest_of_the_centres_of_a_class_counts():
    """landmark row 26, with a triple loop."""
    embedding, weight = torch.randn(4, 6), torch.randn(5 * 3, 6)
    found = subcenter_cosine(embedding, weight, 3)
    for row in range(4):
        for label in range(5):
            cosines = [
                float(torch.cosine_similarity(embedding[row], weight[3 * label + j], dim=0))
                for j in range(3)
            ]
            assert float(found[row, label]) == pytest.approx(max(cosines), abs=1e-6)


def test_one_centre_is_the_plain_cosine():
    embedding, weight = torch.randn(4, 6), torch.randn(5, 6)
    expected = torch.cosine_similarity(embedding[:, None], weight[None], dim=2)
    torch.testing.assert_close(subcenter_cosine(embedding, weight, 1), expected)


def test_neither_length_matters():
    embedding, weight = torch.randn(4, 6), torch.randn(6, 6)
    torch.testing.assert_close(
        subcenter_cosine(embedding * 9, weight * 0.2, 3), subcenter_cosine(embedding, weight, 3)
    )


def test_centres_start_uniform_within_one_over_the_root_of_the_dimension():
    weight = centers(50, 3, 512)
    assert weight.shape == (150, 512)
    bound = 1 / math.sqrt(512)
    assert weight.abs().max() <= bound
    assert float(weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("k", [0, -1, 1.5])
def test_an_impossible_number_of_centres_is_refused(k):
    with pytest.raises(ValueError, match="whole"):
        centers(3, k, 4)
