"""What to do when memory runs out, by what was asked for."""

from __future__ import annotations

from ..errors import RunError, shorten

TRAINING = "lower SOLVER.IMS_PER_BATCH, or the sizes in SEEK.TRAIN"
EMBEDDING = "lower TEST.IMS_PER_BATCH, or the sizes in SEEK.TEST"
SEARCH = "lower k, or take a search that holds less: quantized(), sharded() or a faiss index"
FILES = "work on fewer rows at once, or on a machine with more memory"
REMEDIES = {
    **dict.fromkeys(("demo", "run", "train", "contest", "ablate", "self-train"), TRAINING),
    **dict.fromkeys(("embed", "classify", "classify-report", "subjects", "export"), EMBEDDING),
    **dict.fromkeys(("search", "rerank", "recognize"), SEARCH),
}


def memory_error(verb: str, error: BaseException) -> RunError:
    """The error that ends a command which ran out of memory: one line, with what to lower."""
    cause = shorten(" ".join(str(error).split()) or type(error).__name__)
    return RunError(
        f"out of memory ({cause}): {REMEDIES.get(verb, FILES)}; what was saved before is intact"
    )
