"""Queries on which the members disagree, searched once more with each thing they show."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from ...audit.disagreement import overlaps
from ...inference.embed_images import load_model
from ...inference.multi_object import parts_of, search_parts
from ...io.json_files import write_json
from ...knn.align import rows_of
from ...search.exact import Exact
from ...structures import Embeddings, Item, Ranking
from ..run import root
from .members import Member, TrainedMember
from .spec import SubjectSpec


@dataclasses.dataclass(frozen=True)
class SubjectSearch:
    """Searches the subjects of queries with every member of a contest.

    Args:
        spec: SUBJECTS of the recipe.
        trained: the models.
        queries: all of them.
        folder: gets the boxes that were searched, a JSON file for each member.
    """

    spec: SubjectSpec
    trained: Sequence[TrainedMember]
    queries: Sequence[Item]
    folder: pathlib.Path

    def __call__(
        self, members: Sequence[Member], plain: Mapping[str, Ranking]
    ) -> dict[str, Ranking]:
        """Search where the members disagree.

        Args:
            members: embedded, in the order of the models.
            plain: member -> its ranking without post-processing.

        Returns:
            member -> a ranking by cosine of the queries it was asked about, which are the same for
            all; an image's score is its largest over the whole query and its subjects.

        Raises:
            UsageError: a backbone gives no such map.
        """
        rankings = list(plain.values())
        far = overlaps(rankings, self.spec.depth) < self.spec.below
        asked = set(rankings[0].query_ids[far].tolist())
        items = [item for item in self.queries if item.id in asked]
        found = {}
        for one, member in zip(self.trained, members, strict=True):
            depth = plain[member.spec.name].indices.shape[1]
            found[member.spec.name] = self._search(one, member, items, depth)
        return found

    def _search(
        self, trained: TrainedMember, member: Member, items: Sequence[Item], depth: int
    ) -> Ranking:
        queries, gallery = member.sides["QUERIES"], member.sides["GALLERY"]
        rows = rows_of([item.id for item in items], queries.ids)
        vectors = np.asarray(queries.vectors[:])[rows]
        some = Embeddings(queries.ids[rows], vectors, queries.provenance)
        whole = Exact(k=depth)(some, gallery)
        if not items:
            return whole
        model = load_model(trained.cfg, trained.weights)
        parts = parts_of(trained.cfg, model, items, root(items), self.spec.on)
        write_json(self.folder / f"{member.spec.name}.boxes.json", dict(parts.boxes))
        return search_parts(whole, parts, gallery)


def replace_rows(ranking: Ranking, better: Ranking) -> Ranking:
    """A ranking with other answers to some of its queries.

    Args:
        ranking: of all queries.
        better: of some of them, over the same gallery.
    """
    if not len(better.query_ids):
        return ranking
    depth = min(ranking.indices.shape[1], better.indices.shape[1])
    rows = rows_of(better.query_ids, ranking.query_ids)
    place = rows_of(better.gallery_ids, ranking.gallery_ids)
    indices, scores = ranking.indices.copy(), ranking.scores.copy()
    indices[rows], scores[rows] = -1, -np.inf
    listed = better.indices[:, :depth]
    indices[rows, :depth] = np.where(listed < 0, -1, place[listed])
    scores[rows, :depth] = better.scores[:, :depth]
    return dataclasses.replace(ranking, indices=indices, scores=scores)
