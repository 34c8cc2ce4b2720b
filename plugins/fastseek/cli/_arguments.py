"""Options that several verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

RECIPE_OPTIONS = ("--config-file", "--recipe", "--plan")


class Parser(argparse.ArgumentParser):
    """A parser whose help shows its description as it stands, and a recipe where it is written."""

    def __init__(self, *, prog: str, description: str | None = None, **more: object) -> None:
        more.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(prog=prog, description=description, **more)  # type: ignore[arg-type]

    def format_usage(self) -> str:
        """The usage; a recipe stands first, without its option."""
        return _without_option(super().format_usage())

    def format_help(self) -> str:
        """The help; its usage is that of `format_usage`."""
        usage, gap, rest = super().format_help().partition("\n\n")
        return _without_option(usage) + gap + rest


def _without_option(usage: str) -> str:
    for option in RECIPE_OPTIONS:
        usage = usage.replace(f"{option} RECIPE", "RECIPE", 1)
    return usage


def make_parser(verb: str, description: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows the description as it is written, with its examples."""
    return Parser(prog=f"fastseek {verb}", description=description)


def positive(text: str) -> int:
    """A whole number of 1 or more, out of an argument."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def find_recipe(name: str) -> str:
    """The file of a recipe or plan by its path or its name, see `io.paths.find_recipe`.

    Raises:
        UsageError: there is none; names the nearest.
    """
    from ..io.paths import find_recipe as find  # help is shown without it

    return find(name)


class _AcceptFormats(argparse.Action):
    """Let the process open the formats that are named."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        from ..io.image_formats import accept_formats  # help is shown without it

        names = [str(value) for value in values or ()]
        accept_formats(names)
        setattr(namespace, self.dest, names)


def add_formats_option(parser: argparse.ArgumentParser) -> None:
    """Let the parser take `--formats`, which counts for the process and those it starts."""
    parser.add_argument(
        "--formats",
        nargs="+",
        action=_AcceptFormats,
        metavar="FORMAT",
        help="open these too: heic (needs pillow-heif), tiff, avif; others are named and counted",
    )


def add_searched_option(parser: argparse.ArgumentParser) -> None:
    """Add --gallery to a parser of rankings."""
    parser.add_argument(
        "--gallery",
        metavar="E",
        help="the embeddings that were searched: needed where they are more than 65,536 and the file"
        " of their ids is not where it was",
    )


def add_force_option(parser: argparse.ArgumentParser) -> None:
    """Let the parser take `--force`."""
    parser.add_argument(
        "--force", action="store_true", help="replace a file that no such command has written"
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Let the parser of a verb that writes a ranking take `--labels`, `--images` and `--force`."""
    parser.add_argument(
        "--labels",
        metavar="CSV",
        help="id,label of the gallery: one column more in a table, and named on a page",
    )
    parser.add_argument(
        "--images",
        action="append",
        default=[],
        metavar="DIR",
        help="folder the ids are relative to, shown in an .html page; may be repeated",
    )
    add_force_option(parser)


def add_plugin_option(parser: argparse.ArgumentParser) -> None:
    """Let the parser take `--plugin`, which may be repeated."""
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="NAME",
        help="a module, or a .py file, whose parts can be named; may be repeated",
    )


def import_plugins(names: Sequence[str]) -> None:
    """Import outside plugins and call their `register(cfg)`, so that all their parts are known.

    Raises:
        UsageError: one cannot be imported, or fails in its `register(cfg)`.
    """
    if not names:
        return
    from ..registry import load_plugins  # other verbs start without it

    for name, module in zip(names, load_plugins(names), strict=True):
        if callable(getattr(module, "register", None)):
            _register(name, module)


def _register(name: str, module: ModuleType) -> None:
    """Call a plugin's `register(cfg)` as a recipe does; no recipe is read, so the config is lost."""
    from ..config.plugins import default_config
    from ..errors import UsageError, shorten

    try:
        module.register(default_config())
    except Exception as error:  # the plugin's own code runs here, and may fail in any way
        raise UsageError(
            f"plugin {name!r} failed in its register(cfg) ({type(error).__name__}:"
            f" {shorten(str(error))}); mend the plugin or leave it out"
        ) from error
