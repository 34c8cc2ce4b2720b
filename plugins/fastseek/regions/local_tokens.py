"""Which local features of an image are kept: the strongest, all, or means of groups of like ones."""

from __future__ import annotations

import numpy as np

MERGE, NORM, ALL = "merge", "norm", "all"
SELECTIONS = (MERGE, NORM, ALL)
ROUNDS = 3  # of assigning and averaging


def choose_tokens(
    vectors: np.ndarray, places: np.ndarray, count: int, how: str = MERGE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keep `count` local features of an image.

    Args:
        vectors: [P, D] of all places.
        places: [P, 2], where they are.
        count: K; where there are fewer, the rest is filled with zeros of weight 0.
        how: "norm" keeps the longest, "merge" averages like ones, see `merge_tokens`, "all" keeps
            all in their order.

    Returns:
        vectors [K, D] float32 of length 1, places [K, 2] and weights [K], which sum to 1; with
        "all" K is P.

    Raises:
        ValueError: there is no such way.
    """
    if how not in SELECTIONS:
        raise ValueError(f"tokens are chosen by {', '.join(SELECTIONS)}, not {how!r}")
    vectors = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=1)
    units = vectors / np.maximum(lengths, 1e-12)[:, None]
    if how == MERGE:
        kept, where, weights = merge_tokens(units, places, lengths, count)
    else:
        size = count if how == NORM else len(units)
        order = np.argsort(-lengths, kind="stable")[:size] if how == NORM else np.arange(size)
        kept, where, weights = units[order], places[order], lengths[order]
        weights = weights / max(float(weights.sum()), 1e-12)
    size = len(units) if how == ALL else count
    lost = size - len(kept)
    return (
        np.pad(kept, ((0, lost), (0, 0))),
        np.pad(where, ((0, lost), (0, 0))).astype(np.float32),
        np.pad(weights, (0, lost)).astype(np.float32),
    )


def merge_tokens(
    units: np.ndarray, places: np.ndarray, lengths: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Group local features by cosine into at most `count` groups and average each.

    The first seed is the longest feature, every further one the feature least like all seeds
    before. Then, three times, every feature joins the group it is most like, and a group becomes
    the mean of its features, brought to length 1. This is aggregation of tokens as CraterBench-R
    does it (arXiv 2604.06245), with seeds that are spread out.

    Args:
        units: [P, D] of length 1.
        places: [P, 2].
        lengths: [P], the lengths they had.
        count: K.

    Returns:
        vectors [k, D] of length 1, the mean place [k, 2] of each group and its share [k] of all
        features.
    """
    seeds = [int(lengths.argmax())]
    near = units @ units[seeds[0]]
    while len(seeds) < min(count, len(units)):
        seeds.append(int(near.argmin()))
        near = np.maximum(near, units @ units[seeds[-1]])
    centers = units[seeds]
    for _ in range(ROUNDS):
        groups = (units @ centers.T).argmax(axis=1)
        member = np.zeros((len(centers), len(units)), np.float32)
        member[groups, np.arange(len(units))] = 1
        sums = member @ units
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        centers = np.where(norms > 0, sums / np.maximum(norms, 1e-12), centers)
    sizes = member.sum(axis=1)
    there = sizes > 0
    where = (member @ places)[there] / sizes[there, None]
    return centers[there].astype(np.float32), where, sizes[there] / len(units)
