"""Embed a folder, and show every image with its nearest on a page that grows meanwhile."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...data.own_images import images_of
from ...data.rejects import Reject, append, describe_rejects
from ...errors import DataError
from ...io.locks import hold_folder
from ...io.paths import PathLike
from ...progress import progress
from ...report import ImageSources, NeighborsLayout, neighbors_page
from ...report.query_cases import pick
from ...report.thumbnails import Thumbnails
from ...structures import Embeddings, Item, Ranking
from ..pretrained import ImageModel, count_images, embed_batches
from .answers import find_answers
from .kept_vectors import KeptVectors
from .questions import ASKED, Question, read_questions

PAGE = "answers.html"
RENEW = 3  # seconds after which a growing page loads itself again
PATIENCE = 600  # seconds without a new one after which it does not: its process was killed
REST = 5.0  # seconds between two pages at least
SHARE = 4  # and so many times what it took to write one, so that embedding has the machine


@dataclasses.dataclass(frozen=True)
class LookOptions:
    """What is shown.

    Args:
        depth: nearest images of each at most.
        queries: images with their nearest on the page at most, spread evenly over all.
        threads: that read images; 0 chooses.
    """

    depth: int = 10
    queries: int = 200
    threads: int = 0


@dataclasses.dataclass(frozen=True)
class Look:
    """What came of it.

    Args:
        page: the page.
        embeddings: the folder of the vectors.
        images: how many there are.
        known: how many have a vector.
        new: how many of them were embedded now.
        rejects: the images that could not be read.
        folders: in how many folders the images lie.
    """

    page: pathlib.Path
    embeddings: pathlib.Path
    images: int
    known: int
    new: int
    rejects: Sequence[Reject]
    folders: int


USUAL = LookOptions()


def look_at(
    images: PathLike,
    out: PathLike,
    model: ImageModel,
    asked: Sequence[PathLike] = (),
    options: LookOptions = USUAL,
    on_page: Callable[[pathlib.Path], None] | None = None,
) -> Look:
    """Embed images and write a page of each with its nearest.

    The page is there after the first batch, and is written again while the rest is embedded. The
    vectors are kept: the same call again embeds new and changed images only, also after it was
    killed.

    Args:
        images: a folder, searched through, or a table with a column path.
        out: gets answers.html, ranking.npz, embeddings/ and, where images cannot be read,
            rejects.csv.
        model: what embeds.
        asked: images to search for; all images of the folder when none is given.
        options: what is shown.
        on_page: called with the page when it is there for the first time.

    Raises:
        DataError: there is no image, none can be read, or one that is asked for cannot be.
        UsageError: `out` cannot be written, or holds something else.
        RunError: another process writes there.
    """
    items, root = images_of(images)
    name = pathlib.Path(images).resolve().name
    questions = read_questions(asked, items)
    out = pathlib.Path(out)
    with hold_folder(out):
        kept = KeptVectors(out / "embeddings", {**model.provenance, "root": root}, items)
        before = len(kept)
        tuned = model.tuned(len(items) - before)
        kept.tell_engine(tuned.provenance)
        subject = _Subject(name, items, questions, kept, _embed_questions(tuned, questions))
        rejects = _embed_rest(tuned, subject, out, options, on_page or _do_nothing)
    return Look(
        out / PAGE,
        out / "embeddings",
        len(items),
        len(kept),
        len(kept) - before,
        rejects,
        len({pathlib.PurePath(item.path).parent for item in items}),
    )


@dataclasses.dataclass(frozen=True)
class _Subject:
    """What is looked at.

    Args:
        name: of the folder.
        items: its images.
        questions: images to search for; all of `items` when there are none.
        kept: their vectors so far.
        vectors: [Q, D] of the questions.
    """

    name: str
    items: Sequence[Item]
    questions: Sequence[Question]
    kept: KeptVectors
    vectors: np.ndarray | None


def _do_nothing(page: pathlib.Path) -> None:
    pass


def _embed_questions(model: ImageModel, questions: Sequence[Question]) -> np.ndarray | None:
    return model.embed([one.path for one in questions]) if questions else None


def _embed_rest(
    model: ImageModel,
    subject: _Subject,
    out: pathlib.Path,
    options: LookOptions,
    on_page: Callable[[pathlib.Path], None],
) -> list[Reject]:
    """Embed what has no vector yet, and write the page, again and again."""
    kept, rejects = subject.kept, list[Reject]()
    (out / "rejects.csv").unlink(missing_ok=True)
    writer = _PageWriter(subject, out, options, on_page)
    missing = [item for item in subject.items if item.id not in kept]
    parts = embed_batches(model, missing, threads=options.threads)
    what = f"embedding {subject.name}"
    try:
        for ids, vectors, bad in progress(
            parts, what, len(missing), unit="images", count=count_images
        ):
            kept.add(ids, vectors)
            rejects += bad
            if len(kept) and writer.is_due():
                kept.save()
                writer.write(rejects, len(kept) + len(rejects) < len(subject.items))
    finally:
        kept.save()
        if rejects:
            append(out / "rejects.csv", rejects)
    if not len(kept):
        raise DataError(
            f"none of the {len(subject.items)} images of {subject.name} can be read, first"
            f" {rejects[0]['path']} ({rejects[0]['detail']}): see {out / 'rejects.csv'}"
        )
    writer.write(rejects, growing=False).save(out / "ranking.npz", force=True)
    return rejects


class _PageWriter:
    """Writes the page of what is known so far.

    Args:
        subject: what is looked at.
        out: the folder of the page.
        options: what is shown.
        on_page: called when the page is there for the first time.
    """

    def __init__(
        self,
        subject: _Subject,
        out: pathlib.Path,
        options: LookOptions,
        on_page: Callable[[pathlib.Path], None],
    ) -> None:
        self._subject, self._options, self._on_page = subject, options, on_page
        self._page = out / PAGE
        self._known: Thumbnails = {}
        self._written, self._took = 0.0, 0.0

    def is_due(self) -> bool:
        """Whether it is time for another page."""
        rest = max(REST, SHARE * self._took)
        return not self._written or time.monotonic() - self._written > rest

    def write(self, rejects: Sequence[Reject], growing: bool) -> Ranking:
        """Write the page, and give the ranking it shows.

        Args:
            rejects: the images that could not be read so far.
            growing: whether there will be another page.
        """
        start = time.monotonic()
        ranking, files = self._answer()
        layout = NeighborsLayout(
            f"{self._subject.name}: every image and its nearest"
            if not self._subject.questions
            else f"Searched in {self._subject.name}",
            self._options.depth,
            len(ranking.query_ids),
            self._write_notes(rejects, growing, len(ranking.query_ids)),
            RENEW if growing else 0,
            int(time.time()) + PATIENCE if growing else 0,
            links=True,
        )
        neighbors_page(ranking, files, self._page, layout, self._known)
        first, self._written = not self._written, time.monotonic()
        self._took = self._written - start
        if first:
            self._on_page(self._page)
        return ranking

    def _answer(self) -> tuple[Ranking, ImageSources]:
        """The ranking of what is known so far, and the files of its images."""
        subject = self._subject
        gallery = subject.kept.select(item.id for item in subject.items)
        paths = {item.id: item.path for item in subject.items}
        row_of = {name: row for row, name in enumerate(gallery.ids.tolist())}
        if subject.vectors is None:
            rows = pick(np.arange(len(gallery)), self._options.queries, worst=0.0)
            asked = Embeddings(gallery.ids[rows], gallery.vectors[rows], gallery.provenance)
            answers = find_answers(asked, gallery, rows, self._options.depth)
            return answers, ImageSources(paths, paths)
        names = [one.name for one in subject.questions]
        provenance: dict[str, Any] = {**gallery.provenance, "root": ASKED}
        asked = Embeddings(np.array(names), subject.vectors, provenance)
        own = np.array([row_of.get(one.inside, -1) for one in subject.questions])
        files = {one.name: one.path for one in subject.questions}
        answers = find_answers(asked, gallery, own, self._options.depth)
        return answers, ImageSources(files, paths)

    def _write_notes(self, rejects: Sequence[Reject], growing: bool, shown: int) -> list[str]:
        total, known = len(self._subject.items), len(self._subject.kept)
        notes = []
        if growing:
            notes.append(
                f"{known:,} of {total:,} images so far: the page loads itself again until all are"
                " there."
            )
        elif known == 1:
            notes.append("There is one image only: nothing to compare it with.")
        if not self._subject.questions and shown < known:
            notes.append(
                f"{shown:,} of {known:,} images stand here as queries, spread evenly over all."
                " --queries shows more, --query IMAGE searches for one."
            )
        if rejects:
            notes.append(f"{describe_rejects(rejects)}; rejects.csv says why.")
        return notes
