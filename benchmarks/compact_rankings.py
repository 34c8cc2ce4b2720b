"""A ranking of one query over millions of ids: bytes on disk and CPU seconds, and the id column it refers to.

    python benchmarks/compact_rankings.py --out benchmarks/results/compact_rankings.json

"ranking" builds the ten best of one query over a mapped file of ids, saves it and loads it again. "column"
is the file: written once, opened, checked to hold no id twice, and asked for the rows of 1,000 ids. Commit
41b35ae, before rankings were compact: 221 MB and 1.8 CPU seconds for one query over 2 million ids.
"""

from __future__ import annotations

import argparse
import pathlib
import resource
import tempfile
from typing import Any

import numpy as np
from measure import seconds, write

from fastseek.structures import Ranking
from fastseek.structures.id_column import IdColumn

K, ASKED = 10, 1_000
BEFORE = {"ids": 2_000_000, "bytes": 221_000_000, "CPU seconds": 1.8, "commit": "41b35ae"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**5, 10**6, 10**7])
    parser.add_argument("--out", help="a JSON file")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = [{"before": BEFORE}]
    for size in args.sizes:
        rows.append(measure(size))
        print(rows[-1], flush=True)
    write(args.out, f"the {K} best of one query", ("numpy",), rows)


def measure(size: int) -> dict[str, Any]:
    """All figures over so many ids of 26 letters."""
    with tempfile.TemporaryDirectory() as home:
        path = pathlib.Path(home) / "ids.safetensors"
        made = IdColumn.from_strings(
            f"{row % 16:x}/{row % 251:03d}/{row:016d}.jpg" for row in range(size)
        )
        row: dict[str, Any] = {"ids": size}
        row["column: check"] = seconds(lambda: made.check_unique("ids"), runs=1)
        row["column: write"] = seconds(lambda: made.save(path), runs=1)
        row["column: bytes an id"] = round(path.stat().st_size / size, 2)
        made = IdColumn.load(path)  # and no more what it was made of
        row["column: open"] = seconds(lambda: IdColumn.load(path), runs=5)
        ids = IdColumn.load(path)
        names = ids[np.random.default_rng(0).integers(0, size, ASKED)]
        ranked = pathlib.Path(home) / "ranking.npz"
        rows = np.random.default_rng(1).choice(size, (1, K), replace=False)
        scores = np.linspace(1, 0, K, dtype=np.float32)[None]

        def rank() -> None:
            Ranking(["query"], ids, rows, scores).save(ranked)
            assert len(list(Ranking.load(ranked).rows())) == K

        row["ranking"] = seconds(rank, runs=5)
        row["ranking: bytes"] = ranked.stat().st_size
        row["column: find, first"] = seconds(lambda: ids.find(names), runs=1)
        row["column: find, later"] = seconds(lambda: ids.find(names), runs=5)
    row["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return row


if __name__ == "__main__":
    main()
