"""Which part of a job this process does, and what there is to tell of it."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from ...structures.job_part import ALL, JobPart, local_number, part_of_environment
from ...structures.remote_embeddings import count_missing_anywhere


def describe_part(out: str, part: JobPart) -> str:
    """What there is to tell of a part where others are not ready."""
    missing, shards = count_missing_anywhere(out)
    return (
        f"part {part} is done; {missing} of {shards} shards of {out} are missing yet: whichever"
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
