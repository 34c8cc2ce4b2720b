"""The sparse vectors of k-reciprocal encoding: for every image, weights on the images of its
neighborhood.

Section 3 of "Re-ranking Person Re-identification with k-reciprocal Encoding" (Zhong et al., CVPR
2017), with sets as rows of sparse matrices: nothing here has N x N entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from ..errors import RunError

ROWS = 4096  # images whose sets are expanded at once, fewer when their sets may be large
ENTRIES = 1 << 20  # entries those sets may have together
Distances = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of rows [n] and columns [n]


class NeighborhoodRule(NamedTuple):
    """How long the list is that makes R(i, k1), beyond k1, and the share of R(j, k1/2) that must
    lie in it.
    """

    more: int
    share: float


# The paper's, and that of the second place of DIGIX 2020, whose lists of k1 count the image itself.
RULES = {"paper": NeighborhoodRule(1, 2 / 3), "digix": NeighborhoodRule(0, 2 / 5)}


def halve(k1: int) -> int:
    """k1 / 2 as numpy rounds it, to the even number."""
    return int(np.around(k1 / 2))


def count_most_entries(images: int, k1: int) -> int:
    """How many images a neighborhood can have at most."""
    return min(images, (k1 + 1) * (halve(k1) + 1))


def pick_index_type(entries: int) -> type:
    """Of whole numbers that count so many entries: half the memory where it is enough, and so half
    the time.
    """
    return np.int32 if entries <= np.iinfo(np.int32).max else np.int64


def put_self_first(neighbors: np.ndarray) -> np.ndarray:
    """Neighbor lists [N, K] that begin with the image itself, which many equal images may have
    pushed off.
    """
    own = np.arange(len(neighbors), dtype=neighbors.dtype)
    here = neighbors == own[:, None]
    rest = np.ones(neighbors.shape, bool)
    rest[own, np.where(here.any(axis=1), here.argmax(axis=1), neighbors.shape[1] - 1)] = False
    return np.concatenate([own[:, None], neighbors[rest].reshape(len(own), -1)], axis=1)


def find_reciprocal(neighbors: np.ndarray) -> csr_array:
    """R [N, N] of zeros and ones: j is in row i when each is in the other's list; symmetric."""
    lists = _lists_to_matrix(neighbors, 1)
    return lists.multiply(lists.T.tocsr()).tocsr()


def expand(whole: csr_array, half: csr_array, sizes: np.ndarray, share: float = 2 / 3) -> csr_array:
    """R*(i, k1) of some images as rows of zeros and ones.

    Args:
        whole: their rows R(i, k1).
        half: R(j, k1/2) of all images; symmetric.
        sizes: how many images are in each row of `half`.
        share: R(j, k1/2) joins R(i, k1) when more than this part of it lies in there already.
    """
    inside = (
        (whole @ half).multiply(whole).tocsr()
    )  # half is symmetric: |R(i, k1) and R(j, k1/2)| for j in R(i, k1)
    inside.data = (inside.data > share * sizes[inside.indices]).astype(np.int32)
    inside.eliminate_zeros()
    joined = (whole + inside @ half).tocsr()
    joined.data[:] = 1
    return joined


def encode(
    neighbors: np.ndarray,
    k1: int,
    k2: int,
    distances: Distances,
    rule: NeighborhoodRule = RULES["paper"],
    most: float = np.inf,
) -> csr_array:
    """V [N, N] float32, rows that sum to 1.

    Args:
        neighbors: [N, K] the nearest images of every image, itself first.
        k1: size of the neighborhoods.
        k2: how many neighbors' rows are averaged; 1 for none.
        distances: called with rows and columns [n], gives the scaled distances of those pairs.
        rule: how the neighborhoods are made.
        most: how many entries V may have before it is averaged.

    Raises:
        RunError: it would have more.
    """
    return average_neighbors(_weigh_neighbors(neighbors, k1, distances, rule, most), neighbors, k2)


def _weigh_neighbors(
    neighbors: np.ndarray, k1: int, distances: Distances, rule: NeighborhoodRule, most: float
) -> csr_array:
    count = len(neighbors)
    if not count:
        return csr_array((0, 0), dtype=np.float32)
    lengths, columns, weights, total = [], [], [], 0
    for start, sets in _expand_all(neighbors, k1, rule):
        total += sets.nnz
        if total > most:
            raise RunError(
                f"the neighborhoods of {count} images have {total} entries after"
                f" {start + sets.shape[0]} of them, more than max_ram has room for: raise max_ram,"
                f" or lower k1 ({k1})"
            )
        lengths.append(np.diff(sets.indptr).astype(np.int64))
        columns.append(sets.indices)
        weights.append(_weigh_sets(sets, start, distances))
    together = np.concatenate(columns)
    columns.clear()  # before the weights are put together: they are as many
    starts = np.concatenate([np.zeros(1, np.int64), *lengths]).cumsum()
    starts = starts.astype(pick_index_type(total))
    return csr_array((np.concatenate(weights), together, starts), shape=(count, count))


def _expand_all(
    neighbors: np.ndarray, k1: int, rule: NeighborhoodRule
) -> Iterator[tuple[int, csr_array]]:
    """Yield (first image, R*(i, k1) of a run of images)."""
    count = len(neighbors)
    whole = find_reciprocal(neighbors[:, : k1 + rule.more])
    half = find_reciprocal(neighbors[:, : halve(k1) + 1])
    sizes = np.diff(half.indptr)
    step = max(1, min(ROWS, ENTRIES // max(1, count_most_entries(count, k1))))
    for start in range(0, count, step):
        yield start, expand(whole[start : start + step], half, sizes, rule.share)


def _weigh_sets(sets: csr_array, start: int, distances: Distances) -> np.ndarray:
    """The weights [entries] float32 of a run of images, exp(-distance), that sum to 1 in a row."""
    rows = np.repeat(np.arange(sets.shape[0]), np.diff(sets.indptr))
    weights = np.exp(-distances(rows + start, sets.indices))
    weights /= np.bincount(rows, weights, minlength=sets.shape[0])[rows]
    return weights.astype(np.float32)


def average_neighbors(
    encoded: csr_array, neighbors: np.ndarray, k2: int, rows: np.ndarray | None = None
) -> csr_array:
    """The mean of the rows of every image's k2 nearest, itself among them; of all images or those
    named in `rows`.
    """
    if k2 == 1:
        return encoded if rows is None else encoded[rows]
    near = (neighbors if rows is None else neighbors[rows])[:, :k2]
    return _lists_to_matrix(near, 1 / near.shape[1], len(neighbors)) @ encoded


def _lists_to_matrix(neighbors: np.ndarray, value: float, images: int | None = None) -> csr_array:
    count, width = neighbors.shape
    starts = np.arange(count + 1, dtype=pick_index_type(count * width)) * width
    data = np.full(count * width, value, np.int32 if isinstance(value, int) else np.float32)
    return csr_array((data, neighbors.reshape(-1), starts), shape=(count, images or count))
