"""The rankings to be fused, matched by id, never by position."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import ArtefactError, DataError, UsageError
from ..knn.align import rows_of
from ..structures import Ranking
from ..structures.identity import root_of
from ..structures.listed_ids import Ids, ListedIds, same_ids

UNLIKE = 10  # times as far: then the narrower scores hardly count
logger = logging.getLogger("fastseek")
PAIRS = 1 << 21  # answers of all members handled at once


class Scale(NamedTuple):
    """How a member's scores are brought to a common scale: (score - shift) / divisor; `worst` is
    its lowest, scaled.
    """

    shift: float = 0.0
    divisor: float = 1.0
    worst: float = 0.0


def keep_scores(ranking: Ranking) -> Scale:
    """The scores as they are."""
    listed = ranking.scores[ranking.indices >= 0]
    return Scale(worst=float(listed.min())) if len(listed) else Scale()


@dataclasses.dataclass(frozen=True, eq=False)
class Members:
    """Rankings of the same queries, seen in one order of queries and gallery.

    Args:
        rankings: as they were given.
        query_ids, gallery_ids: the common order, the first member's.
        query_rows: for every member int64 [Q], its row of each query.
        gallery_rows: for every member int64 [its G], the common row of each of its gallery images.
        scales: for every member, how its scores are scaled.
        names: what messages call them.
    """

    rankings: tuple[Ranking, ...]
    query_ids: np.ndarray
    gallery_ids: Ids
    query_rows: tuple[np.ndarray, ...]
    gallery_rows: tuple[np.ndarray, ...]
    scales: tuple[Scale, ...]
    names: tuple[str, ...] = ()

    @classmethod
    def match(
        cls,
        rankings: Sequence[Ranking],
        names: Sequence[str] | None = None,
        union: bool = False,
        scale: Callable[[Ranking], Scale] = keep_scores,
    ) -> Members:
        """Match rankings by id.

        Args:
            rankings: at least one.
            names: what errors call them, such as their files; "member 1" … when not given.
            union: whether each may have searched a gallery of its own.
            scale: finds the scale of a member.

        Raises:
            UsageError: there is none. ArtefactError: one ranks other queries, or without `union`
                another gallery.
            DataError: all scores of one are equal. All name the member. ArtefactError: with `union`
                two galleries of other roots have an id in common.
        """
        rankings = tuple(rankings)
        if not rankings:
            raise UsageError("nothing to fuse: give at least one ranking")
        called = (
            list(names) if names else [f"member {number}" for number in range(1, len(rankings) + 1)]
        )
        for name, ranking in zip(called, rankings, strict=True):
            _check_scores(ranking, name)
            _check_same(ranking.query_ids, rankings[0].query_ids, name, called[0], "queries")
            if not union:
                _check_same(
                    ranking.gallery_ids, rankings[0].gallery_ids, name, called[0], "gallery images"
                )
            else:
                _check_one_meaning(ranking, rankings[0], name, called[0])
        queries, gallery = (
            rankings[0].query_ids,
            _join_ids([ranking.gallery_ids for ranking in rankings]),
        )
        return cls(
            rankings,
            queries,
            gallery,
            tuple(_find_rows(queries, ranking.query_ids) for ranking in rankings),
            tuple(_find_rows(ranking.gallery_ids, gallery) for ranking in rankings),
            tuple(scale(ranking) for ranking in rankings),
            tuple(called),
        )

    def warn_of_spans(self, weights: np.ndarray) -> None:
        """Warn where one member's scores spread so far that it decides alone.

        Args:
            weights: [M] of the members; a member of weight 0 is left out.
        """
        spans = [
            float(weight * np.ptp(ranking.scores[ranking.indices >= 0]))
            for ranking, weight in zip(self.rankings, weights, strict=True)
            if weight > 0 and (ranking.indices >= 0).any()
        ]
        used = [name for name, weight in zip(self.names, weights, strict=True) if weight > 0]
        if len(spans) < 2 or len(used) != len(spans) or max(spans) <= UNLIKE * min(spans):
            return
        widest, narrowest = int(np.argmax(spans)), int(np.argmin(spans))
        logger.warning(
            "the scores of %s spread over %.3g, those of %s over %.3g: added as they are, the first"
            " decides alone: give weights, or a scale",
            used[widest],
            spans[widest],
            used[narrowest],
            spans[narrowest],
        )

    @property
    def depth(self) -> int:
        """How many answers the longest lists hold."""
        return max(ranking.indices.shape[1] for ranking in self.rankings)

    def query_blocks(self, pairs: int = PAIRS) -> Iterator[slice]:
        """Runs of queries whose answers together are about `pairs`."""
        step = max(1, pairs // max(1, sum(ranking.indices.shape[1] for ranking in self.rankings)))
        for start in range(0, len(self.query_ids), step):
            yield slice(start, min(start + step, len(self.query_ids)))

    def read_lists(self, member: int, queries: slice) -> tuple[np.ndarray, np.ndarray]:
        """A member's answers to a run of queries: common gallery rows [b, K], -1 where none is, and
        scaled scores.
        """
        ranking, rows = self.rankings[member], self.query_rows[member][queries]
        shift, divisor, _ = self.scales[member]
        indices = ranking.indices[rows]
        if len(self.gallery_rows[member]):
            indices = np.where(indices < 0, -1, self.gallery_rows[member][indices])
        return indices, (ranking.scores[rows].astype(np.float64) - shift) / divisor


def _check_scores(ranking: Ranking, name: str) -> None:
    listed = ranking.scores[ranking.indices >= 0]
    if len(listed) > 1 and listed.min() == listed.max():
        raise DataError(
            f"{name}: all {len(listed)} scores are {listed[0]}, so it ranks nothing; leave this"
            " member out"
        )


def _check_same(ids: Ids, expected: Ids, name: str, first: str, what: str) -> None:
    if same_ids(ids, expected):
        return
    for one, other, sign in (
        (expected, ids, "lacks"),
        (ids, expected, "has, unlike " + first + ","),
    ):
        missing = np.setdiff1d(np.asarray(one), np.asarray(other))
        if len(missing):
            raise ArtefactError(
                f"{name} does not fit {first}: it {sign} {len(missing)} {what}, the first is "
                f"{str(missing[0])!r}; search the same queries and gallery with every model"
            )


def _check_one_meaning(ranking: Ranking, first: Ranking, name: str, first_name: str) -> None:
    """An id of two galleries that were read from two folders would be taken for one image."""
    roots = [root_of(one.provenance, "gallery") for one in (first, ranking)]
    if not all(roots) or roots[0] == roots[1]:
        return
    shared = np.intersect1d(np.asarray(first.gallery_ids), np.asarray(ranking.gallery_ids))
    if len(shared):
        raise ArtefactError(
            f"{first_name} and {name} both have gallery images {str(shared[0])!r}, of {roots[0]}"
            f" and of {roots[1]}, and {len(shared) - 1} more ids in common: embed both galleries"
            " from the folder above them, so that every image has an id of its own"
        )


def _join_ids(ids: Sequence[Ids]) -> Ids:
    """The first ids in their order, then what the others have besides, sorted; of one gallery all
    that the rankings tell of it.
    """
    if all(same_ids(some, ids[0]) for some in ids):
        listed = [some for some in ids if isinstance(some, ListedIds)]
        whole = next((some for some in ids if not isinstance(some, ListedIds)), None)
        return ListedIds.join(listed) if whole is None else whole
    first, *others = map(np.asarray, ids)
    return np.concatenate([first, np.setdiff1d(np.concatenate(others), first)])


def _find_rows(wanted: Ids, owned: Ids) -> np.ndarray:
    """For every wanted id its row among the owned ones, which hold them all."""
    if same_ids(wanted, owned):  # the usual case, and no sorting
        return np.arange(len(owned))
    return rows_of(np.asarray(wanted), np.asarray(owned))
