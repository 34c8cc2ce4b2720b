"""One self-contained HTML page of what a classifier says of images."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping, Sequence

from ..io.atomic import atomic
from ..io.paths import PathLike
from .render import render
from .thumbnails import thumbnail


@dataclasses.dataclass(frozen=True)
class PredictedImage:
    """One image of the page.

    Args:
        image: its id.
        label: what it is said to show.
        confidence: the largest probability.
        path: its file.
        nearest: the most probable class where `label` is none of the classes, else "".
    """

    image: str
    label: str
    confidence: float
    path: str
    nearest: str = ""

    @property
    def uri(self) -> str:
        """Its thumbnail as a data URI, "" when it cannot be shown."""
        small = thumbnail(self.path)
        if small is None:
            return ""
        return f"data:image/jpeg;base64,{base64.b64encode(small[0]).decode('ascii')}"


def predictions_page(
    out: PathLike,
    title: str,
    shown: Sequence[PredictedImage],
    counts: Mapping[str, int],
    facts: Sequence[tuple[str, str]] = (),
) -> None:
    """Write one HTML page that needs nothing else: no network, no other file, no script.

    Args:
        out: the file; the same input gives the same bytes.
        title: the heading.
        shown: the images with their thumbnails, in this order.
        counts: label -> how many images have it, of all images.
        facts: names and values below the heading.
    """
    total = sum(counts.values())
    html = render(
        "predictions.html", title=title, shown=shown, counts=counts, total=total, facts=facts
    )
    with atomic(out, "w") as file:
        file.write(html)
