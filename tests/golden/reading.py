"""What stands in the files of a user, in a form that can be compared to the last bit."""

import hashlib
import json
import math
import pathlib
import platform

import numpy as np
from safetensors.numpy import load_file

from fastseek import structures
from fastseek.structures import Embeddings, Ranking

# Called Truth by the code that made the files.
GroundTruth = getattr(structures, "GroundTruth", None) or structures.Truth

LISTS = ("relevant_starts", "relevant", "junk_starts", "junk")
OF_TRUTH = ("query_ids", "gallery_ids", *LISTS, "query_labels", "gallery_labels")


def digest(array):
    """What an array is, told in a line."""
    array = np.ascontiguousarray(array)
    summed = hashlib.sha256(array.tobytes()).hexdigest()
    return f"{array.dtype.str} {list(array.shape)} {summed}"


def provenance_of(found):
    """What made embeddings or a ranking; called passport by the code that made the files."""
    return dict(found.provenance if hasattr(found, "provenance") else found.passport)


def embeddings_of(path):
    found = Embeddings.load(path)
    return {
        "ids": found.ids.tolist(),
        "vectors": digest(found.vectors[:]),
        "passport": provenance_of(found),
    }


def ranking_of(path):
    found = Ranking.load(path)
    return {
        "query_ids": digest(found.query_ids),
        "gallery_ids": digest(found.gallery_ids),
        "first five": found.indices[:, :5].tolist(),
        "indices": digest(found.indices),
        "scores": digest(found.scores),
        "passport": provenance_of(found),
    }


def truth_of(path):
    found = GroundTruth.load(path)
    told = {name: digest(getattr(found, name)) for name in OF_TRUTH}
    return told | {"protocol": dict(found.protocol)}


OPEN = {"embeddings": embeddings_of, "rankings": ranking_of, "truths": truth_of}


def opened(home):
    """What stands in every artefact of a user's folder."""
    folders = [path.parent for path in home.rglob("manifest.json") if "wrong" not in path.parts]
    paths = {
        "embeddings": [*folders, *(home / "vectors").glob("*2.*")],
        "rankings": [*home.glob("rankings/*.npz"), *home.rglob("ranking.npz")],
        "truths": [*home.rglob("truth.npz")],
    }
    return {
        kind: {path.relative_to(home).as_posix(): OPEN[kind](path) for path in sorted(of_kind)}
        for kind, of_kind in paths.items()
    }


def weights_of(path):
    """A digest over the names and values of all weights in a file."""
    summed = hashlib.sha256()
    for name, array in sorted(load_file(path).items()):
        summed.update(f"{name} {digest(array)}\n".encode())
    return summed.hexdigest()


def losses(file):
    """The loss of every step of a training."""
    lines = [json.loads(line) for line in pathlib.Path(file).read_text().splitlines()]
    return [line["total_loss"] for line in lines if "total_loss" in line]


def rows(file):
    """The figures of every row of a results.json, or of the one training it is of."""
    found = json.loads(pathlib.Path(file).read_text())
    if "rows" not in found:
        return found["metrics"]
    return {
        row["name"]: {key: row[key] for key in ("metrics", "interval")} for row in found["rows"]
    }


def quick_figures(folder):
    """Losses and figures of one quick recipe's folder."""
    train = folder / "train" if (folder / "train").exists() else folder
    return {"losses": losses(train / "metrics.jsonl"), "figures": rows(folder / "results.json")}


def versions():
    """What the last digit of a training depends on beside our code."""
    import PIL
    import scipy
    import timm
    import torch
    import torchvision

    libraries = (np, scipy, PIL, torch, torchvision, timm)
    return {"machine": platform.machine()} | {one.__name__: one.__version__ for one in libraries}


def flat(value, name=""):
    """Nested dicts and lists as one dict of name -> number."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    made = {}
    for key, one in inner:
        here = f"{name}/{key}"
        made |= flat(one, here) if isinstance(one, dict | list) else {here: one}
    return made


def close(found, wanted, share=0.05):
    """Whether two lists of numbers are as long, and none differs by more than a share."""
    pairs = zip(found, wanted, strict=False)
    return len(found) == len(wanted) and all(math.isclose(*pair, rel_tol=share) for pair in pairs)
