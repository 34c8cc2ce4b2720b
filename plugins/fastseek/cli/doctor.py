"""What is installed here, and where data is looked for.

fastseek doctor

Exits with 0 where both halves can work, and with 3 where training cannot.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import DataError
from ._arguments import make_parser

# Name of a distribution -> what it is needed for.
NEEDED = {
    "numpy": "everything",
    "scipy": "everything",
    "torch": "training and embedding",
    "torchvision": "training and embedding",
    "timm": "training and embedding",
    "fastreid": "training and embedding",
}
OPTIONAL = ("faiss-cpu", "faiss-gpu", "scikit-learn", "pymilvus", "pyarrow", "onnxruntime")


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    make_parser("doctor", __doc__).parse_args(argv)

    import platform
    import shutil

    from ..io.paths import data_roots, recipe_root
    from ..io.text_table import align_columns

    rows = [("fastseek", __version__, ""), ("python", platform.python_version(), sys.executable)]
    rows += [(name, _version(name), f"for {use}") for name, use in NEEDED.items()]
    rows += [(name, _version(name), "optional") for name in OPTIONAL]
    rows.append(("GPU", _device(), ""))
    for root in data_roots():
        rows.append(("data", "found" if root.is_dir() else "not there", str(root)))
    rows.append(("recipes", "", str(recipe_root())))
    rows.append(("disk", f"{shutil.disk_usage('.').free / 1e9:.0f} GB free", "working folder"))
    print(align_columns(rows, left=(0, 1, 2)))
    missing = [name for name in NEEDED if _version(name) == "not installed"]
    if missing:
        raise DataError(
            f"{', '.join(missing)} not installed: searching works, training does not;"
            " pip install 'fastseek[train]' && pip install --no-deps fastreid==1.4.0"
        )


def _version(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _device() -> str:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        return "not known without torch"
    import torch

    count = torch.cuda.device_count()
    return f"{count} x {torch.cuda.get_device_name(0)}" if count else "none"
