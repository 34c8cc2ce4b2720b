"""The command line: one file a verb. Only here are arguments read and results printed.

A verb's module is imported when the verb is called, so that help comes at once and the retrieval
half needs neither torch nor fast-reid.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import UsageError, exit_with, is_out_of_memory
from ..suggestions import did_you_mean

# In the order in which they are used; the text is what `fastseek --help` says of each.
VERBS = {
    "try": "a folder of images to a page of each with its nearest; nothing is trained",
    "demo": "train on images of groceries or drawn objects, search, re-rank, and write a page",
    "run": "images to an answer: train a recipe, search, re-rank, score, write the page",
    "train": "train or evaluate a recipe, or the recipes of a plan one after the other",
    "plan": "what a number of images takes: hours, bytes, memory, which engine, what breaks",
    "embed": "images to embeddings",
    "adapt": "labeled embeddings to an adapter, judged on classes it has not seen",
    "search": "embeddings to a ranking",
    "codes": "shorter codes of embeddings: bytes an image against the score",
    "index": "a gallery that lives: add, replace, delete and search images",
    "rerank": "a ranking to a better ranking",
    "fuse": "many rankings of the same queries to one",
    "score": "rankings and submissions to scores",
    "bench": "a benchmark and a model to the figures of its protocol",
    "diff": "two rankings, query by query",
    "report": "a ranking to one HTML page",
    "submit": "a ranking to a submission, checked",
    "recognize": "embeddings to a recognition submission",
    "subjects": "search for each of several things in an image",
    "classify": "images to class probabilities",
    "classify-report": "what a classifier confuses, and where it looks",
    "blend": "class probabilities of several models to one",
    "contest": "members trained, fused, submitted and scored",
    "ablate": "what every change to a recipe is worth",
    "self-train": "learn from images without labels, in rounds",
    "export": "a trained model for other programs",
    "audit": "noise, duplicates, leaks, duplicate classes, disagreement, unverified labels, sizes",
    "recipes": "what recipes there are, what they mean, whether they work",
    "parts": "what parts there are, and what each is called with",
    "models": "pretrained models by name: which there are, which are here",
    "doctor": "what is installed, and where data is looked for",
}
# Verbs whose recipe may stand first, without its option.
RECIPE_OPTION = {
    **dict.fromkeys(
        ("run", "train", "embed", "classify", "classify-report", "export", "subjects"),
        "--config-file",
    ),
    "contest": "--recipe",
    "self-train": "--plan",
}
# Verbs whose name is a word of Python's: their file has another.
FILES = {"try": "try_folder"}
# Verbs that run a model: the C library keeps memory for it, and its threads do not spin.
MODEL_VERBS = {
    *("try", "demo", "run", "train", "contest", "ablate", "self-train"),
    *("plan", "embed", "bench", "index", "classify", "classify-report", "subjects"),
}
EXAMPLES = """examples:
  fastseek try /my/images
  fastseek demo
  fastseek run Own/dolg --data /my/images --out outputs/mine
  fastseek search --queries q.npy --gallery g.npy --out ranking.npz
  fastseek recipes list

exit codes: 0 done, 2 wrong use or recipe, 3 bad input data, 4 run failed but what was saved is
intact, 5 artefacts do not fit, 75 stopped by a signal: run the same command again to go on"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run `fastseek <verb> …`.

    Args:
        argv: what stands behind the command's name; of this process when not given.

    Raises:
        SystemExit: always, with the exit code.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    exit_with(lambda: _main(given))


def _main(given: list[str]) -> None:
    if not given or given[0] in ("-h", "--help"):
        sys.stdout.write(usage() + "\n")
        return
    if given[0] in ("-V", "--version"):
        sys.stdout.write(f"fastseek {__version__}\n")
        return
    verb, *rest = given
    if verb not in VERBS:
        hint = did_you_mean(verb, VERBS, quoted=True) or "; see fastseek --help"
        raise UsageError(f"no verb is called {verb!r}{hint}")
    call_verb(verb, rest)


def usage() -> str:
    """What `fastseek --help` prints."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {text}" for verb, text in VERBS.items()]
    head = "usage: fastseek <verb> [options]\n\nInstance-level image retrieval.\n\nverbs:"
    more = "Each has its own help: fastseek <verb> --help"
    return "\n".join([head, *lines, "", more, "", EXAMPLES])


def call_verb(verb: str, given: Sequence[str]) -> None:
    """Do the work of a verb.

    Raises:
        FastSeekError: it cannot be done.
    """
    zero = next((word for word in given if "\0" in word), None)
    if zero is not None:
        raise UsageError(f"an argument holds a zero byte: {zero!r}")
    option = RECIPE_OPTION.get(verb)
    if option and given and not given[0].startswith("-"):
        given = [option, *given]
    if verb in MODEL_VERBS and not {"-h", "--help"} & set(given):
        from ._allocator import keep_memory  # both before torch is loaded
        from ._threads import share_processors

        keep_memory()
        share_processors()
    try:
        file = FILES.get(verb, verb.replace("-", "_"))
        importlib.import_module(f".{file}", __name__).main(list(given))
    except ModuleNotFoundError as error:
        from ._needs import missing_error  # most commands never need it

        raise missing_error(verb, error) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            from ._needs import refuse_mixed_builds

            refuse_mixed_builds(error)
            raise
        from ._memory import memory_error  # every command starts here, and this one never needs it

        raise memory_error(verb, error) from error


def run_verb(verb: str) -> None:
    """Do the work of a verb with this process's arguments, as the doors in tools/ do.

    Raises:
        SystemExit: always, with the exit code.
    """
    exit_with(lambda: call_verb(verb, sys.argv[1:]))
