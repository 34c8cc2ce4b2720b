"""One recipe from images to an answer: embed, train, embed again, search, re-rank, score, page."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from ..config import recipe
from ..config.edits import replace_values
from ..config.solver_values import phase_epochs
from ..data.builders import fit_batch_size
from ..data.fastreid_datasets import resolve
from ..data.own_images import spell_data_set
from ..distributed.process_group import inner
from ..distributed.run_lock import wait_for_run_folder
from ..errors import ArtefactError, RunError, UsageError
from ..inference import embedding
from ..io.code_version import current_commit
from ..io.paths import PathLike
from ..io.stage_record import StageRecord
from ..io.text_table import table
from ..metrics import evaluate as score
from ..modeling.plain_pooling import PlainPooling
from ..modeling.seeker import Seeker
from ..registry import parse
from ..report import ImageSources, PageLayout, page, row, write_results
from ..retrieval import build_parts, rank_with, retrieve
from ..structures import Embeddings, GroundTruth, Item, Ranking, Score, with_split
from ..structures.embedding_job import count_missing
from ..structures.embeddings_writer import store_part
from ..structures.job_part import ALL, JobPart
from ..structures.splits import refuse_missing_queries, split_sides
from ..training.resume_check import check_can_go_on
from ..training.run_setup import setup
from ..training.trainer import Trainer

logger = logging.getLogger("fastreid.fastseek")
Rows = list[dict[str, Any]]
AGAIN = "run the same command again to go on"
Pair = tuple[Embeddings, Embeddings]


def run_file(
    config_file: PathLike,
    out: PathLike,
    data: str | None = None,
    opts: Sequence[str] = (),
    part: JobPart = ALL,
) -> str:
    """`run` for a recipe file, on its own data sets or on the user's images.

    Args:
        config_file: the recipe.
        out: the folder of the run; training goes into its folder `train`.
        data: a folder of class folders, a known benchmark, or a CSV or Parquet table. Without
            split folders or a column of splits a fifth of every class is held out as queries; an
            unreadable one is then left out, named and counted. Where the images make no batch of
            the recipe's size, it is made smaller.
        opts: KEY VALUE changes to the recipe.
        part: of the images, that this process embeds.
    """
    cfg = recipe.load(config_file, [*opts, "OUTPUT_DIR", str(pathlib.Path(out) / "train")])
    if not cfg.SEEK.METRICS or not cfg.DATASETS.TESTS:
        raise UsageError(
            f"{config_file}: SEEK.METRICS or DATASETS.TESTS is empty, so there is nothing to show; "
            "train it with tools/train_net.py, or name some"
        )
    if data is not None:
        cfg = _replace_data(cfg, data)
    held_out = data is not None and "query=" in cfg.DATASETS.TESTS[0]
    with _take_turn(cfg, part):
        try:
            check_can_go_on(cfg)
        except ArtefactError as error:
            told = f"{out} holds an earlier run, name another --out: {error}"
            raise ArtefactError(told) from error
        if part.count > 1 and cfg.SEED < 0:
            raise UsageError(f"SEED {cfg.SEED}: every part would draw its own: name one")
        cfg = setup(cfg, resume=True)
    return run(cfg, out, strict=not held_out, part=part)


def _take_turn(cfg: Any, part: JobPart) -> contextlib.AbstractContextManager[None]:
    """Hold the folder of the training where several processes share the work; a process alone
    holds it while it trains.
    """
    return wait_for_run_folder(cfg.OUTPUT_DIR) if part.count > 1 else contextlib.nullcontext()


def _replace_data(cfg: Any, data: str) -> Any:
    """The recipe on the user's images."""
    names = (spell_data_set(data),)
    made = replace_values(cfg, {"DATASETS.NAMES": names, "DATASETS.TESTS": names})
    trained = with_split(resolve(made.DATASETS.NAMES[0]), "train")
    size = fit_batch_size(made, trained)
    if size < cfg.SOLVER.IMS_PER_BATCH:
        logger.warning(
            "%d training images make no batch of %d: SOLVER.IMS_PER_BATCH is %d",
            len(trained),
            cfg.SOLVER.IMS_PER_BATCH,
            size,
        )
        made = replace_values(made, {"SOLVER.IMS_PER_BATCH": size})
    made = _shorten_warm_up(made, len(trained))
    if len({item.label for item in trained}) == 1:
        logger.warning(
            "%s has images of one class only: nothing can be learned from them; make a folder a"
            " class",
            data,
        )
    return made


def _shorten_warm_up(cfg: Any, images: int) -> Any:
    """The recipe with a warm-up of half the training at most: few images make few steps."""
    steps = phase_epochs(cfg) * (images // cfg.SOLVER.IMS_PER_BATCH)
    most = max(1, steps // 2)
    if cfg.SEEK.SCHEDULE or cfg.SOLVER.WARMUP_ITERS <= most:
        return cfg
    logger.info(
        "%d images make %d steps: SOLVER.WARMUP_ITERS %d is %d",
        images,
        steps,
        cfg.SOLVER.WARMUP_ITERS,
        most,
    )
    return replace_values(cfg, {"SOLVER.WARMUP_ITERS": most})


def run(cfg: Any, out: PathLike, strict: bool = True, part: JobPart = ALL) -> str:
    """Train a recipe and show what it does before training, after it, and after every re-ranking
    step.

    The page shows the network's answers before the training until it shows the trained model's.
    A killed run goes on where it stopped when it is started again; with other settings or images,
    what they change is made anew. Writes results.json, report.html, ranking.npz, truth.npz,
    embeddings/ and the training's files.

    Args:
        cfg: a recipe with SEEK.METRICS whose first test set has queries and a gallery; OUTPUT_DIR
            is where it trains.
        out: the folder of the run.
        strict: a query that cannot be read ends the run; else it is left out, named and counted.
        part: of the images, that this process embeds. One process trains while the others wait;
            whichever part ends last writes the results.

    Returns:
        the table of figures as text, with the path of the page below it; or how many shards of
        other parts are missing.

    Raises:
        DataError: images or weights are missing, or a query cannot be read.
    """
    out = pathlib.Path(out)
    name = cfg.DATASETS.TESTS[0]
    items = resolve(name, combine_all=cfg.DATASETS.COMBINEALL)
    sides = Sides(*split_sides(items, name), strict, part)
    with _take_turn(cfg, part):
        trainer = Trainer(without_last_evaluation(cfg), advice=AGAIN)
    before = _before(cfg, trainer, sides, out)
    start = time.monotonic()
    with _take_turn(cfg, part):
        trainer.resume_or_load(resume=True)
        trainer.train()
    folder = out / "embeddings" / "after"
    embedded = embed_part_of_sides(cfg, trainer.model, sides, folder)
    if embedded is None:
        return _describe_missing(folder, part)
    with _take_turn(cfg, part):
        if before is None and (stage := _before_record(cfg, sides, out).load()) is not None:
            before = stage.results["row"]
        if before is None:
            raise RunError(f"{out}: the figures before the training went missing: {AGAIN}")
        rows, ranking, truth, scores = _after(cfg, *embedded, out, start)
        rows = [_order_metrics(before, rows[0]), *rows]
        write_results(out / "results.json", rows, current_commit(), cfg.SEED)
        path = _write_page(out, _title(cfg), Answer(ranking, truth, scores), rows, sides)
    return f"{table(rows)}\n\npage: {path}"


def _describe_missing(folder: pathlib.Path, part: JobPart) -> str:
    counts = [count_missing(folder / side) for side in ("query", "gallery")]
    missing, shards = (sum(count[place] for count in counts) for place in (0, 1))
    return (
        f"part {part} is done; {missing} of {shards} shards below {folder} are missing yet:"
        " whichever part ends last writes figures and page"
    )


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was found, what should have been, and the figures."""

    ranking: Ranking
    truth: GroundTruth
    scores: Sequence[Score]


@dataclasses.dataclass(frozen=True)
class Sides:
    """What is asked and what is searched, and the part of it that this process embeds."""

    queries: Sequence[Item]
    gallery: Sequence[Item]
    strict: bool
    part: JobPart = ALL


def without_last_evaluation(cfg: Any) -> Any:
    """Training need not end with an evaluation: the same figures are made from the embeddings on
    disk.
    """
    tests = cfg.DATASETS.TESTS if cfg.TEST.EVAL_PERIOD > 0 else ()
    return replace_values(cfg, {"DATASETS.TESTS": tests})


def _before_record(cfg: Any, sides: Sides, out: pathlib.Path) -> StageRecord:
    """The record of what the untrained model answers."""
    inputs = {
        "metrics": list(cfg.SEEK.METRICS),
        "search": [*cfg.SEEK.ENHANCE, cfg.SEEK.SEARCH],
        "seed": cfg.SEED,
        "weights": cfg.MODEL.WEIGHTS,
        "photos": embedding.source_of([*sides.queries, *sides.gallery]),
    }
    return StageRecord(out, inputs, "before.json")


def _before(cfg: Any, trainer: Trainer, sides: Sides, out: pathlib.Path) -> dict[str, Any] | None:
    """The row of the untrained model, with a page of its answers; kept in a file, because a resumed
    run no longer has that model. None while other parts are missing.

    Without MODEL.WEIGHTS the branches begin at random: then it is plain pooling of the network.
    """
    record = _before_record(cfg, sides, out)
    stage = record.load()
    if stage is not None:
        kept: dict[str, Any] = stage.results["row"]
        return kept
    start = time.monotonic()
    trainer.load_initial()
    model = inner(trainer.model)
    if isinstance(model, Seeker) and not cfg.MODEL.WEIGHTS:
        model = PlainPooling(model)
    embedded = embed_part_of_sides(cfg, model, sides, out / "embeddings" / "before")
    if embedded is None:
        return None
    pair, truth = embedded
    ranking = retrieve(*pair, cfg.SEEK.SEARCH, cfg.SEEK.ENHANCE)[0]
    figures = score(ranking, truth, list(cfg.SEEK.METRICS))
    made = row("before training", figures, time.monotonic() - start)
    title = f"{_title(cfg)}, before training"
    path = _write_page(out, title, Answer(ranking, truth, figures), [made], sides)
    logger.info("answers of the network before training: %s (the trained one's replace them)", path)
    record.finish([], {"row": made})
    return made


def _order_metrics(one: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its metrics in the order of another's: a JSON file has them by the alphabet."""
    order = [*other["metrics"], *one["metrics"]]
    return one | {
        "metrics": {name: one["metrics"][name] for name in order if name in one["metrics"]}
    }


def _after(
    cfg: Any, pair: Pair, truth: GroundTruth, out: pathlib.Path, start: float
) -> tuple[Rows, Ranking, GroundTruth, list[Score]]:
    """A row after training and one a re-ranking step; what is shown on the page is the last."""
    truth.save(out / "truth.npz")
    names = ["training", *(f"re-ranking ({parse(call)[0]})" for call in cfg.SEEK.RERANK)]
    rows: Rows = []
    parts = build_parts(cfg.SEEK.SEARCH, cfg.SEEK.ENHANCE, cfg.SEEK.RERANK)
    for name, ranking in zip(names, rank_with(parts, *pair), strict=True):
        scores = score(ranking, truth, list(cfg.SEEK.METRICS))
        rows.append(row(f"after {name}", scores, time.monotonic() - start))
        start = time.monotonic()
    ranking.save(out / "ranking.npz", force=True)
    return rows, ranking, truth, scores


def embed_sides(
    cfg: Any, model: nn.Module, sides: Sides, folder: pathlib.Path
) -> tuple[Pair, GroundTruth]:
    """Query and gallery embeddings, and the truth over those images that could be read.

    Raises:
        DataError, ArtefactError: as embedding. RunError: shards went missing.
    """
    found = embed_part_of_sides(cfg, model, sides, folder)
    if found is None:
        raise RunError(f"{folder}: shards went missing: {AGAIN}")
    return found


def embed_part_of_sides(
    cfg: Any, model: nn.Module, sides: Sides, folder: pathlib.Path
) -> tuple[Pair, GroundTruth] | None:
    """As `embed_sides`, of the part of `sides`; None while shards of other parts are missing."""
    stored, kept = [], []
    for name, items in (("query", sides.queries), ("gallery", sides.gallery)):
        title = f"embedding {name}{sides.part.suffix}"
        work = embedding.job_of(cfg, model, items, root(items), title)
        found = store_part(*work, folder / name, sides.part, replace=True)
        if found is None:
            continue
        stored.append(found)
        known = set(found.ids)
        lost = [item.path for item in items if item.id not in known]
        if lost and name == "query" and sides.strict:
            rows = [number for number, item in enumerate(items) if item.id in known]
            told = f"see {folder / name / 'rejects.csv'}"
            refuse_missing_queries(items, np.array(rows, np.int64), unknown=told)
        if lost:
            logger.warning(
                "%d of %d %s images cannot be read and are left out, first %s: see %s",
                len(lost),
                len(items),
                name,
                lost[0],
                folder / name / "rejects.csv",
            )
        kept.append([item for item in items if item.id in known])
    return ((stored[0], stored[1]), GroundTruth.from_items(*kept)) if len(stored) == 2 else None


def _write_page(
    out: pathlib.Path, title: str, answer: Answer, rows: Rows, sides: Sides
) -> pathlib.Path:
    files = ({one.id: one.path for one in side} for side in (sides.queries, sides.gallery))
    path = out / "report.html"
    page(
        answer.ranking,
        answer.truth,
        answer.scores,
        images=ImageSources(*files),
        out=path,
        layout=PageLayout(title=title, steps=rows),
    )
    return path


def root(items: Sequence[Item]) -> str:
    """The folder the ids are relative to, "" when ids are no paths below one folder."""
    path, name = items[0].path, items[0].id
    return path[: -len(name)].rstrip("/") if path.endswith(name) and path != name else ""


def roots(ranking: Ranking) -> list[str]:
    """The folders the ids of a ranking are relative to, of those that are known."""
    return [
        side["root"]
        for side in (ranking.provenance["queries"], ranking.provenance["gallery"])
        if side.get("root")
    ]


def _title(cfg: Any) -> str:
    return (
        f"{cfg.DATASETS.TESTS[0]}:"
        f" {cfg.SEEK.BRANCHES[0].split('(')[0] if cfg.SEEK.BRANCHES else 'embedding'}"
    )
