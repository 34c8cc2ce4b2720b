"""A recipe file with what it inherits -> one checked, frozen config."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Sequence
from typing import Any

from .. import compat  # noqa: F401  (before anything that imports fastreid)
from ..errors import UsageError
from ..io.paths import PathLike
from ..registry import import_plugin
from ..suggestions import near_names
from .nested import flatten
from .plugins import register
from .sources import Setting, chain, overrides
from .validation import check, check_whole

from fastreid.config import CfgNode, get_cfg


def load(config_file: PathLike, opts: Sequence[str] = (), more: Sequence[Setting] = ()) -> CfgNode:
    """Read a recipe: fast-reid's defaults, ours, the plugins', the `_BASE_` chain, the file, then
    the overrides.

    A recipe of fast-reid's own is read as it is. A `Base-*.yml` may leave out what its heirs add.
    Files are plain YAML: no tags, aliases or remote bases.

    Args:
        config_file: the recipe; a relative `_BASE_` in it is looked for beside the file that names
            it.
        opts: KEY VALUE pairs, as from the command line.
        more: what another file sets between the recipe and `opts`.

    Returns:
        the config, frozen.

    Raises:
        UsageError: a file that cannot be read, an unknown key, a value of the wrong type or out of
            its range, a call string nobody answers, a plugin that does not load; names the file and
            the line.
    """
    settings = [*chain(config_file), *more, *overrides(opts)]
    cfg = get_cfg()
    register(cfg)
    for plugin, where in _plugins(settings):
        _register(plugin, where, cfg)
    places: dict[str, str] = {}
    for setting in settings:
        _put_value(cfg, setting)
        places[setting.key] = setting.where
    check(cfg, places)
    if not pathlib.Path(config_file).name.startswith("Base-"):
        check_whole(cfg, places)
    cfg.freeze()
    return cfg


def origins(config_file: PathLike, opts: Sequence[str] = ()) -> dict[str, str]:
    """Which file gave every key its value; "command line" for overrides.

    Keys nobody sets are not in it.
    """
    return {setting.key: setting.file for setting in [*chain(config_file), *overrides(opts)]}


def _plugins(settings: Sequence[Setting]) -> list[tuple[str, str]]:
    chosen = [setting for setting in settings if setting.key == "PLUGINS"]
    if not chosen:
        return []
    last = chosen[-1]
    names = _decode_value(last.value, [])
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise UsageError(
            f'{last.where}: PLUGINS must be a list of packages, such as ["fastseek"], '
            f"got {last.value!r}"
        )
    return [(name, last.where) for name in names if name != "fastseek"]


def _register(plugin: str, where: str, cfg: CfgNode) -> None:
    try:
        module = import_plugin(plugin)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    if not callable(getattr(module, "register", None)):
        raise UsageError(f"{where}: plugin {plugin!r} has no register(cfg)")
    try:
        module.register(cfg)
    except Exception as error:  # the plugin's own code runs here, and may fail in any way
        raise UsageError(
            f"{where}: plugin {plugin!r} failed in its register(cfg) ({_cause(error)}); mend the"
            " plugin or leave it out of PLUGINS"
        ) from error


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _put_value(cfg: CfgNode, setting: Setting) -> None:
    *path, last = setting.key.split(".")
    node = cfg
    for name in path:
        node = node[name] if isinstance(node, CfgNode) and name in node else None
    if not isinstance(node, CfgNode) or last not in node:
        raise UsageError(
            f"{setting.where}: there is no key {setting.key}{_nearest(setting.key, cfg)}"
        )
    if isinstance(setting.value, str) and "\0" in setting.value:
        raise UsageError(f"{setting.where}: {setting.key} holds a zero byte: {setting.value!r}")
    node[last] = _fit_value(node[last], setting)


def _nearest(key: str, cfg: CfgNode) -> str:
    known = sorted(flatten(cfg))
    key = key.upper()  # as all keys are
    if key in known:
        return f"; did you mean {key}?"
    same_end = [name for name in known if name.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
    near = near_names(key, same_end, 3, 0) or near_names(key, known)
    return (
        f"; did you mean {' or '.join(near)}?" if near else "; `recipes.py explain` lists all keys"
    )


def _decode_value(value: Any, default: Any) -> Any:
    """A string as the Python literal it spells, unless a string is wanted: fast-reid writes tuples
    so.
    """
    if not isinstance(value, str) or isinstance(default, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def _fit_value(default: Any, setting: Setting) -> Any:
    """The value in the type of the default: a whole number may stand for a float, list and tuple
    for each other.
    """
    value = _decode_value(setting.value, default)
    wrong = UsageError(
        f"{setting.where}: {setting.key} must be {_kind(default)}, got {setting.value!r}"
    )
    if isinstance(default, CfgNode):
        if value == {}:
            return default
        raise wrong
    if default is None or type(value) is type(default) and not isinstance(default, list | tuple):
        return value
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if (
        isinstance(default, list | tuple)
        and isinstance(value, list | tuple)
        and _alike(default, value)
    ):
        return type(default)(value)
    raise wrong


def _alike(default: Sequence[Any], value: Sequence[Any]) -> bool:
    if not default:
        return True
    kind = int | float if isinstance(default[0], int | float) else type(default[0])
    return all(isinstance(one, kind) and not isinstance(one, bool) for one in value)


def _kind(default: Any) -> str:
    if isinstance(default, CfgNode):
        return f"a group of keys ({', '.join(list(default)[:4])} …)"
    if isinstance(default, list | tuple):
        inner = _kind(default[0]).split()[1] + "s, " if default else ""
        return (
            f"a list ({inner}such as {list(default)!r}; one string alone needs its comma:"
            ' ("name",))'
        )
    return {bool: "True or False", int: "a whole number", float: "a number", str: "a string"}.get(
        type(default), type(default).__name__
    )
