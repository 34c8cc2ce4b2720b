"""URIs of databases as an error tells them."""

from __future__ import annotations

import re

# Before the first @, as libpq reads it, stand user and password.
ADDRESS = re.compile(
    r"\w+://(?:[^@/]*@)?(?P<host>[\w.,:%\[\]-]*)(?P<path>/[\w.%-]*)?"
    r"(?:\?(?P<settings>[^#]*))?(?P<index>#\w*)?"
)
SHOWN = ("host", "hostaddr", "port", "dbname")  # settings that say which database it is


def hide_password(uri: str) -> str:
    """A URI as an error tells it: without user, password, and settings that need not be known.

    What is no URI is a path, and stays as it is.
    """
    scheme, sign, _ = uri.partition("://")
    if not sign:
        return uri
    parts = ADDRESS.fullmatch(uri)
    if parts is None:
        return f"{scheme}://…"
    settings = (pair.partition("=") for pair in (parts["settings"] or "").split("&"))
    shown = "&".join(f"{key}={value}" for key, _, value in settings if key in SHOWN)
    pieces = (
        f"{scheme}://",
        parts["host"],
        parts["path"],
        f"?{shown}" if shown else "",
        parts["index"],
    )
    return "".join(piece or "" for piece in pieces)
