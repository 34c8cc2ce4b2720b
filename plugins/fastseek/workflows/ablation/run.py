"""What `fastseek ablate` does: train every step, compare it with the one before, print and write
the table.
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Sequence
from typing import Any

from ...classification import evaluate as evaluate_classes
from ...config import recipe
from ...distributed.run_lock import hold_run_folder
from ...errors import ArtefactError, UsageError
from ...io.code_version import current_commit
from ...io.json_files import read_json, write_json
from ...io.paths import PathLike
from ...metrics import evaluate
from ...metrics._paired import Gain, gain
from ...report import PageLayout, classified_page, page, write_results
from ...structures import Score
from ..run import roots
from .blend import blend, describe_blend
from .ensemble import CLASSIFIED, ClassProbabilities, join_members
from .jobs import Job, run_jobs
from .spec import Ablation, AblationStep, read_ablation
from .table import StepScores, figures_only, rows, text
from .train import Answer, plan_answers, record_answer, slug


def ablate_file(
    path: PathLike, out: PathLike, long: bool = False, opts: Sequence[Any] = (), jobs: int = 1
) -> str:
    """Run an ablation file; what is finished is not done again, a killed training goes on where it
    stopped.

    Writes results.json, report.html (the last step's answers), ablation.json (every seed and
    change), trainings/ and answers/ below `out`.

    Args:
        path: see `spec.read_ablation`.
        out: the folder of the ablation.
        long: the long setting.
        opts: KEY VALUE changes to every step.
        jobs: trainings side by side, each with its share of the CPU.

    Returns:
        the table as text, with the path of the page below it.

    Raises:
        UsageError: the file is wrong; found before anything is trained. FastSeekError: as a
            training or a search does.
    """
    if jobs < 1:
        raise UsageError(f"--jobs {jobs}: a whole number of 1 or more is needed")
    ablation, out = read_ablation(path, long, opts), pathlib.Path(out)
    with hold_run_folder(out):
        by_seed = [plan_answers(ablation.steps, seed, out) for seed in ablation.seeds]
        answers = list(zip(*by_seed, strict=True))
        every = [answer for of_step in answers for answer in of_step]
        run_jobs(_jobs([answer for answer in every if not answer.members]), jobs)
        for answer in every:
            if answer.members and not answer.is_finished:
                _join(answer)
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
        UsageError: a file is wrong, or two have one NAME; found before anything is trained.
    """
    if len(paths) == 1:
        return ablate_file(paths[0], out, long, opts, jobs)
    ablations, out = [read_ablation(path, long, opts) for path in paths], pathlib.Path(out)
    titles = [ablation.title for ablation in ablations]
    folders = [slug(title) for title in titles]
    if len(set(folders)) < len(folders):
        raise UsageError(f"two of these files have one NAME, so one folder: {', '.join(titles)}")
    texts, made = [], []
    for path, title, folder in zip(paths, titles, folders, strict=True):
        texts.append(f"{title}\n\n{ablate_file(path, out / folder, long, opts, jobs)}")
        found = read_json(out / folder / "results.json")["rows"]
        made += [{**row, "name": f"{title}: {row['name']}"} for row in found]
    write_results(out / "results.json", made, current_commit(), ablations[0].seeds[0])
    pages = [f"{folder}/report.html" for folder in folders]
    classified_page(
        out / "report.html",
        title=" and ".join(titles),
        steps=figures_only(made),
        facts=list(zip(titles, pages, strict=True)),
    )
    return "\n\n".join([*texts, f"all rows: {out / 'report.html'}"])


def _join(answer: Answer) -> None:
    """Answer by what earlier steps have predicted; nothing is trained."""
    start = time.monotonic()
    folders = [member.folder for member, _ in answer.members]
    if answer.blend is None:
        weights = [weight for _, weight in answer.members]
        joined = join_members(list(zip(folders, weights, strict=True)))
    else:
        cfg = recipe.load(answer.config, answer.opts)
        joined = blend(answer.blend, folders, answer.seed, cfg)
    joined.save(answer.folder / CLASSIFIED)
    record_answer(answer, time.monotonic() - start)


def _jobs(answers: Sequence[Answer]) -> list[Job]:
    """What is left to do, together what shares a training, in order."""
    jobs: dict[tuple[pathlib.Path, str], list[Answer]] = {}
    for answer in answers:
        if answer.is_finished:
            continue
        job = jobs.setdefault((answer.training, answer.plan), [])
        if answer.folder not in [other.folder for other in job]:
            job.append(answer)
    return list(jobs.values())


def _finish(ablation: Ablation, answers: Sequence[Sequence[Answer]], out: pathlib.Path) -> str:
    """Score the answers, write the files, and return what is printed."""
    pairs = list(zip(ablation.steps, answers, strict=True))
    steps = [_score_step(step, of_step) for step, of_step in pairs]
    _check_same_metrics(steps)
    made = rows(steps)
    write_results(out / "results.json", made, current_commit(), ablation.seeds[0])
    described = [
        _describe(number, steps, step, of_step) for number, (step, of_step) in enumerate(pairs)
    ]
    summary = {"title": ablation.title, "seeds": list(ablation.seeds), "steps": described}
    write_json(out / "ablation.json", summary)
    _write_page(ablation, answers[-1][0], steps[-1], figures_only(made), out / "report.html")
    return f"{text(steps)}\n\npage: {out / 'report.html'}"


def _write_page(
    ablation: Ablation,
    last: Answer,
    step: StepScores,
    made: Sequence[dict[str, Any]],
    out: pathlib.Path,
) -> None:
    """The table and the last step's answers, or without a search the table and its figures."""
    scores = step.scores[0]
    if "ranking.npz" not in last.files:
        classified_page(out, title=ablation.title, scores=scores, steps=made)
        return
    ranking, truth = last.load()
    # A figure per query is shown beside the query; those over other images than these are not.
    fitting = [
        score
        for score in scores
        if score.per_query is None or len(score.per_query) == len(ranking.query_ids)
    ]
    images = roots(ranking)
    layout = PageLayout(title=ablation.title, steps=made)
    page(ranking, truth, fitting, images=images, out=out, layout=layout)


def _score_step(step: AblationStep, answers: Sequence[Answer]) -> StepScores:
    seek = recipe.load(step.config, step.opts).SEEK
    scores = []
    for answer in answers:
        found: list[Score] = []
        if seek.METRICS:
            found += evaluate(*answer.load(), list(seek.METRICS))
        if seek.CLASS_METRICS:
            said = ClassProbabilities.load(answer.folder / CLASSIFIED)
            calls = list(seek.CLASS_METRICS)
            found += evaluate_classes(said.probabilities, said.truth, said.counts, calls)
        scores.append(tuple(found))
    seconds = sum(answer.seconds for answer in answers)
    return StepScores(step.name, step.before, tuple(scores), seconds)


def _check_same_metrics(steps: Sequence[StepScores]) -> None:
    names = [score.name for score in steps[0].mean]
    for step in steps:
        if [score.name for score in step.mean] != names:
            raise ArtefactError(
                f"step {step.name!r} is measured by other metrics than {steps[0].name!r}: leave "
                "SEEK.METRICS to METRICS of the ablation file"
            )


def _describe(
    number: int, steps: Sequence[StepScores], step: AblationStep, answers: Sequence[Answer]
) -> dict[str, Any]:
    """Everything of one step, for ablation.json; folders as they are called below the
    ablation's.
    """
    by_seed = zip(answers, steps[number].scores, strict=True)
    members = {steps[member].name: weight for member, weight in step.members}
    changes = zip(step.opts[::2], step.opts[1::2], strict=True)
    return {
        "name": step.name,
        "recipe": step.config,
        "ensemble": describe_blend(step.blend, members),
        "plan": step.plan,
        "seeds": [_describe_seed(answer, scores) for answer, scores in by_seed],
        "gain": _describe_gains(steps, number, step.before),
        "compared with": None if step.before is None else steps[step.before].name,
        "changes": {str(key): value for key, value in changes},
    }


def _describe_seed(answer: Answer, scores: Sequence[Score]) -> dict[str, Any]:
    return {
        "seed": answer.seed,
        "training": "" if answer.members else answer.training.name,
        "answer": answer.folder.name,
        "metrics": {score.name: score.value for score in scores},
    }


def _describe_gains(
    steps: Sequence[StepScores], number: int, before: int | None
) -> dict[str, dict[str, Any]]:
    if before is None:
        return {}
    pairs = zip(steps[before].mean, steps[number].mean, strict=True)
    return {after.name: _describe_gain(gain(other, after)) for other, after in pairs}


def _describe_gain(found: Gain) -> dict[str, Any]:
    return {
        "value": found.value,
        "interval": None if found.span is None else list(found.span),
        "wins": found.wins,
        "losses": found.losses,
    }
