"""Sample images of groups on one self-contained page."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

Row = tuple[str, Sequence[bytes]]  # caption and JPEGs
Group = tuple[str, Sequence[Row]]  # heading and rows

_STYLE = """body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em}
h2{font-size:1.05em;margin:2em 0 .3em;border-top:1px solid #8886;padding-top:.8em}
.row{display:flex;flex-wrap:wrap;gap:4px;align-items:center;margin:.4em 0}
.row b{width:14em;font-weight:normal;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}}"""


def contact_sheet(title: str, text: str, groups: Sequence[Group]) -> str:
    """The page as HTML; names are escaped, images are in it, nothing is fetched.

    Args:
        title: the heading.
        text: a paragraph below it.
        groups: what is shown.
    """
    parts = [
        f"<h2>{html.escape(heading)}</h2>\n" + "\n".join(map(_row, rows))
        for heading, rows in groups
    ]
    return (
        '<!doctype html>\n<html lang="en"><meta'
        f' charset="utf-8"><title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n<h1>{html.escape(title)}</h1>\n<p>{html.escape(text)}</p>\n"
        + "\n".join(parts)
        + "\n</html>\n"
    )


def _row(row: Row) -> str:
    caption, images = row
    shown = "".join(
        f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(one).decode("ascii")}">'
        for one in images
    )
    return f'<div class="row"><b>{html.escape(caption)}</b>{shown}</div>'
