"""What a training run has reached: OUTPUT_DIR/results.json, and whether it is what the recipe
expects.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ..config.nested import flatten
from ..config.solver_values import Expectation, parse_expectation
from ..errors import RunError
from ..io.code_version import current_commit
from ..io.json_files import write_json
from ..io.paths import PathLike


def flat(results: Mapping[str, Any]) -> dict[str, float]:
    """Figures by name; those of several test sets as "<test set>/<name>"."""
    figures = flatten(results, "/").items()
    return {name: float(value) for name, value in figures if not isinstance(value, Mapping)}


def write(folder: PathLike, recipe: str, seed: int, results: Mapping[str, Any]) -> None:
    """Write results.json: {"metrics": {name: percent}, "recipe", "seed", "commit"}.

    The figures have their own names; "metric", which only chooses the best checkpoint, is left out.

    Args:
        folder: of the run.
        recipe: the file it was started with.
        seed: of the run.
        results: figures by name, perhaps by test set and name.
    """
    path = pathlib.Path(folder) / "results.json"
    figures = {
        name: value for name, value in flat(results).items() if name.split("/")[-1] != "metric"
    }
    write_json(
        path, {"metrics": figures, "recipe": recipe, "seed": seed, "commit": current_commit()}
    )


def expectations(lines: Sequence[str]) -> list[Expectation]:
    """What every line of SEEK.EXPECT wants.

    Raises:
        UsageError: a line of another form.
    """
    return [parse_expectation(line) for line in lines]


def check(lines: Sequence[str], results: Mapping[str, Any]) -> None:
    """Compare a finished run with what its recipe expects, in percent.

    Raises:
        RunError: a figure is missing or outside; tells both figures.
    """
    figures = flat(results)
    wrong = []
    for name, value, margin in expectations(lines):
        got = figures.get(name)
        if got is None:
            wrong.append(f"{name} was not measured (there are {', '.join(figures) or 'none'})")
        elif not abs(got - value) <= margin:
            wrong.append(f"{name} is {got:.2f}, expected {value:g} +- {margin:g}")
    if wrong:
        raise RunError(f"SEEK.EXPECT is not met: {'; '.join(wrong)}")
