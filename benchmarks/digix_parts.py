"""What the parts of the DIGIX systems bring on real photos: repair of noise, turned views, search
by subject.

    python benchmarks/digix_parts.py --out benchmarks/results/digix_parts.json
    python benchmarks/digix_parts.py --config-file recipe.yml --weights model_final.safetensors

Queries are test photos of Grocery and the gallery its training photos. Noise, quarter turns and
pairs of products are planted into the queries only. Without a model of your own a frozen ImageNet
MobileNet is asked, so that figures are low; what counts is the change from one row to the next.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from measure import write
from PIL import Image
from planted import planted
from torch import nn

from fastseek import compat  # noqa: F401  (before anything that imports fastreid)
from fastseek.config import recipe
from fastseek.data.datasets.grocery import Grocery
from fastseek.data.images import decode
from fastseek.data.transforms import _noise_level
from fastseek.inference.embed_images import load_model
from fastseek.inference.embedding import describe_model, in_memory
from fastseek.inference.multi_object import parts_of, search_parts
from fastseek.io.text_table import table
from fastseek.metrics import evaluate
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings, GroundTruth, Item, Ranking

from fastreid.modeling import build_model

RECIPE = pathlib.Path(__file__).parents[1] / "configs" / "Grocery" / "dolg_mobilenetv2.yml"
FROZEN = [
    "SEEK.BRANCHES",
    "[\"gem(on='s4')\"]",
    "SEEK.LOSSES",
    "[]",
    "MODEL.DEVICE",
    "cpu",
    "DATALOADER.NUM_WORKERS",
    "0",
]
METRICS = ["recall(1)", "map(100)"]
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Bench:
    """Photos, a model, and rows of figures.

    Args:
        args: the command line.
        work: a folder for the planted photos.
    """

    def __init__(self, args: argparse.Namespace, work: str) -> None:
        self.args, self.work = args, pathlib.Path(work)
        items = Grocery().items
        self.queries = some([item for item in items if item.split == "query"], args.queries)
        self.gallery = some([item for item in items if item.split == "gallery"], args.gallery)
        self.model: nn.Module | None = None
        self.rows: list[dict[str, Any]] = []
        self.known: dict[str, Embeddings] = {}

    def recipe(
        self, size: int, denoise: bool = False, views: Sequence[str] = (), foreground: str = ""
    ) -> Any:
        """The recipe at a size of photo; the first call builds the model."""
        test = [*(["denoise()"] if denoise else []), f"rescale_pad({size})"]
        frozen = [] if self.args.weights else FROZEN
        cfg = recipe.load(
            self.args.config_file,
            [
                *frozen,
                "SEEK.TEST",
                repr(test),
                "SEEK.VIEWS",
                repr(list(views)),
                "SEEK.FOREGROUND",
                foreground,
            ],
        )
        if self.model is None:
            self.model = (
                load_model(cfg, self.args.weights) if self.args.weights else build_model(cfg).eval()
            )
        return cfg

    def embedded(self, cfg: Any, items: Sequence[Item]) -> Embeddings:
        """Unit vectors of photos; the gallery's are kept."""
        key = f"{cfg.SEEK.TEST} {cfg.SEEK.VIEWS} {cfg.SEEK.FOREGROUND}"
        if items is self.gallery and key in self.known:
            return self.known[key]
        rows, vectors, _ = in_memory(cfg, self.model, items)
        found = Embeddings(
            [items[row].id for row in rows], vectors, describe_model(cfg, self.model)
        )
        if items is self.gallery:
            self.known[key] = found
        return found

    def changed(self, name: str, change: Change) -> list[Item]:
        """The queries with something planted, written as PNG."""
        made = []
        for row, item in enumerate(self.queries):
            path = self.work / f"{name}_{row}.png"
            pixels = change(
                np.array(decode(item.path)), np.random.default_rng([self.args.seed, row])
            )
            Image.fromarray(pixels).save(path, compress_level=1)
            made.append(Item(str(path), item.label, split="query", id=item.id))
        return made

    def row(self, name: str, ranking: Ranking, truth: GroundTruth, started: float) -> None:
        """Add the figures of a ranking."""
        figures = {
            score.name: round(float(score.value), 4) for score in evaluate(ranking, truth, METRICS)
        }
        self.rows.append(
            {"name": name, "metrics": figures, "seconds": round(time.perf_counter() - started, 1)}
        )

    def asked(self, name: str, items: Sequence[Item], size: int, **options: Any) -> None:
        """Embed both sides, search, add a row."""
        started = time.perf_counter()
        cfg = self.recipe(size, **options)
        pair = (
            self.embedded(cfg, items),
            self.embedded(cfg, self.gallery),
        )  # one provenance: repaired on both sides
        self.row(name, Exact(k=100)(*pair), by_label(items, self.gallery), started)


def some(items: Sequence[Item], count: int) -> list[Item]:
    """Items spread evenly."""
    return [
        items[row] for row in np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)
    ]


def by_label(queries: Sequence[Item], gallery: Sequence[Item]) -> GroundTruth:
    """Relevant is what has the query's label; "a|b" has two."""
    lists = [
        [row for row, item in enumerate(gallery) if item.label in query.label.split("|")]
        for query in queries
    ]
    starts = np.cumsum([0, *map(len, lists)])
    nothing = np.zeros(len(queries) + 1, int), np.empty(0, int)
    return GroundTruth(
        [item.id for item in queries],
        [item.id for item in gallery],
        starts,
        np.concatenate(lists),
        *nothing,
        [item.label for item in queries],
        [item.label for item in gallery],
    )


def noisy(bench: Bench, size: int) -> None:
    """Noise planted, with and without repair."""
    bench.asked("clean queries", bench.queries, size)
    bench.asked("clean queries, denoise()", bench.queries, size, denoise=True)
    for kind in (_noise_level.IMPULSE, _noise_level.GAUSSIAN, _noise_level.BOTH):
        items = bench.changed(
            _noise_level.NAMES[kind],
            lambda pixels, random, kind=kind: planted(pixels, kind, random)[0],
        )
        for told, repair in (("", False), (", denoise()", True)):
            bench.asked(f"{_noise_level.NAMES[kind]} noise{told}", items, size, denoise=repair)


def turned(bench: Bench, size: int) -> None:
    """Quarter turns, with and without views on both sides."""
    items = bench.changed(
        "turned", lambda pixels, random: np.rot90(pixels, int(random.choice([1, 3]))).copy()
    )
    for views in ((), ("rotations()",), ("rotations(raw=True)",)):
        bench.asked(", ".join(["turned queries", *views]), items, size, views=views)
    bench.asked("upright queries, rotations()", bench.queries, size, views=("rotations()",))


def cut(bench: Bench, size: int) -> None:
    """The foreground alone, on both sides."""
    bench.asked("clean queries, foreground()", bench.queries, size, foreground="foreground()")


def composed(bench: Bench) -> list[Item]:
    """Two photos of different products in two corners of a grey square."""
    random, made = np.random.default_rng(bench.args.seed), []
    for row, item in enumerate(bench.queries):
        other = item
        while other.label == item.label:
            other = bench.queries[int(random.integers(len(bench.queries)))]
        square = Image.new("RGB", (448, 448), (127, 127, 127))
        for photo, corner in ((item, (0, 0)), (other, (240, 240))):
            square.paste(decode(photo.path).resize((208, 208)), corner)
        path = bench.work / f"pair_{row}.png"
        square.save(path, compress_level=1)
        made.append(Item(str(path), f"{item.label}|{other.label}", split="query", id=item.id))
    return made


def several(bench: Bench, size: int) -> None:
    """Pairs of products, searched whole and by subject; and what that does to single products."""
    cfg = bench.recipe(size)
    for name, items in (("pairs", composed(bench)), ("single products", bench.queries)):
        started = time.perf_counter()
        gallery = bench.embedded(cfg, bench.gallery)
        whole = Exact(k=100)(bench.embedded(cfg, items), gallery)
        truth = by_label(items, bench.gallery)
        bench.row(f"{name}, whole", whole, truth, started)
        both = [found_both(whole, items, bench.gallery)]
        for on in ("s4", "s3"):
            started = time.perf_counter()
            parts = parts_of(cfg, bench.model, items, on=on)
            better = search_parts(whole, parts, gallery) if parts.embeddings else whole
            bench.row(f"{name}, whole and subjects of {on}", better, truth, started)
            bench.rows[-1]["metrics"]["several found"] = round(len(parts.boxes) / len(items), 4)
            both.append(found_both(better, items, bench.gallery))
        for row, share in zip(bench.rows[-3:], both, strict=True):
            row["metrics"]["every product in 10"] = share


def found_both(ranking: Ranking, items: Sequence[Item], gallery: Sequence[Item]) -> float:
    """Share of the queries that have an answer of each of their labels among the first ten."""
    hits = [
        set(item.label.split("|")) <= {gallery[row].label for row in found[:10]}
        for item, found in zip(items, ranking.indices, strict=True)
    ]
    return round(float(np.mean(hits)), 4)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", default=str(RECIPE), help="a Seeker recipe")
    parser.add_argument(
        "--weights", default="", help="its weights; without, a frozen MobileNet with GeM"
    )
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--gallery", type=int, default=600)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--subject-size", type=int, default=224)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(args, work)
        noisy(bench, args.size)
        cut(bench, args.size)
        turned(bench, args.size)
        several(bench, args.subject_size)
    print(table(bench.rows))
    model = args.weights or "frozen mobilenetv2_100 (ImageNet), GeM"
    write(
        args.out,
        f"planted noise, turns and pairs of products on Grocery, {args.queries} queries,"
        f" {args.gallery} gallery photos; {model}",
        ("torch", "timm", "opencv-python-headless", "numpy"),
        bench.rows,
    )


if __name__ == "__main__":
    main()
