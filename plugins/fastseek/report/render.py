"""A template to a page that needs nothing beside it: every name escaped, one style and one script
let through.
"""

from __future__ import annotations

import base64
import hashlib
import pathlib
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from .sanitize import visible

HERE = pathlib.Path(__file__).parent


def render(template: str, style: str = "", script: str = "", **shown: Any) -> str:
    """The page a template of this folder makes.

    Args:
        template: its file.
        style: what is added to the style all pages share.
        script: the page's one script.
        shown: what the template names; text is escaped, and letters that turn text around are made
            visible.
    """
    style = f"{text_of('page.css')}{style}"
    loader = jinja2.FileSystemLoader(HERE, encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True,
        finalize=visible,
        loader=loader,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": _percent, "signed": _format_signed, "duration": _duration}
    hashes = {"style_hash": _hash(style), "script_hash": _hash(script)}
    return environment.get_template(template).render(
        style=Markup(style), script=Markup(script), **hashes, **shown
    )


def text_of(name: str) -> str:
    """A file of this folder."""
    return (HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What a content security policy calls the one style or script it lets through."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode(
        "ascii"
    )


def _percent(value: float | None) -> str:
    return "–" if value is None or np.isnan(value) else f"{100 * value:.1f}"


def _format_signed(value: float) -> str:
    shown = f"{100 * value:+.1f}"
    return "±0.0" if float(shown) == 0 else shown.replace("-", "−")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
