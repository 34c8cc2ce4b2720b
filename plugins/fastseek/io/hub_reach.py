"""Whether the hub of models can be reached: a quick no instead of its client's minute of trying."""

from __future__ import annotations

import socket
import urllib.request
from urllib.parse import urlsplit

SECONDS = 5.0  # the hub's own client asks for a minute


def find_fault() -> str:
    """Why the hub cannot be asked; "" where it can."""
    from huggingface_hub import constants  # only who asks a hub needs it

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
