"""VeRi-776: name_train.txt, name_query.txt, name_test.txt, and the XML labels."""

from __future__ import annotations

import pathlib
import re
import xml.etree.ElementTree as ElementTree

from ..errors import DataError, refuse_exhausted
from ..io.paths import PathLike
from .listed import read_words

CODE = "gb18030"  # the authors' files are in gb2312, of which this is a superset
_ENTITY = re.compile(r"<!(DOCTYPE|ENTITY)", re.IGNORECASE)


def read_names(path: PathLike) -> list[str]:
    """The images of name_train.txt, name_query.txt or name_test.txt.

    Raises:
        DataError: the file is another, or an image stands twice; names file and line.
    """
    found: dict[str, int] = {}
    for line, (name,) in read_words(path, ("image",)):
        if found.setdefault(name, line) != line:
            raise DataError(f"{path}:{line}: {name} stands in line {found[name]} already")
    return list(found)


def read_labels(path: PathLike) -> dict[str, tuple[str, str]]:
    """Vehicle and camera of every image of train_label.xml or test_label.xml, leading zeros and the
    camera's letter no part of them.

    Raises:
        DataError: the file is another; names it.
    """
    root = _parse(path)
    found = {}
    for number, item in enumerate(root.iter("Item"), 1):
        told = [item.get(key, "") for key in ("imageName", "vehicleID", "cameraID")]
        name, vehicle, camera = told[0], told[1], told[2].lstrip("c")
        if not (name and vehicle.isdigit() and camera.isdigit()):
            raise DataError(
                f"{path}: Item {number}: expected imageName, vehicleID and cameraID, found {told}"
            )
        found[name] = (str(int(vehicle)), str(int(camera)))
    if not found:
        raise DataError(f"{path}: holds no Item, so it is no list of labels of VeRi-776")
    return found


def _parse(path: PathLike) -> ElementTree.Element:
    try:
        text = pathlib.Path(path).read_bytes().decode(CODE)
        if _ENTITY.search(text):  # what could swell in memory has no place in a list
            raise DataError(f"{path}: declares entities, which a list of labels has none of")
        return ElementTree.fromstring(text)
    except OSError as error:
        refuse_exhausted(error, path)
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise DataError(f"{path}: not an XML file ({error})") from error
