"""Print the tables of Markdown files anew from the results files they name.

python tools/readme.py README.md
"""

import argparse
import pathlib

from fastseek.errors import exit_with


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "files", nargs="+", type=pathlib.Path, help="files with <!-- results: … --> blocks"
    )
    args = parser.parse_args()

    from fastseek.io.atomic import atomic
    from fastseek.report.readme import fill

    for path in args.files:
        text = fill(path.read_text(encoding="utf-8"), pathlib.Path.cwd())
        with atomic(path, "w") as file:
            file.write(text)


if __name__ == "__main__":
    exit_with(main)
