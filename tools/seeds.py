"""Join the results of runs that differ in their seed: means, and the spread between the runs.

python tools/seeds.py outputs/semi0/results.json outputs/semi1/results.json --out semi.results.json
"""

import argparse
import pathlib

from fastseek.errors import exit_with


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=pathlib.Path, help="results.json of every run")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="the file to write")
    args = parser.parse_args()

    from fastseek.errors import UsageError
    from fastseek.io.json_files import read_json
    from fastseek.report import write_results
    from fastseek.report.several_runs import join_runs

    runs = [read_json(file) for file in args.files]
    commits = {run["commit"] for run in runs}
    if len(commits) > 1:
        raise UsageError(f"the runs are of several commits: {', '.join(sorted(commits))}")
    rows, missing = join_runs([run["rows"] for run in runs])
    write_results(args.out, rows, runs[0]["commit"], runs[0]["seed"])
    if missing:
        print("left out, not in every run: " + ", ".join(missing))


if __name__ == "__main__":
    exit_with(main)
