"""All that was measured of the seeking half in one Markdown table, beside what was aimed at.

    python benchmarks/table.py --out benchmarks/results/targets.json

It reads the results of the other benchmarks and runs nothing. Seconds are CPU seconds of one
thread, peers side by side in one run. "Grows" is the exponent of N from the row above of the same
work. An aim that was missed stands as missed.
"""

from __future__ import annotations

import argparse
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from fastseek.io.json_files import read_json, write_json

RESULTS = pathlib.Path(__file__).parent / "results"
COLUMNS = ("work", "ours s", "peer", "peer s", "times faster", "ours MB", "peer MB", "grows", "aim")
Row = dict[str, Any]


def rows_of(name: str) -> list[Mapping[str, Any]]:
    """The rows of a results file; none when it was never made."""
    path = RESULTS / f"{name}.json"
    return read_json(path)["rows"] if path.exists() else []


def aim(what: str, value: float | None, limit: float, most: bool = False) -> str:
    """An aim in words, with whether it was reached."""
    sign = "at most" if most else "at least"
    if value is None:
        return f"{what} {sign} {limit:g}: not measured"
    reached = value <= limit if most else value >= limit
    return f"{what} {sign} {limit:g}: {'reached' if reached else 'missed'} ({value:g})"


def joined(*aims: str | None) -> str:
    return "; ".join(one for one in aims if one)


def k_reciprocal() -> Iterator[Row]:
    """Ours beside fast-reid's CPU code, in the order of the sizes; megabytes of whole matrices
    without torch's own.
    """
    least = {(10_000, 20): 15, (10_000, 50): 20}
    before: dict[tuple[int, Any], tuple[int, float]] = {}
    rows = [row for size in ("", "_large", "_million") for row in rows_of(f"k_reciprocal{size}")]
    for row in sorted(rows, key=lambda row: (row["k1"], row["images"])):
        images, k1, ours, theirs = row["images"], row["k1"], row["ours"]["cpu"], row["fastreid"]
        last = before.get((k1, row["answers"]))
        before[k1, row["answers"]] = images, ours
        limit = least.get((images, k1))
        lists = "" if row["answers"] == "all" else f", lists of {row['answers']}"
        yield {
            "work": f"k-reciprocal {k1}/{row['k2']}, {images:,} images{lists}",
            "ours s": ours,
            "peer": (
                "fast-reid's CPU code"
                if theirs
                else f"fast-reid's needs {4e-9 * images**2:,.0f} GB a matrix"
            ),
            "peer s": theirs and theirs["cpu"],
            "times faster": row.get("fastreid_by_ours"),
            "ours MB": row["peak_megabytes"]["ours"],
            "peer MB": row["peak_megabytes"].get("fastreid"),
            "grows": last and round(math.log(ours / last[1]) / math.log(images / last[0]), 2),
            "aim": joined(
                limit and aim("times faster", row["fastreid_by_ours"], limit),
                aim("by its own kNN", row.get("ours_by_exact_search"), 1.5, most=True),
            ),
        }


def ranking_evaluation() -> Iterator[Row]:
    """Rank-k, mAP and mINP."""
    for row in rows_of("ranking_evaluation"):
        made = {
            "work": (
                f"Rank-k, mAP, mINP from {row['what']}, {row['queries']:,} x {row['gallery']:,}"
            ),
            "ours s": row["ours"]["cpu"],
            "ours MB": row["peak_megabytes"],
        }
        for peer, name, limit in (
            ("fastreid", "fast-reid's Python", 500),
            ("cython", "fast-reid's Cython", 20),
        ):
            if peer in row:
                times = row[f"{peer}_by_ours"]
                yield {
                    **made,
                    "peer": name,
                    "peer s": row[peer]["cpu"],
                    "times faster": times,
                    "aim": aim("times faster", times, limit),
                }
        if "matrix_product" in row:
            yield {
                **made,
                "peer": "their matrix product alone",
                "peer s": row["matrix_product"]["cpu"],
            }
        if "argpartition_of_a_row" in row:
            yield {
                **made,
                "peer": "numpy: argpartition of all rows",
                "peer s": row["argpartition_of_a_row"]["cpu"] * row["queries"],
            }


def contest_files() -> Iterator[Row]:
    """Google Landmarks figures, once the files are read."""
    for row in rows_of("contest_files"):
        yield {
            "work": (
                f"Google Landmarks {row['task']}, {row['queries']:,} queries, {row['all_figures']}"
                " figures"
            ),
            "ours s": row["ours"]["cpu"],
            "peer": "plain loops, one figure",
            "peer s": row["loops_first_figure"]["cpu"],
            "ours MB": row["peak_megabytes"],
            "aim": aim("seconds", row["ours"]["cpu"], 2, most=True),
        }


def exact_search() -> Iterator[Row]:
    """Ours in every precision beside faiss."""
    rows = [*rows_of("exact_search"), *rows_of("exact_search_million")]
    peers = {row["gallery"]: row for row in rows if row["engine"] == "faiss IndexFlatIP"}
    for row in rows:
        peer = peers[row["gallery"]]
        if row is peer:
            continue
        equal = "float32" in row["engine"]
        sure = row["recall"] == 1 and "rescore" not in row["engine"]
        yield {
            "work": f"{row['engine']}, {row['queries']:,} in {row['gallery']:,}",
            "ours s": row["search CPU s"],
            "peer": peer["engine"],
            "peer s": peer["search CPU s"],
            "times faster": round(peer["search CPU s"] / row["search CPU s"], 2),
            "ours MB": row["memory MB"],
            "peer MB": peer["memory MB"],
            "aim": joined(
                aim("by faiss", row["by faiss"], 1.2 if equal else 1, most=True),
                None if equal or sure else f"recall {row['recall']:g}",
            ),
        }


def markdown(rows: list[Row]) -> str:
    lines = [
        COLUMNS,
        ["---"] * len(COLUMNS),
        *([cell(row.get(name)) for name in COLUMNS] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return (
        str(value)
        if isinstance(value, str)
        else f"{value:,.0f}"
        if abs(value) >= 100
        else f"{value:.3g}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", help="JSON file")
    args = parser.parse_args()
    rows = [*k_reciprocal(), *ranking_evaluation(), *contest_files(), *exact_search()]
    print(markdown(rows))
    if args.out:
        write_json(args.out, {"what": "the seeking half beside what was aimed at", "rows": rows})


if __name__ == "__main__":
    main()
