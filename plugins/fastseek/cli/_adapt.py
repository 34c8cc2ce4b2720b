"""Embeddings and labels from files to an adapter file."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ..adapt import Adapted, Trying, check_harmless, describe_unfit, fit_adapter
from ..data.datasets.folder import label_by_folder
from ..errors import UsageError, escape_controls
from ..io.atomic import check_writable
from ..io.code_version import current_commit
from ..io.file_kinds import check_replaceable
from ..io.paths import PathLike
from ..io.text_table import align_columns, count_noun
from ..report.results import write_results
from ..structures import Embeddings
from ..structures.label_file import read_labels

FOLDERS = "folders"  # in place of a table: labels are the folders of the ids
SUFFIX = ".safetensors"
SHOWN = 3  # ids named in a message
VERDICTS = {
    "helps": "It helps classes it was not fitted on.",
    "unclear": "Classes it was not fitted on neither gain nor lose for certain.",
    "harms": "It harms, and was written because of --force.",
}


def adapt_files(
    embeddings: PathLike,
    labels: PathLike,
    out: PathLike,
    trying: Trying,
    split: str = "",
    force: bool = False,
) -> str:
    """Fit an adapter, judge it, and write it; its figures go beside it as .results.json.

    Args:
        embeddings: a folder (its bytes are compared with their hashes), .npy or .safetensors file.
        labels: a CSV file id,label, or FOLDERS.
        out: the .safetensors file.
        trying: what is tried and how it is judged.
        split: where the table has a column split, only the rows of this one count.
        force: whether an adapter that harms is written, and any file replaced.

    Returns:
        what was done, the figures, and what they mean.

    Raises:
        UsageError: an output cannot be written, is an input or a foreign file.
        RunError: the adapter harms unseen classes, or was not judged; nothing is written.
        DataError, ArtefactError: embeddings or labels cannot be used.
    """
    figures = _check_outputs(out, [embeddings, labels], force)
    side = Embeddings.load(embeddings, verify=True)
    known = _read_labels(labels, side.ids.tolist(), split)
    adapted = fit_adapter(side, known, trying)
    if not force:
        check_harmless(adapted)
    if adapted.judgement is not None:
        write_results(figures, _list_rows(adapted), current_commit(), trying.seed)
    adapted.fit.save(out)
    use = f'use it: fastseek search … --enhance "adapter({str(out)!r})"'
    told = [*_describe(adapted, side, known, out), *_describe_figures(adapted, figures), use]
    return "\n".join(told)


def _check_outputs(out: PathLike, inputs: Sequence[PathLike], force: bool) -> pathlib.Path:
    """The file of the figures, both files checked."""
    if pathlib.Path(out).suffix != SUFFIX:
        raise UsageError(f"{out}: an adapter is a {SUFFIX} file: name it so")
    figures = pathlib.Path(out).with_suffix(".results.json")
    for path, kind in ((out, "adapter"), (figures, "results")):
        check_replaceable(path, kind, force, inputs)
        check_writable(path, inputs)
    return figures


def _read_labels(labels: PathLike, ids: list[str], split: str) -> Mapping[str, str]:
    if str(labels) == FOLDERS:
        return dict(zip(ids, label_by_folder(ids), strict=True))
    return read_labels(labels, split, allow_empty=True)


def _describe(
    adapted: Adapted, side: Embeddings, labels: Mapping[str, str], out: PathLike
) -> list[str]:
    """What was fitted on what, and what was left out."""
    provenance = adapted.fit.provenance
    blend = float(adapted.fit.arrays["blend"][0])
    lines = [
        f"{provenance['method']}, blend {blend:g}, fitted on"
        f" {count_noun(adapted.images, 'image')} of"
        f" {count_noun(adapted.classes, 'class', 'classes')}: {out}"
    ]
    names = side.ids.tolist()
    bare = [name for name in names if not labels.get(name)]
    if bare:
        lines.append(f"{len(bare)} of {len(side)} images have no label: {_name(bare)}")
    there = set(names)
    unknown = [name for name in labels if name not in there]
    if unknown:
        lines.append(
            f"{count_noun(len(unknown), 'label')} of images without vectors: {_name(unknown)}"
        )
    if adapted.singles:
        lines.append(
            f"{count_noun(adapted.singles, 'class', 'classes')} of one image only, which cannot be"
            " asked for"
        )
    return lines


def _describe_figures(adapted: Adapted, figures: pathlib.Path) -> list[str]:
    """The table, and what it means."""
    judged = adapted.judgement
    if judged is None:
        return ["It was not judged on classes it was not fitted on."]
    table = [["", "queries", "before", "after", "gain", "95 % interval"]]
    for one in judged.changes:
        numbers = [f"{one.before:.3f}", f"{one.after:.3f}", f"{one.gain:+.3f}"]
        span = f"[{one.low:+.3f}, {one.high:+.3f}]"
        queries = str(judged.queries[one.group])
        table.append([f"{one.group} classes, {one.metric}", queries, *numbers, span])
    over = count_noun(judged.classes, "class", "classes")
    note = f"Intervals are over {over}; figures are in {figures}"
    return [*describe_unfit(judged), align_columns(table), VERDICTS[judged.verdict], note]


def _list_rows(adapted: Adapted) -> list[dict[str, Any]]:
    """Rows of results.json: seen and unseen classes before, after, and the gain."""
    judged, rows = adapted.judgement, []
    for group in judged.queries if judged else ():
        mine = [change for change in judged.changes if change.group == group] if judged else []
        for name in ("before", "after", "gain"):
            metrics = {change.metric: getattr(change, name) for change in mine}
            row: dict[str, Any] = {"name": f"{group} classes, {name}", "metrics": metrics}
            if name == "gain":
                row["interval"] = {one.metric: [one.low, one.high] for one in mine}
            rows.append(row)
    return rows


def _name(names: Sequence[str]) -> str:
    return ", ".join(map(escape_controls, names[:SHOWN])) + (", …" if len(names) > SHOWN else "")
