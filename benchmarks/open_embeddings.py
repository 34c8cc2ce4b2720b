"""Embeddings of many shards and many images: opened, sliced, searched.

    python benchmarks/open_embeddings.py --out benchmarks/results/open_embeddings.json

"shards" are 50,000 of one row each, in the format of today and in that of before, read by a process
that may open 256 files. "images" are ten million with vectors of 8 numbers and ids of 29 letters. Each
row is measured in a process of its own; "peak" is the most memory it held, of which "imports" were there
before anything was opened.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from measure import write

from fastseek.io.digests import sha256
from fastseek.io.json_files import write_json
from fastseek.structures import Embeddings, save_ids, save_manifest, save_shard, shard_name
from fastseek.structures.id_column import IdColumn

DIM, FILES, BLOCK = 8, 256, 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=int, default=50_000)
    parser.add_argument("--images", type=int, default=10_000_000)
    parser.add_argument("--folder", help="where the embeddings are written, and removed again")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    parser.add_argument("--out", help="a JSON file")
    args = parser.parse_args()
    if args.read:
        print(json.dumps(read(pathlib.Path(args.read))))
        return
    rows = []
    os.fsync = lambda handle: None  # to write is not what is measured
    with tempfile.TemporaryDirectory(dir=args.folder) as home:
        for name, make, count in (
            ("shards", write_shards, args.shards),
            ("shards of the format before", write_old_shards, args.shards),
            ("images", write_images, args.images),
        ):
            folder = pathlib.Path(home) / "e"
            folder.mkdir()
            make(folder, count)
            files = list(folder.iterdir())
            used = sum(file.stat().st_size for file in files)
            row = {"what": name, "rows": count, "files": len(files)}
            row |= {"bytes a row": round(used / count, 1), "open files allowed": FILES}
            for run in ("first", "second"):
                row[run] = read_elsewhere(folder)
            rows.append(row)
            print(row, flush=True)
            shutil.rmtree(folder)
    write(args.out, f"embeddings of {DIM} numbers an image", ("numpy",), rows)


def write_shards(folder: pathlib.Path, count: int) -> None:
    """A shard a row, by hand: a file that is renamed into place looks through its folder first."""
    vectors, shards = vectors_of(0, count), []
    for row in range(count):
        file = folder / f"{shard_name(row)}.vectors.npy"
        np.save(file, vectors[row : row + 1])
        entry = {"rows": 1, "dim": DIM, "dtype": "float32", "bytes": file.stat().st_size}
        shards.append({**entry, "vectors": file.name, "vectors_sha256": sha256(file)})
    save_manifest(folder, shards, save_ids(folder, IdColumn.from_strings(ids_of(0, count))), {})


def write_old_shards(folder: pathlib.Path, count: int) -> None:
    """As version 0.1 did, with a file of ids beside every shard."""
    ids, vectors, shards = ids_of(0, count), vectors_of(0, count), []
    for row in range(count):
        entry: dict[str, Any] = {"rows": 1}
        for name, array in (("ids", ids), ("vectors", vectors)):
            file = folder / f"{row:05d}.{name}.npy"
            np.save(file, array[row : row + 1])
            entry |= {name: file.name, f"{name}_sha256": sha256(file)}
        shards.append(entry)
    write_json(folder / "manifest.json", {"format": 1, "shards": shards, "passport": {}})


def write_images(folder: pathlib.Path, count: int) -> None:
    """Shards of a million rows."""
    shards, columns = [], []
    for number, start in enumerate(range(0, count, BLOCK)):
        stop = min(start + BLOCK, count)
        shards.append(save_shard(folder, shard_name(number), vectors_of(start, stop)))
        columns.append(IdColumn.from_strings(ids_of(start, stop)))
    save_manifest(folder, shards, save_ids(folder, IdColumn.concatenate(columns)), {})


def ids_of(start: int, stop: int) -> np.ndarray:
    """Names of 29 letters, as those of Google Landmarks v2."""
    return np.array([f"train/{row % 997:03d}/{row:015d}.jpg" for row in range(start, stop)])


def vectors_of(start: int, stop: int) -> np.ndarray:
    return np.random.default_rng(start).normal(size=(stop - start, DIM)).astype(np.float32)


def read_elsewhere(folder: pathlib.Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--read", str(folder)]
    time.sleep(2.5)  # what has just been written is not remembered
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


def read(folder: pathlib.Path) -> dict[str, float]:
    """CPU seconds and memory of what a command does with a folder."""
    from fastseek.search.exact import Exact

    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    found = {"imports MB": peak()}

    def tell(name: str, start: float) -> None:
        found[f"{name} s"] = round(time.process_time() - start, 4)
        found[f"{name} MB"] = peak()

    start = time.process_time()
    gallery = Embeddings.load(folder)
    tell("open", start)
    start = time.process_time()
    middle = len(gallery) // 2
    assert gallery.vectors[middle : middle + 1000].shape == (1000, DIM)
    assert gallery.id_column[middle]
    tell("first slice of 1000", start)
    start = time.process_time()
    for at in range(100):
        gallery.vectors[middle + at : middle + at + 1]
    found["slice of 1, ms"] = round((time.process_time() - start) * 10, 4)
    start = time.process_time()
    for _, block in gallery.blocks():
        block.sum()
    tell("read all", start)
    if len(gallery) <= 100_000:
        start = time.process_time()
        queries = Embeddings(["q"], gallery.vectors[:1])
        assert Exact(k=10)(queries, gallery).indices[0, 0] == 0
        tell("search", start)
    return found


def peak() -> float:
    """The most memory this process has held; `ru_maxrss` would be that of the one it came from."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    return round(int(kilobytes) / 1024, 1)


if __name__ == "__main__":
    main()
