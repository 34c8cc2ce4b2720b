"""Opening a page in the user's browser, where there is one."""

from __future__ import annotations

import os
import pathlib
import sys
import webbrowser

from ..io.paths import PathLike


def open_page(page: PathLike) -> bool:
    """Open a file in a browser window, and tell whether that was tried; it never fails.

    Without a display Python may start a browser in the terminal, which would wait for keys.
    """
    if not has_display():
        return False
    try:
        return webbrowser.open(pathlib.Path(page).absolute().as_uri())
    except (webbrowser.Error, OSError):
        return False


def has_display() -> bool:
    """Whether a browser would open a window."""
    windows = sys.platform in ("darwin", "win32")
    return windows or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
