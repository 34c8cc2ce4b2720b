"""What the cost card foretells beside what was measured: bytes and seconds at 100,000 and a million vectors.

    python benchmarks/cost_card.py --out benchmarks/results/cost_card.json

Each figure of benchmarks/results/growth.json is foretold from the smaller sizes alone. "embedding" is a short
measurement of images a second, and the CPU seconds that a longer job then took.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from growth import RESULTS, SHIPPED
from measure import write

from fastseek.cli._plan import SIDE, measure_rate
from fastseek.costs.engines import ENGINES, Engine
from fastseek.costs.growth import (
    Law,
    Measured,
    find_byte_law,
    find_query_law,
    find_time_law,
    load_growth,
)
from fastseek.data.synthetic import draw_image
from fastseek.inference.pretrained import ModelOptions, load_model
from fastseek.inference.pretrained.embed import embed_batches
from fastseek.structures import Item


def find_query(runs: Sequence[Measured], name: str, _: str, dim: int) -> Law | None:
    """The law of a query, as the card takes it."""
    engine = next((one for one in ENGINES if one.name == name), Engine(name, "", "", ""))
    return find_query_law(runs, name, dim, engine.query_power, engine.query_most)


LAWS = {
    "bytes": find_byte_law,
    "build cpu s": find_time_law,
    "query cpu ms": find_query,
}
SMALL = 1e-3  # below this a figure is noise


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="default")
    parser.add_argument("--images", type=int, default=600, help="that are embedded")
    parser.add_argument("--out", help="a JSON file")
    args = parser.parse_args()
    rows = [*foretell(), embedding(args.model, args.images)]
    for row in rows:
        print(row, flush=True)
    what = f"foretold beside measured, by {SHIPPED.name} and {(RESULTS / 'growth.json').name}"
    write(args.out, what, ("numpy", "torch"), rows)


def foretell() -> Iterator[dict[str, Any]]:
    """Every figure of a size, by the law of the smaller ones."""
    runs = load_growth()
    for run in runs:
        smaller = [one for one in runs if one.engine == run.engine and one.images < run.images]
        for figure, find_law in LAWS.items():
            law = find_law(smaller, run.engine, figure, run.dim)
            if law is None or run.figures.get(figure, 0) < SMALL:
                continue
            told, real = law.at(run.images), run.figures[figure]
            yield {
                "engine": run.engine,
                "images": run.images,
                "dim": run.dim,
                "figure": figure,
                "foretold": round(told, 4),
                "measured": real,
                "foretold by measured": round(told / real, 3),
                "from": list(law.sizes),
            }


def embedding(name: str, images: int) -> dict[str, Any]:
    """A measurement of a few seconds, and a job of some images."""
    model = load_model(name, ModelOptions(engine="eager"))
    told = measure_rate(model, 3.0, threads=1)
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder) / f"{number}.jpg" for number in range(images)]
        for number, path in enumerate(paths):
            draw_image(number, number, SIDE).save(path, quality=85)
        items = [Item(str(path), "", "", "", path.name) for path in paths]
        started = time.process_time()
        done = sum(len(ids) for ids, _, _ in embed_batches(model, items, threads=1))
        real = time.process_time() - started
    foretold = done / told["images a cpu second"]
    return {
        "engine": "embedding",
        "images": done,
        "dim": model.dim,
        "figure": "cpu s",
        "foretold": round(foretold, 2),
        "measured": round(real, 2),
        "foretold by measured": round(foretold / real, 3),
        "from": [told["images"]],
    }


if __name__ == "__main__":
    main()
