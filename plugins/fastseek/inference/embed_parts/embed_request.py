"""EmbedRequest: what `fastseek embed` is asked for, done by one process or by several, a part each."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from ...data.own_images import describe_embeddings, images_of
from ...errors import UsageError
from ...io.paths import PathLike
from ...structures.job_part import ALL, JobPart
from ..pretrained import load_model
from ..pretrained.embed import embed_part
from ..pretrained.embed_locals import LocalOptions, embed_with_locals
from ..pretrained.options import ModelOptions
from .part_choice import describe_part


@dataclasses.dataclass(frozen=True)
class EmbedRequest:
    """Images and the model that embeds them: one by name, or a recipe and its weights.

    Args:
        images: a folder, a list or a table of images, or a list that was read already.
        out: folder of the embeddings.
        model: a pretrained model by name, "" where a recipe is given.
        how: how a model by name is run.
        threads: that read images for it; 0 chooses.
        recipe: a recipe, its weights and KEY VALUE changes.
        local: which local features are written beside the vectors; None for none.

    Raises:
        UsageError: neither or both are named, or local features of a recipe are asked for.
    """

    images: PathLike
    out: str
    model: str = ""
    how: ModelOptions = dataclasses.field(default_factory=ModelOptions)
    threads: int = 0
    recipe: tuple[str, str, tuple[str, ...]] = ("", "", ())
    local: LocalOptions | None = None

    def __post_init__(self) -> None:
        if bool(self.model) == bool(self.recipe[0] and self.recipe[1]):
            raise UsageError("name a model, or a recipe and its weights")
        if self.local is not None and not self.model:
            raise UsageError("--locals goes with --model default or timm:NETWORK")


class Done(NamedTuple):
    """What a part has done.

    Args:
        line: how many images were embedded and how many could not be read; or, where other parts
            are not ready, how much is missing.
        whole: whether nothing is.
    """

    line: str
    whole: bool


def embed_request(request: EmbedRequest, part: JobPart = ALL) -> Done:
    """Do a part of what was asked for; what is there already is not done again.

    Args:
        request: can be pickled, so that any executor can carry it to another process.
        part: which shards.

    Raises:
        FastSeekError: as `store_part`.
    """
    if not request.model:
        # It needs fast-reid, and says so before any image is looked for.
        from ..embed_images import embed_with_recipe
    items, root = images_of(request.images)
    if request.model:
        model, out, threads = load_model(request.model, request.how), request.out, request.threads
        if request.local is None:
            found = embed_part(model, items, root, out, threads, part=part)
        else:
            found = embed_with_locals(model, items, root, out, request.local, threads, part)
    else:
        found = embed_with_recipe(*request.recipe, items, root, request.out, part)
    if found is not None:
        return Done(describe_embeddings(found, len(items), "numbers each", request.out), True)
    return Done(describe_part(request.out, part), False)
