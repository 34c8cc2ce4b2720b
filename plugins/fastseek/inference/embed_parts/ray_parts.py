"""The parts of an embedding as tasks of a Ray cluster whose machines see the same folders."""

from __future__ import annotations

import importlib
from typing import Any

from ...errors import UsageError
from ...structures.job_part import JobPart
from .embed_request import EmbedRequest, embed_request

AGAIN = 5  # times Ray starts a part that died once more: it goes on where it was


def embed_on_ray(
    request: EmbedRequest, parts: int, cpus: float = 1, gpus: float = 0, address: str = ""
) -> str:
    """Embed a request by so many tasks of Ray; every one does what `embed_request` does.

    Args:
        request: its paths hold on every machine.
        parts: how many tasks there are.
        cpus, gpus: what Ray reserves for each.
        address: of the cluster; "" is RAY_ADDRESS, or a cluster of this machine alone.

    Returns:
        the line of the part that finished the folder.

    Raises:
        UsageError: Ray is not installed.
        FastSeekError: that of a part; the others' shards are kept.
    """
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise UsageError("Ray is not installed: pip install ray") from error
    if not ray.is_initialized():
        ray.init(address=address or None)
    task: Any = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=AGAIN)(embed_request)
    done = ray.get([task.remote(request, JobPart(number, parts)) for number in range(parts)])
    return max(done, key=lambda one: bool(one.whole)).line
