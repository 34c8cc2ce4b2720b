"""What fast-reid 1.4.0 (PyPI) and upstream's main need to import on today's Python and torch;
nothing else.

Import this module before fastreid, at the top of every entry point: loader workers and spawned
ranks import again. Only names that Python and torch have removed are given back; nothing fast-reid does is changed.
"""

from __future__ import annotations

import collections
import collections.abc
import importlib.util
import sys
import types

from .errors import UsageError

INSTALL = "pip install --no-deps fastreid==1.4.0"


def _give_back_mapping() -> None:
    """`collections.Mapping` left Python in 3.10; fastreid/data/build.py:19 and
    evaluation/testing.py:5 want it.
    """
    if not hasattr(collections, "Mapping"):
        collections.Mapping = collections.abc.Mapping  # type: ignore[attr-defined]


def _give_back_six() -> None:
    """`torch._six` left torch in 2.0; the wheel's fastreid/data/build.py:11 wants three names of
    it.
    """
    if importlib.util.find_spec("torch._six") is None and "torch._six" not in sys.modules:
        six = types.ModuleType("torch._six")
        six.container_abcs = collections.abc  # type: ignore[attr-defined]
        six.string_classes = (str, bytes)  # type: ignore[attr-defined]
        six.int_classes = int  # type: ignore[attr-defined]
        sys.modules["torch._six"] = six


def require(module: str, command: str) -> None:
    """Check that a module can be imported.

    Raises:
        UsageError: it cannot; says in one line which command installs it.
    """
    if importlib.util.find_spec(module) is None:
        raise UsageError(f"training needs {module}, which is not installed: {command}")


for _module in (
    "torch",
    "torchvision",
    "timm",
    "yacs",
    "tabulate",
    "termcolor",
    "tensorboard",
    "sklearn",
):
    require(_module, "pip install 'fastseek[train]' && " + INSTALL)
require("fastreid", INSTALL)
require("faiss", "pip install faiss-cpu (or faiss-gpu; fast-reid's evaluation imports it)")
_give_back_mapping()
_give_back_six()
