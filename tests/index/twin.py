"""The slow, obvious twin of an index: a dict, compared one by one."""

import math

import numpy as np

from fastseek.search.exact import Exact
from fastseek.structures import Embeddings


class Twin:
    """What an index must hold: id -> (vector, metadata)."""

    def __init__(self, rows=()):
        self.rows = dict(rows)

    def copy(self):
        return Twin(self.rows)

    def put(self, ids, vectors, metadata=None):
        for row, name in enumerate(ids):
            told = {key: values[row] for key, values in (metadata or {}).items()}
            known = self.rows[name][1] if name in self.rows else {}
            self.rows[name] = np.asarray(vectors[row], np.float32), {**known, **told}

    def delete(self, ids):
        for name in ids:
            self.rows.pop(name, None)

    def search(self, queries, k, keep=lambda told: True, metric="cosine"):
        """For every query its (id, score) pairs, best first, ties by id."""
        names = sorted(name for name, (_, told) in self.rows.items() if keep(told))
        if not names:
            return [[] for _ in queries]
        gallery = Embeddings(names, np.stack([self.rows[name][0] for name in names]))
        asked = Embeddings(np.arange(len(queries)).astype(str), queries)
        ranking = Exact(k=k, metric=metric)(asked, gallery)
        return [
            [(names[row], float(score)) for row, score in zip(rows, scores, strict=True)]
            for rows, scores in zip(ranking.indices.tolist(), ranking.scores, strict=True)
        ]


def answers(ranking):
    """For every query the (id, score) pairs that a ranking lists."""
    names = ranking.gallery_ids.tolist()
    return [
        [(names[row], float(score)) for row, score in zip(rows, scores, strict=True) if row >= 0]
        for rows, scores in zip(ranking.indices.tolist(), ranking.scores, strict=True)
    ]


def assert_holds(index, twin):
    """The index is whole, and holds what the twin holds."""
    assert index.check() == []
    assert index.ids.tolist() == sorted(twin.rows)
    assert len(index) == len(twin.rows)
    if not twin.rows:
        return
    names = sorted(twin.rows)
    np.testing.assert_array_equal(
        index.vectors(names).vectors, np.stack([twin.rows[name][0] for name in names])
    )
    for column, values in index.metadata(names).items():
        expected = [twin.rows[name][1].get(column) for name in names]
        assert values == [None if is_missing(value) else value for value in expected], column


def is_missing(value):
    return value is None or value == "" or isinstance(value, float) and math.isnan(value)


def draw(count, dim=6, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
