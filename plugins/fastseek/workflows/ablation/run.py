"""What `tools/ablate.py` does: train every step, compare it with the one before, print and write
the table.
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Sequence
from typing import Any

from ...classification import evaluate as score_classes
from ...config import recipe
from ...distributed.run_lock import hold_run_folder
from ...errors import ArtefactError, UsageError
from ...io.code_version import current_commit
from ...io.json_files import read_json, write_json
from ...io.paths import PathLike
from ...metrics import evaluate as score
from ...metrics._paired import gain
from ...report import classified_page, page, write_results
from ...structures import Score
from ..run import roots
from .blend import blend, describe_blend
from .ensemble import Classified, join_members
from .jobs import work_off
from .spec import Ablation, AblationStep, read_ablation
from .table import Measured, figures_only, rows, text
from .train import Answer, answers_of, slug


def ablate_file(
    path: PathLike, out: PathLike, long: bool = False, opts: Sequence[Any] = (), jobs: int = 1
) -> str:
    """Run an ablation file; what is finished is not done again, a killed training goes on where it
    stopped.

    Writes results.json (DESIGN.md section 6), report.html (the last step's answers), ablation.json
    (every seed and change), trainings/ and answers/ below `out`.

    Args:
        path: see `ablation.read_ablation`.
        out: the folder of the ablation.
        long: the long setting.
        opts: KEY VALUE changes to every step.
        jobs: trainings side by side, each with its share of the CPU.

    Returns:
        the table as text, with the path of the page below it.

    Raises:
        UsageError: the file is wrong; said before anything is trained. FastSeekError: as a training
            or a search does.
    """
    if jobs < 1:
        raise UsageError(f"--jobs {jobs}: a whole number of 1 or more is needed")
    ablation, out = read_ablation(path, long, opts), pathlib.Path(out)
    with hold_run_folder(out):
        by_seed = [answers_of(ablation.steps, seed, out) for seed in ablation.seeds]
        answers = list(zip(*by_seed, strict=True))
        work_off(_works([one for of_step in answers for one in of_step if not one.members]), jobs)
        for one in [
            one for of_step in answers for one in of_step if one.members and not one.finished
        ]:
            _join(one)
        return _finish(ablation, answers, out)


def ablate_files(
    paths: Sequence[PathLike],
    out: PathLike,
    long: bool = False,
    opts: Sequence[Any] = (),
    jobs: int = 1,
) -> str:
    """Run several ablation files, each in a folder of its name below `out`; one alone stands in
    `out` itself.

    results.json and report.html of `out` have the rows of all, each called "NAME: step"; see
    `ablate_file`.

    Raises:
        UsageError: a file is wrong, or two have one NAME; said before anything is trained.
    """
    if len(paths) == 1:
        return ablate_file(paths[0], out, long, opts, jobs)
    found, out = [read_ablation(path, long, opts) for path in paths], pathlib.Path(out)
    folders = [slug(one.title) for one in found]
    if len(set(folders)) < len(folders):
        raise UsageError(
            "two of these files have one NAME, so one folder:"
            f" {', '.join(one.title for one in found)}"
        )
    texts = [
        f"{one.title}\n\n{ablate_file(path, out / folder, long, opts, jobs)}"
        for path, one, folder in zip(paths, found, folders, strict=True)
    ]
    made = [
        {**row, "name": f"{one.title}: {row['name']}"}
        for one, folder in zip(found, folders, strict=True)
        for row in read_json(out / folder / "results.json")["rows"]
    ]
    write_results(out / "results.json", made, current_commit(), found[0].seeds[0])
    classified_page(
        out / "report.html",
        title=" and ".join(one.title for one in found),
        steps=figures_only(made),
        facts=[
            (one.title, f"{folder}/report.html") for one, folder in zip(found, folders, strict=True)
        ],
    )
    return "\n\n".join([*texts, f"all rows: {out / 'report.html'}"])


def _join(one: Answer) -> None:
    start = time.monotonic()
    if one.blend is None:
        made = join_members([(member.folder, weight) for member, weight in one.members])
    else:
        made = blend(
            one.blend,
            [member.folder for member, _ in one.members],
            one.seed,
            recipe.load(one.config, one.opts),
        )
    made.save(one.folder / "classified.npz")
    write_json(
        one.folder / "done.json",
        {
            "step": one.step,
            "seed": one.seed,
            "training": "",
            "seconds": round(time.monotonic() - start, 3),
        },
    )


def _works(answers: Sequence[Answer]) -> list[list[Answer]]:
    """What is left to do, together what shares a training, in order."""
    made: dict[tuple[pathlib.Path, str], list[Answer]] = {}
    for one in answers:
        if not one.finished and one.folder not in [
            other.folder for other in made.get((one.training, one.plan), [])
        ]:
            made.setdefault((one.training, one.plan), []).append(one)
    return list(made.values())


def _finish(ablation: Ablation, answers: Sequence[Sequence[Answer]], out: pathlib.Path) -> str:
    steps = [
        _measure_step(step, of_step) for step, of_step in zip(ablation.steps, answers, strict=True)
    ]
    _check_alike(steps)
    made = rows(steps)
    write_results(out / "results.json", made, current_commit(), ablation.seeds[0])
    write_json(
        out / "ablation.json",
        {
            "title": ablation.title,
            "seeds": list(ablation.seeds),
            "steps": [
                _describe(number, steps, step, of_step)
                for number, (step, of_step) in enumerate(zip(ablation.steps, answers, strict=True))
            ],
        },
    )
    _page(ablation, answers[-1][0], steps[-1].scores[0], figures_only(made), out / "report.html")
    return f"{text(steps)}\n\npage: {out / 'report.html'}"


def _page(
    ablation: Ablation,
    last: Answer,
    scores: Sequence[Score],
    made: Sequence[dict[str, Any]],
    out: pathlib.Path,
) -> None:
    """The table and the last step's answers, or without a search the table and its figures."""
    if "ranking.npz" not in last.files:
        classified_page(out, title=ablation.title, scores=scores, steps=made)
        return
    ranking, truth = last.load()
    shown = [
        one
        for one in scores
        if one.per_query is None or len(one.per_query) == len(ranking.query_ids)
    ]
    page(ranking, truth, shown, images=roots(ranking), out=out, title=ablation.title, steps=made)


def _measure_step(step: AblationStep, answers: Sequence[Answer]) -> Measured:
    seek = recipe.load(step.config, step.opts).SEEK
    scores = []
    for one in answers:
        found = list(score(*one.load(), list(seek.METRICS))) if seek.METRICS else []
        if seek.FIGURES:
            said = Classified.load(one.folder / "classified.npz")
            found += score_classes(said.probabilities, said.truth, said.counts, list(seek.FIGURES))
        scores.append(tuple(found))
    return Measured(step.name, step.before, tuple(scores), sum(one.seconds for one in answers))


def _check_alike(steps: Sequence[Measured]) -> None:
    for step in steps:
        if [one.name for one in step.mean] != [one.name for one in steps[0].mean]:
            raise ArtefactError(
                f"step {step.name!r} is measured by other metrics than {steps[0].name!r}: leave "
                "SEEK.METRICS to METRICS of the ablation file"
            )


def _describe(
    number: int, steps: Sequence[Measured], step: AblationStep, answers: Sequence[Answer]
) -> dict[str, Any]:
    """Everything of one step, for ablation.json; folders as they are called below the
    ablation's.
    """
    mine, before = steps[number].mean, None if step.before is None else steps[step.before].mean
    gains = (
        {}
        if before is None
        else {one.name: _gain(gain(other, one)) for one, other in zip(mine, before, strict=True)}
    )
    seeds = [
        {
            "seed": one.seed,
            "training": "" if one.members else one.training.name,
            "answer": one.folder.name,
            "metrics": {found.name: found.value for found in scores},
        }
        for one, scores in zip(answers, steps[number].scores, strict=True)
    ]
    ensemble = describe_blend(step.blend, {steps[of].name: weight for of, weight in step.members})
    return {
        "name": step.name,
        "recipe": step.config,
        "ensemble": ensemble,
        "plan": step.plan,
        "seeds": seeds,
        "gain": gains,
        "compared with": None if step.before is None else steps[step.before].name,
        "changes": {
            str(key): value for key, value in zip(step.opts[::2], step.opts[1::2], strict=True)
        },
    }


def _gain(found: Any) -> dict[str, Any]:
    return {
        "value": found.value,
        "interval": None if found.span is None else list(found.span),
        "wins": found.wins,
        "losses": found.losses,
    }
