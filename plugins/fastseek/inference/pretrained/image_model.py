"""A model that embeds images."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ...data.images import BadImage
from ...errors import DataError, FastSeekError
from .decoding import Source, decode_batches, name_source
from .engines import EAGER, Engines, Network
from .local_network import LocalNetwork
from .preprocessing import Transform

BATCH = 32
logger = logging.getLogger("fastseek")


@dataclasses.dataclass(frozen=True)
class ImageModel:
    """Images to vectors of unit length; built by `load_model`.

    Args:
        name: by which it was asked for.
        dim: numbers of a vector.
        provenance: what made the vectors: "model", "preprocessing", "views", "versions" and more;
            vectors of models that differ there are never compared.
        transform: an upright RGB image to a tensor of one shape.
        network: tensors [B, …] on the CPU to float32 [B, dim] on the CPU.
        batch_size: images embedded at once.
        engines: what else can run the network; None where nothing can, or one was asked for.
        local_network: what gives local features beside the vectors; None where nothing can.
    """

    name: str
    dim: int
    provenance: Mapping[str, Any]
    transform: Transform
    network: Network
    batch_size: int = BATCH
    engines: Engines | None = None
    local_network: LocalNetwork | None = None

    def tuned(self, count: int, engine: str = "") -> ImageModel:
        """The same model for a job of so many images, run by the engine that is fastest here.

        Its vectors differ from this one's by no more than `engines.NEAR`. Where an engine was asked
        for when the model was loaded, it is this one.

        Args:
            count: how many images will come.
            engine: that the job was begun with, if it was.
        """
        if self.engines is None:
            return self
        name = engine or self.engines.choose(count)
        try:
            network = self.engines.build(name)
        except FastSeekError as error:
            logger.warning("%s; plain torch runs the model", error)
            name, network = EAGER, self.engines.build(EAGER)
        provenance = {**self.provenance, "engine": name}
        return dataclasses.replace(self, network=network, provenance=provenance, engines=None)

    def embed(self, images: Sequence[Source], threads: int = 0) -> np.ndarray:
        """Embed images in their order.

        Args:
            images: files, or images of Pillow.
            threads: that read them; 0 chooses.

        Returns:
            float32 [N, dim], every row of unit length.

        Raises:
            DataError: an image cannot be read; names it.
        """
        made = [np.empty((0, self.dim), np.float32)]
        for batch in decode_batches(images, self.transform, self.batch_size, threads):
            for number, outcome in enumerate(batch.outcomes, batch.start):
                if isinstance(outcome, BadImage):
                    raise DataError(f"{name_source(images[number])}: {outcome}") from outcome
            tensors = batch.stack()
            made += [] if tensors is None else [self.vectors(tensors)]
        return np.concatenate(made)

    def vectors(self, tensors: torch.Tensor) -> np.ndarray:
        """What `transform` made of images, [B, …], to float32 [B, dim]."""
        found: np.ndarray = self.network(tensors).numpy()
        return found
