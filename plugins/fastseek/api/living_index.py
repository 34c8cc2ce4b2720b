"""A gallery that lives, with doors for images."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..index import Index as VectorIndex
from ..io.paths import PathLike
from ..structures import Ranking
from .embedding import embed

if TYPE_CHECKING:
    from ..inference.index_images import Outcome
    from ..inference.pretrained import ImageModel
    from .embedding import Images


class _Reading(NamedTuple):
    replace: bool
    threads: int
    embeddings: PathLike | None


class Index(VectorIndex):
    """Images by id in a folder: their vectors, and columns of metadata; `Index.create` makes one,
    `Index.open` opens it.

    Besides vectors (`add`, `upsert`, `delete`, `search`, …) it takes images: they are embedded by
    the model that the index remembers, each once.

    Args:
        folder: of an index.

    Raises:
        DataError: it is no index. ArtefactError: it is damaged.
    """

    def add_images(
        self,
        images: PathLike,
        model: str | ImageModel = "",
        metadata: PathLike | None = None,
        threads: int = 0,
        embeddings: PathLike | None = None,
    ) -> Outcome:
        """Embed images and put them in; those that are there with the same content are passed over.

        Args:
            images: a folder, one image, or a table, as for `embed`.
            model: for the first images of an index, "default" where it is not said; later ones are
                embedded by the same.
            metadata: a CSV file with a column id, and others that become columns of the index.
            threads: that read images; 0 chooses.
            embeddings: a folder of vectors of these images, made before; only the rest is embedded.

        Returns:
            how many were embedded, replaced, known already, not readable, and put in with vectors
            that were made before.

        Raises:
            DataError: nothing is there, or an id is there with another content.
            UsageError, ArtefactError: another model than the index is made for.
        """
        return self._put(images, model, metadata, _Reading(False, threads, embeddings))

    def upsert_images(
        self,
        images: PathLike,
        model: str | ImageModel = "",
        metadata: PathLike | None = None,
        threads: int = 0,
        embeddings: PathLike | None = None,
    ) -> Outcome:
        """As `add_images`, but an image that is there with another content is replaced."""
        return self._put(images, model, metadata, _Reading(True, threads, embeddings))

    def search_images(
        self, images: Images, k: int = 10, filter: str = "", model: str | ImageModel = ""
    ) -> Ranking:
        """The k best images for every image that is asked for.

        Args:
            images: as for `embed`.
            k: how many images a query gets.
            filter: a condition on the metadata, such as "price < 20"; "" for none.
            model: the index's own where it is not said.

        Raises:
            DataError: an image cannot be read. UsageError: the filter cannot be read.
            UsageError, ArtefactError: another model than the index is made for.
        """
        return self.search(embed(images, self._load_model(model)), k, filter)

    def _put(
        self,
        images: PathLike,
        model: str | ImageModel,
        metadata: PathLike | None,
        reading: _Reading,
    ) -> Outcome:
        from ..index.columns import MetadataTable
        from ..inference.index_images import Arrival, put_images  # it needs torch

        table = None if metadata is None else MetadataTable(metadata, self.columns)
        arrival = Arrival(images, table=table, **reading._asdict())
        return put_images(self, arrival, lambda: self._load_model(model))

    def _load_model(self, model: str | ImageModel) -> ImageModel:
        """The model that is named, else the one that embedded what is there, run in the same way."""
        if not isinstance(model, str):
            return model

        from ..inference.index_images import load_model_of  # it needs torch

        empty = not (self.dim or self.provenance.get("name"))
        return load_model_of(self, model or ("default" if empty else ""))
