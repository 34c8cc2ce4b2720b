"""quantile against scikit-learn and against sorting by hand."""

import numpy as np
import pytest
from scipy.stats import norm

from fastseek.enhance import _sides
from fastseek.enhance import quantile as module
from fastseek.enhance.quantile import Quantile
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.registry import ENHANCERS, build
from fastseek.structures import Embeddings

preprocessing = pytest.importorskip("sklearn.preprocessing")


def pair(seed=0, queries=50, gallery=70, dim=7):
    random = np.random.default_rng(seed)
    one = random.gamma(2.0, size=(queries, dim)).astype(np.float32)
    two = (random.gamma(2.0, size=(gallery, dim)) + 0.3).astype(np.float32)
    return (
        Embeddings([f"q{n:02d}" for n in range(queries)], one, {"model": "m"}),
        Embeddings([f"g{n:02d}" for n in range(gallery)], two, {"model": "m"}),
    )


@pytest.mark.parametrize("n", [1000, 50, 10])
def test_values_are_those_of_scikit_learn_fitted_on_the_queries(n):
    """landmark row 47."""
    queries, gallery = pair()
    theirs = preprocessing.QuantileTransformer(
        n_quantiles=min(n, 50), output_distribution="normal", subsample=None
    )
    theirs.fit(queries.vectors.astype(np.float64))
    for before, after in zip((queries, gallery), Quantile(n)(queries, gallery), strict=True):
        np.testing.assert_allclose(
            after.vectors, theirs.transform(before.vectors.astype(np.float64)), atol=2e-5
        )


def test_a_value_becomes_the_normal_quantile_of_its_place_among_the_queries():
    values = np.array([5, 1, 4, 2, 3], np.float32)[:, None]
    queries = Embeddings(list("abcde"), values)
    gallery = Embeddings(list("vwxyz"), np.array([1.5, 3, 4.75, -9, 99], np.float32)[:, None])
    after = Quantile()(queries, gallery)
    inside = norm.ppf([0.75, 0.25, 0.5])
    np.testing.assert_allclose(after[0].vectors[2:, 0], inside, atol=1e-5)
    np.testing.assert_allclose(after[1].vectors[:3, 0], norm.ppf([0.125, 0.5, 0.9375]), atol=1e-5)
    np.testing.assert_allclose(np.abs(after[1].vectors[3:, 0]), 5.2, atol=0.01)


def test_the_gallery_teaches_nothing():
    """landmark row 47."""
    queries, gallery = pair(1)
    one = Quantile()(queries, gallery)[0].vectors
    two = Quantile()(queries, Embeddings(gallery.ids, gallery.vectors * 9))[0].vectors
    np.testing.assert_array_equal(one, two)
    with pytest.raises(UsageError, match="queries only"):
        build("quantile(fit='gallery')", ENHANCERS)


def test_order_within_a_dimension_stays():
    _, after = Quantile()(*pair(2))
    _, before = pair(2)
    for dim in range(7):
        order = np.argsort(before.vectors[:, dim], kind="stable")
        assert (np.diff(after.vectors[order, dim]) >= 0).all()


def test_the_order_of_the_images_blocks_and_columns_change_nothing(monkeypatch):
    queries, gallery = pair(3)
    whole = Quantile()(queries, gallery)
    order = np.random.default_rng(0).permutation(len(queries))
    monkeypatch.setattr(_sides, "ROWS", 7)
    monkeypatch.setattr(module, "COLUMNS", 2)
    turned = Quantile()(Embeddings(queries.ids[order], queries.vectors[order]), gallery)
    np.testing.assert_array_equal(turned[0].vectors, whole[0].vectors[order])
    np.testing.assert_array_equal(turned[1].vectors, whole[1].vectors)


def test_a_saved_fit_does_the_same(tmp_path):
    file = str(tmp_path / "fit.safetensors")
    queries, gallery = pair(4)
    expected = Quantile(save=file)(queries, gallery)
    few = Embeddings(queries.ids[:3], queries.vectors[:3], queries.provenance)
    after = Quantile(fit=file)(few, gallery)
    np.testing.assert_array_equal(after[0].vectors, expected[0].vectors[:3])
    np.testing.assert_array_equal(after[1].vectors, expected[1].vectors)
    assert after[1].provenance == expected[1].provenance
    with pytest.raises(ArtefactError, match="7 dimensions"):
        Quantile(fit=file)(*pair(dim=3))


def test_a_third_set_goes_the_same_way():
    """landmark row 47."""
    queries, gallery = pair(5)
    part = Quantile()
    fit = part.find_fit(queries, gallery)
    np.testing.assert_array_equal(
        part.apply(fit, gallery).vectors, part(queries, gallery)[1].vectors
    )


def test_one_query_has_no_quantiles():
    with pytest.raises(DataError, match="at least two"):
        Quantile()(*pair(queries=1))


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "sklearn.preprocessing", None)
    with pytest.raises(UsageError, match="pip install scikit-learn"):
        Quantile()(*pair())
