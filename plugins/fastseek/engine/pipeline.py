"""One recipe from photos to an answer: embed, train, embed again, search, re-rank, score, page."""

from __future__ import annotations

import logging
import pathlib
import time
from collections.abc import Sequence
from typing import Any

from torch import nn

from .. import compat  # noqa: F401  (before anything that imports fastreid)
from ..data.bridge import resolve
from ..files import PathLike, read_json, write_json
from ..metrics import evaluate as score
from ..registry import parse
from ..report import page, row, table, write_results
from ..structures import Embeddings, Item, Ranking, Score, Truth
from . import extract, recipe
from .evaluator import refuse_missing_queries, search, splits, truth_of
from .setup import commit, setup
from .trainer import Trainer

logger = logging.getLogger("fastreid.fastseek")
Rows = list[dict[str, Any]]


def run_file(config_file: PathLike, out: PathLike, data: str | None = None, opts: Sequence[str] = ()) -> str:
    """`run` for a recipe file, on its own data sets or on the user's photos.

    Args:
        config_file: the recipe.
        out: the folder of the run; training goes into its folder `train`.
        data: a folder of class folders (with train/ and test/ below it, or a fifth of every class is held out as
            queries), or a CSV or Parquet table with splits.
        opts: KEY VALUE changes to the recipe.
    """
    cfg = recipe.load(config_file, [*opts, "OUTPUT_DIR", str(pathlib.Path(out) / "train")])
    if data is not None:
        cfg.defrost()
        cfg.DATASETS.NAMES = cfg.DATASETS.TESTS = (_dataset(data),)
        cfg.freeze()
    return run(setup(cfg, resume=True), out)


def _dataset(data: str) -> str:
    if not pathlib.Path(data).is_dir():
        return f"manifest({data!r})"
    split = (pathlib.Path(data) / "train").is_dir()
    return f"folder({data!r})" if split else f"folder({data!r}, query=0.2)"


def run(cfg: Any, out: PathLike) -> str:
    """Train a recipe and show what it does before training, after it, and after every re-ranking step.

    A killed run goes on where it stopped when it is started again. Writes results.json, report.html,
    ranking.npz, truth.npz, embeddings/ and the training's own files below `out`.

    Args:
        cfg: a recipe with SEEK.METRICS whose first test set has queries and a gallery; OUTPUT_DIR is where it trains.
        out: the folder of the run.

    Returns:
        the table of figures as text, with the path of the page below it.

    Raises:
        DataError: photos or weights are missing, or a query cannot be read.
    """
    out = pathlib.Path(out)
    queries, gallery = splits(resolve(cfg.DATASETS.TESTS[0], cfg), cfg.DATASETS.TESTS[0])
    trainer = Trainer(_without_last_evaluation(cfg))
    before = _before(cfg, trainer, queries, gallery, out)
    start = time.monotonic()
    trainer.resume_or_load(resume=True)
    trainer.train()
    rows, ranking, truth, scores = _after(cfg, trainer.model, queries, gallery, out, start)
    rows = [before, *rows]
    write_results(out / "results.json", rows, commit(), cfg.SEED)
    roots = _roots(ranking)
    page(ranking, truth, scores, images=roots, out=out / "report.html", title=_title(cfg), steps=rows)
    return f"{table(rows)}\n\npage: {out / 'report.html'}"


def _without_last_evaluation(cfg: Any) -> Any:
    """Training need not end with an evaluation: the same figures are made from the embeddings on disk."""
    made = cfg.clone()
    made.defrost()
    made.DATASETS.TESTS = cfg.DATASETS.TESTS if cfg.TEST.EVAL_PERIOD > 0 else ()
    made.freeze()
    return made


def _before(cfg: Any, trainer: Trainer, queries: Sequence[Item], gallery: Sequence[Item],
            out: pathlib.Path) -> dict[str, Any]:
    """The row of the untrained model; kept in a file, because a resumed run no longer has that model."""
    kept = out / "before.json"
    if kept.exists():
        return read_json(kept)
    start = time.monotonic()
    trainer.resume_or_load(resume=False)
    pair, truth = _embed(cfg, trainer.model, queries, gallery, out / "embeddings" / "before")
    figures = score(next(search(cfg, *pair)), truth, list(cfg.SEEK.METRICS))
    made = row("before training", figures, time.monotonic() - start)
    write_json(kept, made)
    return made


def _after(cfg: Any, model: nn.Module, queries: Sequence[Item], gallery: Sequence[Item], out: pathlib.Path,
           start: float) -> tuple[Rows, Ranking, Truth, list[Score]]:
    """A row after training and one a re-ranking step; what is shown on the page is the last."""
    pair, truth = _embed(cfg, model, queries, gallery, out / "embeddings" / "after")
    truth.save(out / "truth.npz")
    names = ["training", *(f"re-ranking ({parse(call)[0]})" for call in cfg.SEEK.RERANK)]
    rows: Rows = []
    for name, ranking in zip(names, search(cfg, *pair), strict=True):
        scores = score(ranking, truth, list(cfg.SEEK.METRICS))
        rows.append(row(f"after {name}", scores, time.monotonic() - start))
        start = time.monotonic()
    ranking.save(out / "ranking.npz")
    return rows, ranking, truth, scores


def _embed(cfg: Any, model: nn.Module, queries: Sequence[Item], gallery: Sequence[Item],
           folder: pathlib.Path) -> tuple[tuple[Embeddings, Embeddings], Truth]:
    """Query and gallery embeddings and the truth over those gallery photos that could be read."""
    asked = extract.to_store(cfg, model, queries, folder / "query", root(queries), "embedding queries")
    known = set(asked.ids)
    refuse_missing_queries(queries, [n for n, item in enumerate(queries) if item.id in known])
    stored = extract.to_store(cfg, model, gallery, folder / "gallery", root(gallery), "embedding gallery")
    kept = set(stored.ids)
    return (asked, stored), truth_of(queries, [item for item in gallery if item.id in kept])


def root(items: Sequence[Item]) -> str:
    """The folder the ids are relative to, "" when ids are no paths below one folder."""
    path, name = items[0].path, items[0].id
    return path[:-len(name)].rstrip("/") if path.endswith(name) and path != name else ""


def _roots(ranking: Ranking) -> list[str]:
    return [side["root"] for side in (ranking.passport["queries"], ranking.passport["gallery"]) if side.get("root")]


def _title(cfg: Any) -> str:
    return f"{cfg.DATASETS.TESTS[0]}: {cfg.SEEK.BRANCHES[0].split('(')[0] if cfg.SEEK.BRANCHES else 'embedding'}"
