"""Folders of class probabilities to one, with equal or evolved weights and perhaps a prior."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..classification import class_numbers, evaluate
from ..classification.blend import align_members, blend_members
from ..classification.evolve import Evolved, evolve, halves
from ..classification.prior import with_prior
from ..errors import ArtefactError, DataError, UsageError
from ..io.atomic import check_apart
from ..io.json_files import read_json, write_json
from ..io.paths import PathLike
from ..io.text_table import align_columns
from ..registry import parse
from ..structures import Embeddings, Score, interval
from ..structures.class_file import read_class_file
from ..structures.label_file import read_labels
from ._score import check_told


@dataclasses.dataclass(frozen=True)
class BlendOptions:
    """How members become one.

    Args:
        mean: "probabilities" or "logits", see `classify.blend.blended`.
        evolve: "de" or "cma" finds the weights; "" takes equal ones.
        prior: a further folder of probabilities that the blend is multiplied with; "" for none.
        power: of the prior.
        seed: of the evolution.
        weights: a JSON file that an earlier blend wrote, whose weights are used again, such as those
            evolved on validation images for the images of a test; "" for none.
    """

    mean: str = "probabilities"
    evolve: str = ""
    prior: str = ""
    power: float = 1.0
    seed: int = 0
    weights: str = ""


EQUAL = BlendOptions()


def blend_files(
    folders: Sequence[PathLike],
    wanted: BlendOptions = EQUAL,
    truth: PathLike | None = None,
    figures: Sequence[str] = (),
    classes: PathLike | None = None,
    out: PathLike | None = None,
    to: PathLike | None = None,
) -> str:
    """Blend folders of class probabilities, matched by the names of images and classes.

    Args:
        folders: what tools/classify.py wrote. Images that the prior's folder does not have are
            blended without it.
        wanted: how.
        truth: a CSV file id,label[,split]; needed to evolve and to score. Images it does not tell
            of are not scored.
        figures: call strings of CLASS_METRICS; with evolved weights the held-out half is scored, else all
            images.
        classes: classes.json of a member's training, for figures by class size.
        out: folder the blend is written to.
        to: JSON file of weights and figures; "-" returns the JSON instead of the text.

    Returns:
        the weights and a table: every member, the equal blend, the blend, and the blend with the
            prior.

    Raises:
        UsageError: something is asked for that needs another argument, or an output is an input.
            ArtefactError: a folder does not fit or was changed; names it.
    """
    _check(wanted, truth, figures, classes)
    _check_outputs(
        [*folders, wanted.prior or None, wanted.weights or None, truth, classes], out, to
    )
    names = [str(folder) for folder in folders]
    members = [Embeddings.load(folder, verify=True) for folder in folders]
    stack = align_members(members, names)
    known, ids = list(members[0].provenance["classes"]), members[0].ids
    numbers = _class_numbers_of(ids, known, truth)
    found = evolve(stack, numbers, ids, wanted.seed, wanted.evolve) if wanted.evolve else None
    models = [_model_of(one) for one in members]
    weights = _weights_of(wanted, found, models, names)
    last = blend_members(stack, weights, wanted.mean)
    tables = dict(zip(names, stack, strict=True))
    if len(members) > 1:
        tables |= _name_blends(stack, last, wanted, found)
    if wanted.prior:
        prior = _prior(wanted.prior, ids, known)
        last = tables["with the prior"] = with_prior(last, *prior, wanted.power)
    if out is not None:
        Embeddings(ids, last, _describe_making(wanted, weights, members, known)).save(out)
    scored = _score_blend(tables, numbers, ids, found, wanted.seed, figures, classes, known)
    used = list(zip(names, models, weights.tolist(), strict=True))
    return _describe(used, found, scored, len(ids), out, to)


def _check_outputs(
    inputs: Sequence[PathLike | None], out: PathLike | None, to: PathLike | None
) -> None:
    check_told(to, inputs)
    if out is not None:
        check_apart(out, inputs)


def _class_numbers_of(ids: np.ndarray, known: Sequence[str], truth: PathLike | None) -> np.ndarray:
    """Every image's class as a number [N]; -1 where the truth tells of none."""
    labels = read_labels(truth, "query", allow_empty=True) if truth is not None else {}
    return class_numbers([labels.get(name, "") for name in ids.tolist()], known)


def _weights_of(
    wanted: BlendOptions, found: Evolved | None, models: Sequence[str], names: Sequence[str]
) -> np.ndarray:
    """The members' weights: read, evolved or equal."""
    if wanted.weights:
        return _read_weights(wanted.weights, models, names)
    if found is not None:
        return np.array(found.weights)
    return np.full(len(models), 1 / len(models))


def _name_blends(
    stack: np.ndarray, last: np.ndarray, wanted: BlendOptions, found: Evolved | None
) -> dict[str, np.ndarray]:
    """The equal blend, and the one that is not equal beside it, by what the table calls them."""
    blends = {"equal weights": blend_members(stack, None, wanted.mean)}
    if found is not None:
        blends["evolved weights"] = last
    if wanted.weights:
        blends["given weights"] = last
    return blends


def _describe_making(
    wanted: BlendOptions,
    weights: np.ndarray,
    members: Sequence[Embeddings],
    known: Sequence[str],
) -> dict[str, Any]:
    """The provenance of a blend."""
    blend = {
        **dataclasses.asdict(wanted),
        "weights": weights.tolist(),
        "members": [dict(one.provenance) | {"classes": len(known)} for one in members],
    }
    return {"kind": "probabilities", "classes": list(known), "blend": blend}


def _model_of(member: Embeddings) -> str:
    """What a member's model is known by, with its transforms and views; "" where none is told."""
    told = [member.provenance.get(key) for key in ("model", "preprocessing", "views", "vote")]
    if told[0] is None:
        return ""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _read_weights(path: PathLike, models: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """The weights an earlier blend used, by model: members may stand in another order.

    Raises:
        DataError: the file is none that a blend wrote.
        ArtefactError: a member's model has no weight there, or one there is no member.
    """
    page = read_json(path)
    weights = page.get("weights") if isinstance(page, dict) else None
    known = page.get("models") if isinstance(page, dict) else None
    if not isinstance(weights, list) or not isinstance(known, list) or len(weights) != len(known):
        raise DataError(
            f"{path}: holds no weights of models; `fastseek blend --evolve de --json FILE` writes"
            " them"
        )
    strange = [name for name, model in zip(names, models, strict=True) if model not in known]
    if strange or len(set(models)) < len(models) or len(models) != len(known):
        which = (
            f"{strange[0]} is of none of them"
            if strange
            else f"the members are {len(models)}, of {len(set(models))} models"
        )
        raise ArtefactError(
            f"{path}: has weights of {len(known)} models, and {which}: give a folder of each"
        )
    return np.array([weights[known.index(model)] for model in models], float)


def _check(
    wanted: BlendOptions, truth: PathLike | None, figures: Sequence[str], classes: PathLike | None
) -> None:
    if (wanted.evolve or figures) and truth is None:
        raise UsageError("--truth is missing: weights are evolved and figures counted by it")
    if any(parse(call)[0] == "by_size" for call in figures) and classes is None:
        raise UsageError(
            "by_size needs the sizes of the classes: name the classes.json beside a member's"
            " weights"
        )
    if wanted.evolve and wanted.weights:
        raise UsageError("weights are evolved or given: leave out --evolve or --weights")
    if wanted.evolve and wanted.mean != "probabilities":
        raise UsageError("weights are evolved for the mean of probabilities: leave mean as it is")
    if not np.isfinite(wanted.power) or wanted.power < 0:
        raise UsageError(f"power must be a number of 0 or more, got {wanted.power}")


def _prior(
    folder: PathLike, ids: np.ndarray, known: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The prior [N, C] in the order of the blend, and which images it has."""
    prior = Embeddings.load(folder, verify=True)
    theirs = prior.provenance.get("classes")
    if theirs is None or sorted(theirs) != sorted(known):
        raise ArtefactError(f"{folder}: its classes are not those of the members")
    columns = [theirs.index(label) for label in known]
    rows = {name: row for row, name in enumerate(prior.ids.tolist())}
    place = np.array([rows.get(name, -1) for name in ids.tolist()])
    if (place < 0).all():
        raise ArtefactError(f"{folder}: has none of the {len(ids)} images: classify the same ones")
    return np.asarray(prior.vectors[:], np.float32)[place][:, columns], place >= 0


def _score_blend(
    tables: Mapping[str, np.ndarray],
    numbers: np.ndarray,
    ids: np.ndarray,
    found: Evolved | None,
    seed: int,
    figures: Sequence[str],
    classes: PathLike | None,
    known: Sequence[str],
) -> dict[str, list[Score]]:
    if not figures:
        return {}
    shown = numbers.copy()
    if found is not None:
        shown[halves(numbers, ids, seed)[0]] = -1
    counts = np.zeros(len(known), np.int64)
    if classes is not None:
        page = read_class_file(classes)
        sizes = dict(zip(page.labels, page.counts, strict=True))
        counts = np.array([sizes.get(label, 0) for label in known], np.int64)
    return {name: evaluate(table, shown, counts, figures) for name, table in tables.items()}


def _describe(
    used: Sequence[tuple[str, str, float]],
    found: Evolved | None,
    scored: Mapping[str, list[Score]],
    photos: int,
    out: PathLike | None,
    to: PathLike | None,
) -> str:
    page: dict[str, Any] = {
        "members": [name for name, _, _ in used],
        "weights": [weight for _, _, weight in used],
        "photos": photos,
        "evolved": None if found is None else dataclasses.asdict(found),
        # "photos", as the files of earlier versions say it
        "scored": "the held-out half" if found is not None else "all photos",
        "rows": [_row(name, scores) for name, scores in scored.items()],
    }
    if found is not None:  # equal weights need no model to be known by
        page["models"] = [model for _, model, _ in used]
    if to == "-":
        return json.dumps(page, indent=1)
    if to is not None:
        write_json(to, page)
    lines = [f"{weight:.3f}  {name}" for name, _, weight in used]
    if found is not None:
        what = (
            "evolved weights"
            if found.better
            else "equal weights, as the evolved ones are not better"
        )
        held = ", ".join(f"{name} {value:.4f}" for name, value in found.held_out.items())
        lines.insert(0, f"{what}; top-1 held out: {held}; {found.evaluations} evaluations")
    if scored:
        lines += [f"figures over {page['scored']}:", *_table(scored)]
    lines.append(f"{photos} images" + (f" -> {pathlib.Path(out)}" if out is not None else ""))
    return "\n".join(lines)


def _row(name: str, scores: Sequence[Score]) -> dict[str, Any]:
    return {
        "name": name,
        "metrics": {one.name: one.value for one in scores},
        "interval": {
            one.name: list(interval(one.per_query)) for one in scores if one.per_query is not None
        },
    }


def _table(scored: Mapping[str, Sequence[Score]]) -> list[str]:
    heads = [one.name for one in next(iter(scored.values()))]
    rows = [[name, *(f"{one.value:.4f}" for one in scores)] for name, scores in scored.items()]
    return align_columns([["", *heads], *rows]).splitlines()
