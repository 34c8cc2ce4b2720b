"""Rankings that commands read."""

from __future__ import annotations

from ..io.paths import PathLike
from ..structures import Embeddings, Ranking
from ..structures.archive import describe_file


def load_ranking(path: PathLike, gallery: PathLike | None = None) -> Ranking:
    """A ranking, with all ids of its gallery where that is given: of a large one its file holds only
    those that are listed.

    Args:
        path: the .npz file.
        gallery: the embeddings that were searched.

    Raises:
        ArtefactError: it was searched in another gallery, or a file is damaged. DataError: a file
            cannot be read.
    """
    ranking = Ranking.load(path)
    if gallery is None:
        return ranking
    with describe_file(path):
        return ranking.with_gallery(Embeddings.load(gallery).ids)
