"""Every dimension bent to a normal distribution."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from ..registry import ENHANCERS
from ..structures import Embeddings
from ._fits import Arrays, Fit, fit_or_load
from ._sides import treat_side

COLUMNS = 64  # dimensions fitted at once


@ENHANCERS.register()
class Quantile:
    """Every dimension is bent so that the queries' values in it are normally distributed; the
    gallery goes along.

    scikit-learn's QuantileTransformer(output_distribution="normal"), learned from the queries only,
    as the landmark recognition winners of 2020 and 2021 did (landmark sets differ, and the queries'
    distribution is the one that counts). Values beyond the queries' own end at -5.2 and 5.2.
    Memory: the queries' vectors, 64 dimensions of them in float64, and one block beside the new
    vectors.

    Args:
        n: how many quantiles are learned; as many as queries when there are fewer.
        fit: "queries", or a file that `save` has written.
        save: .safetensors file to keep the quantiles in; "" for none.

    Raises:
        DataError: there are fewer than two queries, or a vector is not finite.
        ArtefactError: the saved quantiles are of another model or treatment.
        UsageError: scikit-learn is not installed.

    Source: Henkel and Singer, Supporting Large-Scale Image Recognition with Out-of-Domain Samples,
        2020 (arXiv 2010.01650)
    Example: quantile(n=1000)
    """

    not_in_call = ("fit", "save")  # the digest of what was learned stands behind the call

    def __init__(self, n: int = 1000, fit: str = "queries", save: str = "") -> None:
        if n < 2:
            raise ValueError(f"n must be 2 or more, got {n}")
        if fit == "gallery":
            raise ValueError(
                'fit must be "queries" or a file: quantiles are learned from the queries only'
            )
        self.n, self.fit, self.save = n, fit, save

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> tuple[Embeddings, Embeddings]:
        """Both sides, float32."""
        fit = self.find_fit(queries, gallery)
        return self.apply(fit, queries), self.apply(fit, gallery)

    def find_fit(self, queries: Embeddings, gallery: Embeddings) -> Fit:
        """The quantiles of the queries, or those of the file; checked against both sides."""
        return fit_or_load("quantile", self.fit, self.save, (queries, gallery), self._learn)

    def apply(self, fit: Fit, side: Embeddings) -> Embeddings:
        """Any side of the same model, float32: the queries, the gallery, or a set of things to be
        kept apart.
        """
        fit.check(side, "vectors")
        transformer = _rebuild_transformer(fit.arrays["quantiles"])
        return treat_side(side, side.dim, transformer.transform, fit.digest)

    def _learn(self, queries: Embeddings) -> Arrays:
        if len(queries) < 2:
            raise DataError(f"{len(queries)} queries have no quantiles: fit on at least two")
        vectors = np.concatenate([block for _, block in queries.blocks()])
        parts = []
        for start in range(0, queries.dim, COLUMNS):
            transformer = _import_transformer()(
                n_quantiles=min(self.n, len(queries)), output_distribution="normal", subsample=None
            )
            parts.append(
                transformer.fit(vectors[:, start : start + COLUMNS].astype(np.float64)).quantiles_
            )
        return {"quantiles": np.concatenate(parts, axis=1)}


def _rebuild_transformer(quantiles: np.ndarray) -> Any:
    """A transformer that was fitted before."""
    made = _import_transformer()(
        n_quantiles=len(quantiles), output_distribution="normal", subsample=None
    )
    made.quantiles_, made.references_ = quantiles, np.linspace(0, 1, len(quantiles))
    made.n_quantiles_, made.n_features_in_ = quantiles.shape
    return made


def _import_transformer() -> Any:
    try:
        from sklearn.preprocessing import QuantileTransformer
    except ImportError as error:
        raise UsageError("quantile needs scikit-learn: pip install scikit-learn") from error
    return QuantileTransformer
