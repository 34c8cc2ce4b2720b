"""A checked download of Grocery, for users who have a network and no copy."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import logging
import pathlib
import shutil
import ssl
import tempfile
import urllib.error
import urllib.request
import zipfile
from typing import IO

from ...errors import DataError, shorten
from ...io import csv_rows
from ...io.paths import data_roots, locate_below_roots, make_folder

COMMIT = "fc80ba90f803d79d0383df52c5a4ac5de99ff6fc"
ARCHIVE = f"https://github.com/marcusklasson/GroceryStoreDataset/archive/{COMMIT}.zip"
# SHA-256 over the names and bytes of classes.csv and of every image in grocery.csv, in sorted
# order.
DIGEST = "2595a798ee7c5f33fdca4a78f2a0da6c09fac91479fbeb79739f3edc91211bbc"
LISTS = ("train", "val", "test")
SECONDS = 8.0  # without an answer the host is out of reach
# A host that is not found, does not answer, is not who it says, or breaks off.
NO_NETWORK = (
    urllib.error.URLError,
    TimeoutError,
    ConnectionError,
    ssl.SSLError,
    http.client.HTTPException,
)
logger = logging.getLogger("fastreid.fastseek")


class OutOfReach(DataError):
    """The images are not on this machine and cannot be downloaded.

    Args:
        message: what is missing, and what to do.
        reason: why they cannot be downloaded, in a few words.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def grocery(archive: str = ARCHIVE, digest: str = DIGEST) -> pathlib.Path:
    """The folder grocery/dataset: as it stands below a data root, else downloaded into the last of
    them and checked.

    Args:
        archive: the address of the zip file.
        digest: what `fingerprint` must give for its images.

    Raises:
        OutOfReach: there is no copy and no network.
        DataError: what came is not what it should be.
        UsageError: the last data root cannot be written.
    """
    try:
        return locate_below_roots(pathlib.Path("grocery") / "dataset", "the Grocery images")
    except DataError as missing:
        try:
            return _download(archive, digest, data_roots()[-1] / "grocery") / "dataset"
        except NO_NETWORK as error:
            reason = shorten(str(getattr(error, "reason", error)))
            raise OutOfReach(f"{missing} (downloading them failed: {reason})", reason) from error


def known_images() -> list[str]:
    """Names of the images this project uses, relative to grocery/dataset, sorted."""
    table = pathlib.Path(__file__).with_name("grocery.csv")
    return sorted(
        f"{folder}/{folder.rsplit('/', 1)[1]}_{number:03d}.jpg"
        for _, (folder, first, last) in csv_rows.read(table, ("folder", "first", "last"))
        for number in range(int(first), int(last) + 1)
    )


def fingerprint(dataset: pathlib.Path) -> str:
    """One SHA-256 over classes.csv and all known images below a grocery/dataset folder."""
    digest = hashlib.sha256()
    for name in ("classes.csv", *known_images()):
        digest.update(name.encode() + b"\0" + (dataset / name).read_bytes())
    return digest.hexdigest()


def _download(archive: str, digest: str, home: pathlib.Path) -> pathlib.Path:
    logger.info("downloading the Grocery images (MIT, about 120 MB) from %s", archive)
    make_folder(home.parent)
    with tempfile.TemporaryDirectory(dir=home.parent) as folder, tempfile.TemporaryFile() as file:
        with contextlib.closing(urllib.request.urlopen(archive, timeout=SECONDS)) as answer:
            shutil.copyfileobj(answer, file)
        whole = pathlib.Path(folder) / "grocery"
        _unpack(file, whole / "dataset", archive)
        if fingerprint(whole / "dataset") != digest:
            raise DataError(
                f"{archive}: the images are not the published ones (SHA-256 differs); nothing was"
                " kept"
            )
        whole.rename(home)
    return home


def _unpack(file: IO[bytes], dataset: pathlib.Path, archive: str) -> None:
    """Write only the files this project knows by name, so that no name in the archive decides a
    path.
    """
    wanted = set(known_images())
    try:
        with zipfile.ZipFile(file) as content:
            top = content.namelist()[0].split("/")[0]
            for name in ("classes.csv", *sorted(wanted)):
                target = dataset / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read(f"{top}/dataset/{name}"))
            for part in LISTS:
                lines = content.read(f"{top}/dataset/{part}.txt").decode().splitlines(keepends=True)
                (dataset / f"{part}.txt").write_text(
                    "".join(x for x in lines if x.split(",")[0] in wanted)
                )
    except (zipfile.BadZipFile, KeyError, IndexError) as error:
        raise DataError(
            f"{archive}: not the expected archive ({error}); nothing was kept"
        ) from error
