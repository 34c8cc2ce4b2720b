"""Where data lives, and folders that are made."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
from collections.abc import Iterable, Iterator

from ..errors import NO_FILES, NO_ROOM, ArtefactError, DataError, RunError, UsageError
from ..suggestions import near_names

logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


def data_roots() -> list[pathlib.Path]:
    """The folders searched for data, in order: FASTREID_DATASETS, FASTSEEK_DATA,
    ~/.cache/fastseek.
    """
    named = [os.environ.get(name) for name in ("FASTREID_DATASETS", "FASTSEEK_DATA")]
    return [
        *(pathlib.Path(root) for root in named if root),
        pathlib.Path.home() / ".cache/fastseek",
    ]


def locate(name: PathLike, purpose: str = "it") -> pathlib.Path:
    """Find a file or folder: as it stands, else below the first of `data_roots` that has it.

    Raises:
        DataError: found nowhere; says in one line where it was looked for and where to put it. Or
            found both in the working folder and below a root, so that the working folder would
            decide which of the two is read.
    """
    here, text = pathlib.Path(name), os.fspath(name)
    if not here.exists():
        return locate_below_roots(name, purpose)
    if here.is_absolute() or text.split(os.sep)[0] in (os.curdir, os.pardir):
        return here
    other = next((root / name for root in data_roots() if (root / name).exists()), here)
    if not here.samefile(other):
        raise DataError(
            f"{name} lies in the working folder and below {other.parent}: write"
            f" {os.path.join(os.curdir, text)} or {other}"
        )
    return here


def locate_below_roots(name: PathLike, purpose: str = "it") -> pathlib.Path:
    """Find a file or folder below the first of `data_roots` that has it, whatever the working
    folder holds.

    Raises:
        DataError: found nowhere; says in one line where it was looked for and where to put it.
    """
    if "://" in os.fspath(name):
        raise DataError(
            f"{name} (for {purpose}) is not on this machine: download it, and name the file or"
            " folder here"
        )
    for root in data_roots():
        if (root / name).exists():
            logger.info("%s: %s lies below %s", purpose, name, root.absolute())
            return root / name
    if pathlib.Path(name).is_absolute():
        raise DataError(f"{name} not found (for {purpose}): mend the name")
    looked = ", ".join(str(root) for root in data_roots())
    raise DataError(
        f"{name} not found (for {purpose}): put it below one of {looked}, or set FASTREID_DATASETS"
    )


def refuse_occupied(folder: pathlib.Path, wanted: str) -> None:
    """Refuse a folder that holds files and is not yet what is `wanted`; hidden files do not count.

    Raises:
        ArtefactError: it holds something; names the first.
    """
    held = [one.name for one in folder.iterdir() if not one.name.startswith(".")]
    if held:
        raise ArtefactError(f"{folder} holds {min(held)}, and no {wanted}: name another folder")


def make_folder(folder: PathLike) -> list[pathlib.Path]:
    """Make a folder and those above it; returns the new ones, the deepest first.

    Raises:
        UsageError: it cannot be made; nothing is left behind.
    """
    folder = pathlib.Path(folder)
    try:
        made = [one for one in (folder, *folder.parents) if not one.exists()]
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remove_folders(made)
        raise unwritable(folder, error) from error
    return made


def remove_folders(folders: Iterable[pathlib.Path]) -> None:
    """Remove the folders that are empty, the deepest first."""
    for folder in folders:
        # It never was made, or another process has written there meanwhile.
        with contextlib.suppress(OSError):
            folder.rmdir()


def unwritable(path: pathlib.Path, error: Exception) -> Exception:
    """What to raise where `path` cannot be written: a full disk, or too many open files, are no
    fault of the name.
    """
    if not isinstance(error, OSError) or error.errno in (*NO_ROOM, *NO_FILES):
        return error
    return UsageError(f"{path}: cannot be written ({error.strerror}): name another place")


@contextlib.contextmanager
def tell_full_disk(path: PathLike) -> Iterator[None]:
    """Put a file into the error of a full disk inside: a write knows no name."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def refuse_full_disk(folder: PathLike, left: str) -> Iterator[None]:
    """A full disk inside as an error of ours.

    Args:
        folder: what is written.
        left: what became of it, for the error.

    Raises:
        RunError: there is no room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise RunError(
            f"{folder}: {error.strerror}; {left}: make room and run the same command again"
        ) from error


def recipe_root() -> pathlib.Path:
    """The folder that holds configs/ and projects/: inside an installed package, or its checkout."""
    package = pathlib.Path(__file__).resolve().parents[1]
    packed = package / "_recipes"
    return packed if packed.is_dir() else package.parents[1]


def find_recipe(name: str) -> str:
    """The file of a recipe or plan: a path as it is, or a name such as "Grocery/dolg_mobilenetv2".

    A name is looked up below configs/ and projects/ of `recipe_root`, where a project's own
    folders configs/, plans/ and small/ need not be named.

    Raises:
        UsageError: there is neither such a file nor such a name; says which names are near.
    """
    path = look_up_recipe(name)
    if path is None:
        near = _suggest_recipes(name)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(
            f"{name}: there is no such recipe, neither as a file nor by name;"
            f" {hint}`fastseek recipes list` shows all"
        )
    return path


def look_up_recipe(name: str) -> str | None:
    """What `find_recipe` finds, or None."""
    # A zero byte can be in no path, and the system refuses to look.
    if "\0" in name:
        return None
    if pathlib.Path(name).exists():
        return name
    root = recipe_root()
    project, _, rest = name.partition("/")
    folders = [root, root / "configs", root / "projects"]
    places = [(folder, name) for folder in folders]
    if rest:
        inside = ("configs", "plans", "small")
        places += [(root / "projects" / project / folder, rest) for folder in inside]
    for folder, stem in places:
        for suffix in ("", ".yml", ".yaml"):
            path = folder / f"{stem}{suffix}"
            if path.is_file():
                return str(path)
    return None


def _suggest_recipes(name: str, most: int = 3) -> list[str]:
    """Names of recipes that are near to a wrong one: first those that hold a word of it."""
    root = recipe_root()
    names = sorted(
        path.relative_to(root / folder).with_suffix("").as_posix()
        for folder in ("configs", "projects")
        for path in (root / folder).rglob("*.yml")
        if not path.name.startswith("Base-")  # inherited from, never run
    )
    stem = pathlib.PurePosixPath(name).with_suffix("").as_posix().lower()
    words = set(stem.split("/"))
    names = [one for one in names if not one.rpartition("/")[2].startswith("Base-")]
    same = [one for one in names if words & set(one.lower().split("/")[-1:])]
    same += [one for one in names if words & set(one.lower().split("/")[:1]) and one not in same]
    lower = {one.lower(): one for one in names}
    near = [lower[one] for one in near_names(stem, lower, most)]
    return list(dict.fromkeys([*near, *same]))[:most]
