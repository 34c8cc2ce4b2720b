"""What lists of millions of images cost before anything is embedded: CPU seconds, and bytes a row.

    python benchmarks/inputs.py --out benchmarks/results/inputs.json

Every list is made up: ids of 23 letters, 10,000 classes. A row is read in a process of its own.
`held_bytes_a_row` is what the process holds afterwards above what it held before (free memory given
back to the system), so that it counts whatever was forgotten in `table_bytes_a_row`, the columns
alone; both with the letters of the ids. `--plugins` names the package of another checkout, which is
measured beside this one.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import time
from typing import Any

import numpy as np
from measure import write

CLASSES = 10_000
LETTERS = 23  # of an id: 00/0000000000000000.jpg


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--csv", type=int, nargs="*", default=[500_000, 1_000_000, 10_000_000])
    parser.add_argument("--parquet", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--tar", type=int, nargs="*", default=[100_000])
    parser.add_argument("--plugins", default="", help="plugins/ of another checkout")
    parser.add_argument("--before", type=int, nargs="*", default=[500_000], help="its CSV rows")
    parser.add_argument("--out", help="a JSON file")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(*args.one)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as home:
        folder = pathlib.Path(home)
        os.environ["HOME"] = home  # where indexes are kept
        for kind, counts in (("csv", args.csv), ("parquet", args.parquet), ("tar", args.tar)):
            for count in counts:
                file = MAKERS[kind](folder / f"{count}.{kind}", count)
                rows.append({"source": kind, "rows": count, **run(kind, file)})
                if kind == "tar":
                    kept = {"source": "tar, its index kept", "rows": count, **run(kind, file)}
                    rows.append(kept)
                if kind == "csv" and args.plugins and count in args.before:
                    before = run(kind, file, args.plugins)
                    rows.append({"source": "csv, before", "rows": count, **before})
                os.unlink(file)
                print(json.dumps(rows[-1]), flush=True)
    write(args.out, "lists of images: CPU seconds and bytes a row", ("numpy", "pyarrow"), rows)


def run(kind: str, file: pathlib.Path, plugins: str = "") -> dict[str, Any]:
    """What a process of its own measures."""
    environment = dict(os.environ)
    if plugins:
        environment["PYTHONPATH"] = plugins
    command = [sys.executable, __file__, "--one", kind, str(file)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(kind: str, file: str) -> dict[str, float]:
    """Read a list and look at the process."""
    from fastseek.data.datasets.manifest import Manifest

    if kind == "tar":
        from fastseek.data.datasets.webdataset import list_tars
    before, start = held(), time.process_time()
    items = list_tars(file)[0] if kind == "tar" else Manifest(file).items
    spent, after, count = time.process_time() - start, held(), len(items)
    peak = most_held()
    start = time.process_time()
    asked = items[:100_000]
    letters = sum(len(item.path) for item in asked)
    assert letters
    found = {
        "cpu_seconds": round(spent, 2),
        "cpu_seconds_a_million": round(spent / count * 1e6, 2),
        "held_bytes_a_row": round((after - before) / count, 1),
        "peak_bytes_a_row": round((peak - before) / count, 1),
        "letters_of_an_id": LETTERS,
        "microseconds_an_item": round((time.process_time() - start) / len(asked) * 1e6, 2),
    }
    if hasattr(items, "nbytes"):
        found["table_bytes_a_row"] = round(items.nbytes / count, 1)
    return found


def held() -> int:
    """Bytes of memory of this process, without what was given back."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def most_held() -> int:
    """The most bytes of memory this process had."""
    lines = pathlib.Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def make_csv(file: pathlib.Path, count: int) -> pathlib.Path:
    """Rows path,label,split as a user's list has them."""
    random = np.random.default_rng(0)
    with open(file, "w", encoding="utf-8") as out:
        out.write("path,label,split\n")
        for start in range(0, count, 100_000):
            numbers = range(start, min(start + 100_000, count))
            labels = random.integers(0, CLASSES, len(numbers)).tolist()
            out.writelines(
                f"{name(number)},class {label},\n"
                for number, label in zip(numbers, labels, strict=True)
            )
    return file


def make_parquet(file: pathlib.Path, count: int) -> pathlib.Path:
    """The same as Parquet."""
    import pyarrow
    from pyarrow import parquet

    labels = np.random.default_rng(0).integers(0, CLASSES, count).tolist()
    columns = {
        "path": list(map(name, range(count))),
        "label": [f"class {label}" for label in labels],
    }
    parquet.write_table(pyarrow.table(columns), file)
    return file


def make_tar(file: pathlib.Path, count: int) -> pathlib.Path:
    """Members of a kilobyte, called as images are."""
    with tarfile.open(file, "w") as archive:
        for number in range(count):
            entry = tarfile.TarInfo(name(number))
            entry.size = 1024
            archive.addfile(entry, io.BytesIO(bytes(1024)))
            archive.members.clear()
    return file


def name(number: int) -> str:
    return f"{number % 256:02x}/{number:016x}.jpg"


MAKERS = {"csv": make_csv, "parquet": make_parquet, "tar": make_tar}

if __name__ == "__main__":
    main()
