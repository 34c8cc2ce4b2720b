"""Search part by part, kept on disk, and merge."""

from __future__ import annotations

import dataclasses
import pathlib

from ..errors import ArtefactError
from ..knn.fingerprint import fingerprint
from ..progress import progress
from ..registry import SEARCHERS, build
from ..structures import Embeddings, Ranking
from ..structures.embeddings import slice_embeddings
from ..structures.listed_ids import ListedIds
from ..structures.provenance import attach_provenance
from ._merge import merge

__all__ = ["Sharded", "fingerprint"]


@SEARCHERS.register()
class Sharded:
    """Another search over runs of the gallery, one after the other, merged: exact if that search is
    exact.

    With a folder every run's ranking is written when it is done, so a search that was killed goes
    on where it was, and the end is the same to the byte. A run that lies there from other
    embeddings or another search is refused. Runs can be searched by processes of their own with
    `tools/search.py`; `search.merge.merge` puts such rankings together.

    Args:
        search: call string of a searcher.
        rows: gallery images in a run.
        folder: where the rankings of the runs are kept; "" for nowhere.

    Raises:
        ArtefactError: the folder holds runs of another search.

    Example: sharded(search='exact(k=100)', rows=1000000)
    """

    not_in_call = ("folder",)
    unnamed_in_call = ("search",)

    def __init__(
        self, search: str = "exact(k=100)", rows: int = 1_000_000, folder: str = ""
    ) -> None:
        if rows < 1:
            raise ValueError(f"rows must be 1 or more, got {rows}")
        self.search, self.rows, self.folder = search, rows, folder
        self.searcher = build(search, SEARCHERS)

    @property
    def k(self) -> int:
        """How many images a query gets; 0 where the search does not tell."""
        return self.searcher.k

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """Rank the gallery for every query."""
        parts = [
            slice_embeddings(gallery, start, start + self.rows)
            for start in range(0, max(1, len(gallery)), self.rows)
        ]
        asked = fingerprint(queries) if self.folder else ""
        rankings = [
            self._rank_run(number, queries, part, asked)
            for number, part in enumerate(progress(parts, "runs"))
        ]
        merged = merge(_list_alike(rankings), min(len(gallery), self.k))
        facts = {key: value for key, value in merged.provenance.items() if key != "run"}
        return attach_provenance(merged, facts)

    def _rank_run(self, number: int, queries: Embeddings, part: Embeddings, asked: str) -> Ranking:
        """The ranking of one run, from the folder if it is there."""
        if not self.folder:
            return self.searcher(queries, part)
        file = pathlib.Path(self.folder) / f"run-{number:05d}.npz"
        run = {"search": self.search, "queries": asked, "gallery": fingerprint(part)}
        if not file.exists():
            ranking = self.searcher(queries, part)
            provenance = {**ranking.provenance, "run": run}
            Ranking(queries.ids, part.ids, ranking.indices, ranking.scores, provenance).save(file)
        ranking = Ranking.load(file)
        other = [
            key for key, value in run.items() if ranking.provenance.get("run", {}).get(key) != value
        ]
        if other:
            raise ArtefactError(
                f"{file} is of another {' and '.join(other)}: delete it or name another folder"
            )
        return ranking


def _list_alike(rankings: list[Ranking]) -> list[Ranking]:
    """The rankings of runs, all with the listed ids alone where one was read from disk so: the last
    run is often small enough to be written with all of its ids.
    """
    if not any(isinstance(one.gallery_ids, ListedIds) for one in rankings):
        return rankings
    return [
        dataclasses.replace(one, gallery_ids=ListedIds.pick(one.gallery_ids, one.indices))
        for one in rankings
    ]
