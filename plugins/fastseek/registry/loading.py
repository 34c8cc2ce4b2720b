"""Parts and plugins are imported when they are asked for."""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

from ..errors import UsageError, shorten, shorten_value


def load_plugins(names: Sequence[str]) -> list[ModuleType]:
    """Import plugins, so that the parts they register can be named in call strings.

    This runs the plugins' code. Neither torch nor fast-reid is needed; a plugin's `register(cfg)`
    is not called, as that is a recipe's affair (`config.plugins`).

    Args:
        names: dotted modules, such as "orchard.parts", or paths that end in ".py".

    Returns:
        the modules.

    Raises:
        UsageError: one cannot be imported; says which and why.
    """
    return [import_plugin(name) for name in names]


def import_plugin(name: str) -> ModuleType:
    """Import one plugin, a dotted module or a path that ends in ".py", once in a process.

    Raises:
        UsageError: it cannot be imported; says why.
    """
    try:
        return _import_file(name) if name.endswith(".py") else importlib.import_module(name)
    except Exception as error:  # the plugin's own code runs here, and may fail in any way
        raise UsageError(
            f"plugin {shorten_value(name)} cannot be imported ({type(error).__name__}:"
            f" {shorten(str(error))}); install it or mend its name"
        ) from error


def _import_file(name: str) -> ModuleType:
    path = pathlib.Path(name).resolve()
    known = f"fastseek_plugin_{path.as_posix().encode().hex()}"  # of one path, one module
    if known in sys.modules:
        return sys.modules[known]
    if not path.is_file():
        raise FileNotFoundError("no such file")
    spec = importlib.util.spec_from_file_location(known, path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = sys.modules[known] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[known]
        raise
    return module


def part_files(package: str) -> list[str]:
    """The names of the modules of a package that are parts: those without an underscore."""
    path = importlib.import_module(package).__path__
    return [module.name for module in pkgutil.iter_modules(path) if module.name[0] != "_"]


def import_parts(package: str) -> None:
    """Import every part of a package, so that it registers itself."""
    for name in part_files(package):
        importlib.import_module(f"{package}.{name}")
