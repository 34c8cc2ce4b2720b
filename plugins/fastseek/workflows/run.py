"""One recipe from images to an answer: embed, train, embed again, search, re-rank, score, page."""

from __future__ import annotations

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
from ..errors import ArtefactError, UsageError
from ..inference import embedding
from ..io.code_version import current_commit
from ..io.paths import PathLike
from ..io.stage_record import StageRecord
from ..io.text_table import table
from ..metrics import evaluate as score
from ..modeling.plain_pooling import PlainPooling
from ..modeling.seeker import Seeker
from ..registry import parse
from ..report import PageLayout, page, row, write_results
from ..retrieval import build_parts, rank_with, retrieve
from ..structures import Embeddings, GroundTruth, Item, Ranking, Score, with_split
from ..structures.splits import refuse_missing_queries, split_sides
from ..training.resume_check import check_can_go_on
from ..training.run_setup import setup
from ..training.trainer import Trainer

logger = logging.getLogger("fastreid.fastseek")
Rows = list[dict[str, Any]]
AGAIN = "run the same command again to go on"


def run_file(
    config_file: PathLike, out: PathLike, data: str | None = None, opts: Sequence[str] = ()
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
    """
    cfg = recipe.load(config_file, [*opts, "OUTPUT_DIR", str(pathlib.Path(out) / "train")])
    if not cfg.SEEK.METRICS or not cfg.DATASETS.TESTS:
        raise UsageError(
            f"{config_file}: SEEK.METRICS or DATASETS.TESTS is empty, so there is nothing to show; "
            "train it with tools/train_net.py, or name some"
        )
    if data is not None:
        cfg = _replace_data(cfg, data)
    try:
        check_can_go_on(cfg)
    except ArtefactError as error:
        raise ArtefactError(f"{out} holds an earlier run, name another --out: {error}") from error
    held_out = data is not None and "query=" in cfg.DATASETS.TESTS[0]
    return run(setup(cfg, resume=True), out, strict=not held_out)


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


def run(cfg: Any, out: PathLike, strict: bool = True) -> str:
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

    Returns:
        the table of figures as text, with the path of the page below it.

    Raises:
        DataError: images or weights are missing, or a query cannot be read.
    """
    out = pathlib.Path(out)
    name = cfg.DATASETS.TESTS[0]
    items = resolve(name, combine_all=cfg.DATASETS.COMBINEALL)
    sides = Sides(*split_sides(items, name), strict)
    trainer = Trainer(without_last_evaluation(cfg), advice=AGAIN)
    before = _before(cfg, trainer, sides, out)
    start = time.monotonic()
    trainer.resume_or_load(resume=True)
    trainer.train()
    rows, ranking, truth, scores = _after(cfg, trainer.model, sides, out, start)
    rows = [_order_metrics(before, rows[0]), *rows]
    write_results(out / "results.json", rows, current_commit(), cfg.SEED)
    path = _write_page(out, _title(cfg), Answer(ranking, truth, scores), rows)
    return f"{table(rows)}\n\npage: {path}"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was found, what should have been, and the figures."""

    ranking: Ranking
    truth: GroundTruth
    scores: Sequence[Score]


@dataclasses.dataclass(frozen=True)
class Sides:
    """What is asked and what is searched."""

    queries: Sequence[Item]
    gallery: Sequence[Item]
    strict: bool


def without_last_evaluation(cfg: Any) -> Any:
    """Training need not end with an evaluation: the same figures are made from the embeddings on
    disk.
    """
    tests = cfg.DATASETS.TESTS if cfg.TEST.EVAL_PERIOD > 0 else ()
    return replace_values(cfg, {"DATASETS.TESTS": tests})


def _before(cfg: Any, trainer: Trainer, sides: Sides, out: pathlib.Path) -> dict[str, Any]:
    """The row of the untrained model, with a page of its answers; kept in a file, because a resumed
    run no longer has that model.

    Without MODEL.WEIGHTS the branches begin at random: then it is plain pooling of the network.
    """
    inputs = {
        "metrics": list(cfg.SEEK.METRICS),
        "search": [*cfg.SEEK.ENHANCE, cfg.SEEK.SEARCH],
        "seed": cfg.SEED,
        "weights": cfg.MODEL.WEIGHTS,
        "photos": embedding.source_of([*sides.queries, *sides.gallery]),
    }
    record = StageRecord(out, inputs, "before.json")
    stage = record.load()
    if stage is not None:
        kept: dict[str, Any] = stage.results["row"]
        return kept
    start = time.monotonic()
    trainer.load_initial()
    model = inner(trainer.model)
    if isinstance(model, Seeker) and not cfg.MODEL.WEIGHTS:
        model = PlainPooling(model)
    pair, truth = embed_sides(cfg, model, sides, out / "embeddings" / "before")
    ranking = retrieve(*pair, cfg.SEEK.SEARCH, cfg.SEEK.ENHANCE)[0]
    figures = score(ranking, truth, list(cfg.SEEK.METRICS))
    made = row("before training", figures, time.monotonic() - start)
    title = f"{_title(cfg)}, before training"
    path = _write_page(out, title, Answer(ranking, truth, figures), [made])
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
    cfg: Any, model: nn.Module, sides: Sides, out: pathlib.Path, start: float
) -> tuple[Rows, Ranking, GroundTruth, list[Score]]:
    """A row after training and one a re-ranking step; what is shown on the page is the last."""
    pair, truth = embed_sides(cfg, model, sides, out / "embeddings" / "after")
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
) -> tuple[tuple[Embeddings, Embeddings], GroundTruth]:
    """Query and gallery embeddings, and the truth over those images that could be read."""
    stored, kept = [], []
    for name, items in (("query", sides.queries), ("gallery", sides.gallery)):
        part = embedding.to_store(
            cfg, model, items, folder / name, root(items), f"embedding {name}", replace=True
        )
        known = set(part.ids)
        lost = [item.path for item in items if item.id not in known]
        if lost and name == "query" and sides.strict:
            found = [number for number, item in enumerate(items) if item.id in known]
            told = f"see {folder / name / 'rejects.csv'}"
            refuse_missing_queries(items, np.array(found, np.int64), unknown=told)
        if lost:
            logger.warning(
                "%d of %d %s images cannot be read and are left out, first %s: see %s",
                len(lost),
                len(items),
                name,
                lost[0],
                folder / name / "rejects.csv",
            )
        stored.append(part)
        kept.append([item for item in items if item.id in known])
    return (stored[0], stored[1]), GroundTruth.from_items(*kept)


def _write_page(out: pathlib.Path, title: str, answer: Answer, rows: Rows) -> pathlib.Path:
    path = out / "report.html"
    page(
        answer.ranking,
        answer.truth,
        answer.scores,
        images=roots(answer.ranking),
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
