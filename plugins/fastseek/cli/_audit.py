"""What tools/audit.py does with models and rankings: files in, tables and pages out."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..audit import duplicate_classes as duplicates
from ..audit.collisions import advice
from ..audit.contact_sheet import contact_sheet
from ..audit.disagreement import overlaps
from ..audit.size_budget import check_size
from ..errors import ArtefactError, DataError, UsageError
from ..io import csv_rows
from ..io.atomic import atomic, check_apart, check_writable
from ..io.json_files import read_json, write_json
from ..io.paths import PathLike
from ..progress import progress
from ..registry import DATASETS, build
from ..report.thumbnails import thumbnail
from ..structures import Ranking
from ..structures.class_file import check_class_file, read_class_file

SAMPLES = 6  # pictures a class on a contact sheet


def duplicate_classes_file(
    weights: PathLike,
    out: PathLike,
    loss: str = "",
    classes: PathLike | None = None,
    tau: float | None = None,
    data: str | None = None,
    batch: int = 32,
) -> str:
    """Find classes that are one thing under two names; write the groups, and a page with samples;
    change no label.

    Args:
        weights: a .safetensors checkpoint with its classifier.
        out: "x.json", or "x.html", beside which x.json is written too.
        loss: the loss whose rows are taken.
        classes: the training's classes.json; the one beside the weights when not given.
        tau: see `audit.duplicate_classes`.
        data: call string of DATASETS, whose training images are the samples.
        batch: images a batch, for the advice.

    Returns:
        how many groups there are, and the advice.

    Raises:
        DataError, ArtefactError: a file cannot be read or does not fit. UsageError: the loss is not
            there, or a call string is wrong.
    """
    classes = classes or pathlib.Path(weights).parent / "classes.json"
    check_writable(out, [weights, classes])
    check_apart(pathlib.Path(out).with_suffix(".json"), [weights, classes])
    check_class_file(classes, weights)
    labels = read_class_file(classes).labels
    name, rows = _classifier(weights, loss, len(labels))
    found = duplicates.duplicate_classes(rows, len(rows) // len(labels), tau)
    groups = [
        {"classes": [labels[number] for number in group], "least_cosine": round(cosine, 4)}
        for group, cosine in zip(found.groups, found.cosines, strict=True)
    ]
    write_json(
        pathlib.Path(out).with_suffix(".json"),
        {"groups": groups, "tau": round(found.tau, 4), "classes": len(labels), "weights": name},
    )
    told = (
        f"{len(groups)} groups hold {sum(map(len, found.groups))} of {len(labels)} classes (cosine"
        f" {found.tau:.3f} and more, {name})"
    )
    lines = [f"{told}: {out}", *_advice([len(group) for group in found.groups], len(labels), batch)]
    if pathlib.Path(out).suffix == ".html":
        sheet = contact_sheet("Classes that may be one", told, _samples(groups, data))
        with atomic(out, "w") as file:
            file.write(sheet)
    return "\n".join(lines)


def collisions_file(groups: PathLike, batch: int = 32) -> str:
    """The chance that a batch holds two classes of one group, for every n x m.

    Raises:
        DataError: the file is not what `duplicate_classes_file` wrote.
    """
    if batch < 1:
        raise UsageError(f"--batch must be 1 or more, got {batch}")
    sizes, classes = _read_groups(groups)
    lines = _advice(sizes, classes, batch)
    return (
        "\n".join(lines)
        or f"a batch of {batch} cannot be n classes x m images with n and m above 1"
    )


def _read_groups(path: PathLike) -> tuple[list[int], int]:
    """The sizes of the groups of duplicate classes, and how many classes there are.

    Raises:
        DataError: the file is not what `duplicate_classes_file` wrote.
    """
    page = read_json(path)
    told = page if isinstance(page, dict) else {}
    groups, classes = told.get("groups"), told.get("classes")
    if isinstance(groups, list) and isinstance(classes, int) and all(map(_is_group, groups)):
        sizes = [len(group["classes"]) for group in groups]
        if sum(sizes) <= classes:
            return sizes, classes
    raise DataError(f"{path}: not what `fastseek audit duplicate-classes` writes")


def _is_group(group: Any) -> bool:
    return isinstance(group, dict) and isinstance(group.get("classes"), list)


def disagreement_file(
    rankings: Sequence[PathLike], out: PathLike, depth: int = 10, below: float = 0.2
) -> str:
    """Write query,overlap,disagrees of several models' rankings, the least overlap first.

    Raises:
        DataError, ArtefactError: a ranking cannot be read or is over other queries. UsageError: as
            for `overlaps`.
    """
    check_writable(out, rankings)
    loaded = [Ranking.load(path) for path in rankings]
    found = overlaps(loaded, depth)
    names = loaded[0].query_ids
    order = np.lexsort((names, found))
    csv_rows.write(
        out,
        ("query", "overlap", "disagrees"),
        [
            (csv_rows.guard_cell(str(names[row])), f"{found[row]:.4f}", int(found[row] < below))
            for row in order
        ],
    )
    return (
        f"{int((found < below).sum())} of {len(found)} queries have a mean overlap below {below:g}"
        f" in their first {depth}; the mean of all is {found.mean():.3f}: {out}"
    )


def disagreeing(table: PathLike) -> list[str]:
    """The queries that `disagreement_file` marked.

    Raises:
        DataError: the file is not what it wrote, or marks none.
    """
    rows = csv_rows.read(table, ("query", "disagrees"))
    marked = [csv_rows.unguard_cell(query) for _, (query, disagrees) in rows if disagrees == "1"]
    if not marked:
        raise DataError(f"{table}: marks no query, so there is nothing to look at")
    return marked


def size_files(files: Sequence[PathLike], limit_mb: float = 500.0) -> str:
    """A line a file with its megabytes, and the sum.

    Raises:
        ArtefactError: they are too large. DataError: one is not there.
    """
    sizes = check_size(files, limit_mb)
    lines = [f"{size:10.1f} MB  {name}" for name, size in sizes.items()]
    return "\n".join([*lines, f"{sum(sizes.values()):10.1f} MB of {limit_mb:g} MB"])


def _classifier(weights: PathLike, loss: str, classes: int) -> tuple[str, np.ndarray]:
    """The name and the rows of the classifier of a loss."""
    from safetensors import SafetensorError, safe_open

    if not pathlib.Path(weights).is_file():
        raise DataError(f"{weights}: there is no such weight file")
    try:
        with safe_open(weights, "numpy") as file:
            names = [name for name in file.keys() if _is_classifier(name)]
            rows = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ArtefactError(f"{weights}: not a whole .safetensors file ({error})") from error
    fitting = {
        name: value
        for name, value in rows.items()
        if value.ndim == 2 and len(value) % classes == 0 and (not loss or loss in name.split("."))
    }
    if len(fitting) != 1:
        raise UsageError(
            f"{weights}: {len(fitting)} classifiers of {classes}"
            f" classes{f' belong to {loss}' if loss else ''}; it has {', '.join(rows) or 'none'}:"
            " name one by its loss"
        )
    return next(iter(fitting.items()))


def _is_classifier(name: str) -> bool:
    return (
        name.startswith("losses.")
        and name.endswith("weight")
        or name in ("heads.weight", "classifier.weight")
    )


def _advice(sizes: Sequence[int], classes: int, batch: int) -> list[str]:
    return [
        f"a batch of {n:3d} classes x {m:2d} images holds two of one group in {100 * chance:5.1f} %"
        " of all cases"
        for n, m, chance in advice(sizes, classes, batch)
    ]


def _samples(groups: Sequence[dict[str, Any]], data: str | None) -> list[Any]:
    """For every group its classes with some training images, spread over the class."""
    paths: dict[str, list[str]] = {}
    for item in build(data, DATASETS).items if data else []:
        if item.split == "train":
            paths.setdefault(item.label, []).append(item.path)
    shown = []
    for group in progress(groups, "contact sheet"):
        rows = []
        for label in group["classes"]:
            known = sorted(paths.get(label, []))
            some = (
                [
                    known[place]
                    for place in np.unique(np.linspace(0, len(known) - 1, SAMPLES).astype(int))
                ]
                if known
                else []
            )
            pictures = [made[0] for made in map(thumbnail, some) if made is not None]
            rows.append((f"{label} ({len(known)} images)" if data else label, pictures))
        shown.append((f"{len(rows)} classes, least cosine {group['least_cosine']:.3f}", rows))
    return shown
