"""What --images of a page names: folders, and what lists images that lie elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from ..io.locations import file_around, is_file, is_url, leads_out
from ..io.paths import PathLike
from ..structures import Ranking

LISTS = (".tar", ".csv", ".tsv", ".parquet", ".pq")


def is_listed(images: PathLike) -> bool:
    """Whether images are listed by what is named: a tar, a table, an address, a data set."""
    text = os.fspath(images)
    if os.path.isdir(text):
        return False
    return is_url(text) or text.endswith((*LISTS, ")"))


def read_sources(
    ranking: Ranking, images: Sequence[PathLike]
) -> list[PathLike | Mapping[str, PathLike]]:
    """Folders as they are, and of anything else where the images of a ranking lie in it.

    Args:
        ranking: tells which images are wanted.
        images: folders, tar files, tables, addresses and call strings of data sets.

    Raises:
        DataError: a list cannot be read. RunError: an address cannot be reached.
    """
    return [_read_files(ranking, one) if is_listed(one) else one for one in images]


def _read_files(ranking: Ranking, images: PathLike) -> dict[str, PathLike]:
    from ..data.own_images import images_of  # most pages show images of folders

    rows = np.unique(ranking.indices[ranking.indices >= 0])
    wanted = {*ranking.query_ids.tolist(), *ranking.gallery_ids[rows].tolist()}
    return {item.id: item.path for item in images_of(images)[0] if item.id in wanted}


def may_be_shown(location: str, places: Sequence[PathLike]) -> bool:
    """Whether an image in a tar or Parquet file, or at an address, lies in one of the places that
    were named.
    """
    texts = [os.fspath(place) for place in places]
    if is_url(location):
        bases = [text.rstrip("/") + "/" for text in texts if is_url(text)]
        return any(
            location.startswith(base) and not leads_out(location[len(base) :]) for base in bases
        )
    around = file_around(location)
    if around is None:
        return False
    file = around[0]
    if not is_file(file):
        return may_be_shown(file, places) or file in texts
    real = os.path.realpath(file)
    whole = [os.path.realpath(text) for text in texts]
    return any(real == one or real.startswith(os.path.join(one, "")) for one in whole)
