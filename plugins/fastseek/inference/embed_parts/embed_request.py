"""EmbedRequest: what `fastseek embed` is asked for, done by one process or by several, a part each."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from ...data.own_images import describe_embeddings, images_of
from ...errors import UsageError
from ...structures import Item
from ...structures.embedding_job import count_missing
from ...structures.job_part import JobPart, local_number, part_of_environment
from ..pretrained import load_model
from ..pretrained.embed import embed_part
from ..pretrained.options import ModelOptions

ALL = JobPart()


@dataclasses.dataclass(frozen=True)
class EmbedRequest:
    """Images and the model that embeds them: one by name, or a recipe and its weights.

    Args:
        images: a folder, a list or a table of images.
        out: folder of the embeddings.
        model: a pretrained model by name, "" where a recipe is given.
        how: how a model by name is run.
        threads: that read images for it; 0 chooses.
        recipe: a recipe, its weights and KEY VALUE changes.
        listed: the images and the folder their ids are relative to, where they were read already,
            such as from standard input.

    Raises:
        UsageError: neither or both are named.
    """

    images: str
    out: str
    model: str = ""
    how: ModelOptions = dataclasses.field(default_factory=ModelOptions)
    threads: int = 0
    recipe: tuple[str, str, tuple[str, ...]] = ("", "", ())
    listed: tuple[Sequence[Item], str] | None = None

    def __post_init__(self) -> None:
        if bool(self.model) == bool(self.recipe[0] and self.recipe[1]):
            raise UsageError("name a model, or a recipe and its weights")


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
    items, root = request.listed or images_of(request.images)
    if request.model:
        model = load_model(request.model, request.how)
        found = embed_part(model, items, root, request.out, request.threads, part=part)
    else:
        found = embed_with_recipe(*request.recipe, items, root, request.out, part)
    if found is not None:
        return Done(describe_embeddings(found, len(items), "numbers each", request.out), True)
    return Done(describe_part(request.out, part), False)


def describe_part(out: str, part: JobPart) -> str:
    """What there is to tell of a part where others are not ready."""
    missing, shards = count_missing(out)
    return (
        f"part {part} is embedded; {missing} of {shards} shards of {out} are missing yet: whichever"
        " part ends last writes the manifest"
    )


def choose_part(named: str, environ: Mapping[str, str] = os.environ) -> JobPart:
    """The part of this process: the one that is named, else the one its launcher gave it, else all.

    Where a machine has several GPUs, processes of one launcher take one each.

    Args:
        named: i/n, "" for none.
        environ: where the launcher speaks.

    Raises:
        UsageError: it is no part.
    """
    part = JobPart.parse(named) if named else part_of_environment(environ) or ALL
    if part.count > 1 and torch.cuda.is_available() and torch.cuda.device_count() > 1:
        torch.cuda.set_device(local_number(environ) % torch.cuda.device_count())
    return part
