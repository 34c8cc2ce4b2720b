"""Class probabilities to a contest's submission."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..classification.predictions import class_names
from ..errors import UsageError
from ..formats import inat, semi_inat, sorghum
from ..formats.class_answers import best_classes, match_images
from ..io.atomic import check_writable
from ..io.paths import PathLike
from ..structures import Embeddings

ROWS = 2048  # sorted at once: 10,000 classes take 160 MB


class _Form(NamedTuple):
    """How a contest lists its images (name -> what it knows the image by), and its submissions."""

    read: Callable[[PathLike], dict[str, str]]
    write: Callable[[PathLike, Sequence[str], Sequence[Sequence[str]]], None]
    answers: int
    listed: str


def submit_classes(kind: str, classified: PathLike, images: PathLike | None, out: PathLike) -> str:
    """Write the best classes of every image as a submission.

    Args:
        kind: "sorghum", "inat" or "semi-inat".
        classified: a folder that `fastseek classify` or `fastseek blend` wrote.
        images: the contest's list of what must be answered; the images that were classified when
            not given.
        out: the submission.

    Returns:
        one line that tells what was done.

    Raises:
        UsageError: `out` cannot be written or is an input, or the contest numbers its images and
            no list is given.
        DataError: an image was not classified, or the list is another; nothing is written.
        ArtefactError: no probabilities, or the folder is damaged.
    """
    check_writable(out, [classified, images])
    form = FORMS[kind]
    if images is None and kind == "inat":
        raise UsageError(
            f"the contest knows images by numbers: give its list, --images {form.listed}"
        )
    found = Embeddings.load(classified, verify=True)
    names = class_names(found)
    ids = found.ids.tolist()
    asked = {name.rpartition("/")[2]: name.rpartition("/")[2] for name in ids}
    if images is not None:
        asked = form.read(images)
    rows = match_images(ids, list(asked), f"{images or classified}")
    best: list[list[str]] = []
    for _, block in found.blocks(ROWS):
        best += [[names[c] for c in row] for row in best_classes(block, form.answers).tolist()]
    form.write(out, list(asked.values()), [best[row] for row in rows])
    return f"{len(asked)} images, {min(form.answers, len(names))} classes each: {out}"


def _same(names: Sequence[str]) -> dict[str, str]:
    return {name: name for name in names}


FORMS = {
    "sorghum": _Form(
        lambda path: _same(sorghum.read_images(path)),
        sorghum.write_submission,
        sorghum.ANSWERS,
        "sample_submission.csv",
    ),
    "inat": _Form(inat.read_images, inat.write_submission, inat.ANSWERS, "test.json"),
    "semi-inat": _Form(
        lambda path: _same(semi_inat.read_images(path)),
        semi_inat.write_submission,
        semi_inat.ANSWERS,
        "solutions_sample.csv",
    ),
}
