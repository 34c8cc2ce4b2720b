"""Google Landmarks files at the size of the contests: reading, GAP, mAP@100, against plain loops
over the lists.

python benchmarks/contest_files.py --out benchmarks/results/contest_files.json
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
from typing import Any

import numpy as np
from measure import peak_megabytes, seconds, write

from fastseek.cli import _score_contests as score_contests
from fastseek.formats import gldv2

INDEX, ANSWERS, RIGHT, LANDMARKS = 761_757, 100, 30, 5000


def make(folder: pathlib.Path, queries: int) -> None:
    """Write a solution in which every query is scored, and a submission that answers all, for both
    tasks.
    """
    random = np.random.default_rng(0)
    index = np.asarray([f"{n:016x}" for n in random.permutation(INDEX)], object)
    files = {
        name: open(folder / f"{name}.csv", "w", encoding="utf-8")
        for name in ("recognition", "recognition_solution", "retrieval", "retrieval_solution")
    }
    for name, file in files.items():
        column = "landmarks" if name.startswith("recognition") else "images"
        file.write(f"id,{column}{',Usage' if name.endswith('solution') else ''}\n")
    for query in range(queries):
        right = random.integers(0, INDEX, RIGHT)
        said = np.where(
            random.random(ANSWERS) < 0.2,
            random.choice(right, ANSWERS),
            random.integers(0, INDEX, ANSWERS),
        )
        landmark = random.integers(0, LANDMARKS)
        shown = landmark if query % 3 == 0 else ""
        files["retrieval_solution"].write(f"{query:016x},{' '.join(index[right])},Public\n")
        files["retrieval"].write(f"{query:016x},{' '.join(index[said])}\n")
        files["recognition_solution"].write(f"{query:016x},{shown},Public\n")
        files["recognition"].write(
            f"{query:016x},{landmark if query % 2 else 1} {random.random():.6f}\n"
        )
    for file in files.values():
        file.close()


def loops_recognition(answers: gldv2.Recognition, solution: gldv2.Solution) -> float:
    """GAP as its definition reads."""
    right = dict(zip(solution.ids.tolist(), solution.right, strict=True))
    rows = sorted(
        zip(
            (-answers.scores).tolist(),
            answers.ids.tolist(),
            answers.landmarks.tolist(),
            strict=True,
        )
    )
    found, total = 0, 0.0
    for rank, (_, query, landmark) in enumerate(rows, 1):
        if landmark in right[query]:
            found += 1
            total += found / rank
    return total / sum(map(bool, solution.right))


def loops_retrieval(answers: gldv2.Lists, solution: gldv2.Solution) -> float:
    """mAP@100 as its definition reads."""
    right = dict(zip(solution.ids.tolist(), solution.right, strict=True))
    total = 0.0
    for query, names in answers:
        wanted, seen, found, area = right[query], set(), 0, 0.0
        for place, name in enumerate(names[:ANSWERS], 1):
            if name not in seen and name in wanted:
                found += 1
                area += found / place
            seen.add(name)
        total += area / min(len(wanted), ANSWERS)
    return total / len(solution.ids)


def measure(folder: pathlib.Path, task: str, runs: int) -> dict[str, Any]:
    """One row: a task."""
    read, read_solution = getattr(gldv2, f"read_{task}"), getattr(gldv2, f"read_{task}_solution")
    loops = loops_recognition if task == "recognition" else loops_retrieval
    score = getattr(score_contests, task)
    solution = read_solution(folder / f"{task}_solution.csv")
    answers = read(folder / f"{task}.csv", solution)
    value = score(answers, solution)[0]
    return {
        "task": task,
        "queries": len(solution.ids),
        "figure": value.name,
        "value": value.value,
        "difference": abs(value.value - loops(answers, solution)),
        "all_figures": len(score(answers, solution)),
        "ours": seconds(lambda: score(answers, solution), runs),
        "loops_first_figure": seconds(lambda: loops(answers, solution), 1),
        "reading_both_files": seconds(
            lambda: read(folder / f"{task}.csv", read_solution(folder / f"{task}_solution.csv")), 1
        ),
        "peak_megabytes": peak_megabytes(lambda: score(answers, solution)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--queries", type=int, default=117_577, help="test images (default: %(default)s)"
    )
    parser.add_argument(
        "--runs", type=int, default=3, help="runs of ours, of which the median counts"
    )
    parser.add_argument("--out", help="JSON file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(pathlib.Path(folder), args.queries)
        rows = [
            measure(pathlib.Path(folder), task, args.runs) for task in ("recognition", "retrieval")
        ]
    for row in rows:
        print(
            f"{row['task']}, {row['queries']} queries: {row['all_figures']} figures in"
            f" {row['ours']['cpu']:.2f} s CPU after {row['reading_both_files']['cpu']:.2f} s of"
            f" reading; {row['figure']} alone by plain loops"
            f" {row['loops_first_figure']['cpu']:.2f}; difference {row['difference']:.1e}"
        )
    write(args.out, "Google Landmarks figures from files", ("numpy",), rows)


if __name__ == "__main__":
    main()
