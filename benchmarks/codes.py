"""Codes of Grocery's embeddings: bytes an image against mAP, by `fastseek codes`.

fastseek embed --model default --images "grocery()" --out outputs/grocery
python benchmarks/codes.py --embeddings outputs/grocery --out benchmarks/results/codes.json
"""

from __future__ import annotations

import argparse
import json
import pathlib
import tempfile

import measure
import numpy as np

from fastseek import cli
from fastseek.data.datasets.grocery import Grocery
from fastseek.io import csv_rows
from fastseek.structures import Embeddings

SIDES = {"query": "queries", "gallery": "gallery"}


def write_sides(folder: str, home: pathlib.Path) -> None:
    """The vectors of both sides as .npy files, and the truth beside them."""
    found, items = Embeddings.load(folder), {item.id: item for item in Grocery().items}
    names = found.ids.tolist()
    lines = []
    for split, file in SIDES.items():
        rows = [row for row, name in enumerate(names) if items[name].split == split]
        np.save(home / f"{file}.npy", np.asarray(found.vectors[rows], np.float32))
        lines += [(place, items[names[row]].label, split) for place, row in enumerate(rows)]
    csv_rows.write(home / "truth.csv", ("id", "label", "split"), lines)


def main() -> None:
    """Write the sides, compare the codes, save the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embeddings", required=True, help="of grocery(), by fastseek embed")
    parser.add_argument("--dims", nargs="+", default=["256", "64"])
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        write_sides(args.embeddings, home)
        table = home / "codes.json"
        sides = ["--queries", str(home / "queries.npy"), "--gallery", str(home / "gallery.npy")]
        words = [*sides, "--truth", str(home / "truth.csv"), "--dims", *args.dims]
        cli.call_verb("codes", [*words, "--out", str(table)])
        rows = json.loads(table.read_text())["rows"]
    for row in rows:
        row["value"] = round(100 * row["value"], 1)
        row["interval"] = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
    model = Embeddings.load(args.embeddings).provenance.get("model", "")
    what = f"codes of Grocery's embeddings, test images asked of training images; {model}"
    measure.write(args.out, what, ("numpy", "faiss-cpu"), rows)


if __name__ == "__main__":
    main()
