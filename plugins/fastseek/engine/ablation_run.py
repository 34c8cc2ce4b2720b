"""What `tools/ablate.py` does: train every step, compare it with the one before, print and write the table."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from ..errors import ArtefactError, UsageError
from ..files import PathLike, write_json
from ..metrics import evaluate as score
from ..report import page, write_results
from . import recipe
from .ablation import Ablation, Step, read_ablation
from .ablation_jobs import work_off
from .ablation_table import Measured, figures_only, gain, rows, text
from .ablation_work import Answer, answer_of
from .folder import held
from .pipeline import roots
from .setup import commit


def ablate_file(path: PathLike, out: PathLike, long: bool = False, opts: Sequence[Any] = (), jobs: int = 1) -> str:
    """Run an ablation file; what is finished is not done again, a killed training goes on where it stopped.

    Writes results.json (DESIGN.md section 6), report.html (the last step's answers), ablation.json (every seed and
    change), trainings/ and answers/ below `out`.

    Args:
        path: see `ablation.read_ablation`.
        out: the folder of the ablation.
        long: the long setting.
        opts: KEY VALUE changes to every step.
        jobs: trainings side by side, each with its share of the CPU.

    Returns:
        the table as text, with the path of the page below it.

    Raises:
        UsageError: the file is wrong; said before anything is trained. FastSeekError: as a training or a search does.
    """
    if jobs < 1:
        raise UsageError(f"--jobs {jobs}: a whole number of 1 or more is needed")
    ablation, out = read_ablation(path, long, opts), pathlib.Path(out)
    with held(out):
        answers = [[answer_of(step, seed, out) for seed in ablation.seeds] for step in ablation.steps]
        work_off(_works([one for of_step in answers for one in of_step]), jobs)
        return _finish(ablation, answers, out)


def _works(answers: Sequence[Answer]) -> list[list[Answer]]:
    """What is left to do, together what shares a training, in order."""
    made: dict[tuple[pathlib.Path, str], list[Answer]] = {}
    for one in answers:
        if not one.finished and one.folder not in [other.folder for other in made.get((one.training, one.plan), [])]:
            made.setdefault((one.training, one.plan), []).append(one)
    return list(made.values())


def _finish(ablation: Ablation, answers: Sequence[Sequence[Answer]], out: pathlib.Path) -> str:
    steps = [_measured(step, of_step) for step, of_step in zip(ablation.steps, answers, strict=True)]
    _check_alike(steps)
    made = rows(steps)
    write_results(out / "results.json", made, commit(), ablation.seeds[0])
    write_json(out / "ablation.json", {"title": ablation.title, "seeds": list(ablation.seeds), "steps": [
        _told(number, steps, step, of_step)
        for number, (step, of_step) in enumerate(zip(ablation.steps, answers, strict=True))]})
    ranking, truth, _ = answers[-1][0].load()
    page(ranking, truth, list(steps[-1].scores[0]), images=roots(ranking), out=out / "report.html",
         title=ablation.title, steps=figures_only(made))
    return f"{text(steps)}\n\npage: {out / 'report.html'}"


def _measured(step: Step, answers: Sequence[Answer]) -> Measured:
    calls = list(recipe.load(step.config, step.opts).SEEK.METRICS)
    scores, seconds = [], 0.0
    for one in answers:
        ranking, truth, took = one.load()
        scores.append(tuple(score(ranking, truth, calls)))
        seconds += took
    return Measured(step.name, step.before, tuple(scores), seconds)


def _check_alike(steps: Sequence[Measured]) -> None:
    for step in steps:
        if [one.name for one in step.mean] != [one.name for one in steps[0].mean]:
            raise ArtefactError(f"step {step.name!r} is measured by other metrics than {steps[0].name!r}: leave "
                                "SEEK.METRICS to METRICS of the ablation file")


def _told(number: int, steps: Sequence[Measured], step: Step, answers: Sequence[Answer]) -> dict[str, Any]:
    """Everything of one step, for ablation.json; folders as they are called below the ablation's."""
    mine, before = steps[number].mean, None if step.before is None else steps[step.before].mean
    gains = {} if before is None else {one.name: _gain(gain(other, one)) for one, other
                                       in zip(mine, before, strict=True)}
    seeds = [{"seed": one.seed, "training": one.training.name, "answer": one.folder.name,
              "metrics": {found.name: found.value for found in scores}}
             for one, scores in zip(answers, steps[number].scores, strict=True)]
    return {"name": step.name, "recipe": step.config, "plan": step.plan, "seeds": seeds, "gain": gains,
            "compared with": None if step.before is None else steps[step.before].name,
            "changes": {str(key): value for key, value in zip(step.opts[::2], step.opts[1::2], strict=True)}}


def _gain(found: Any) -> dict[str, Any]:
    return {"value": found.value, "interval": None if found.span is None else list(found.span), "wins": found.wins,
            "losses": found.losses}
