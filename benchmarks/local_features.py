"""Small products in busy scenes: recall@1 of one vector an image, and re-ranked by local features.

    python benchmarks/local_features.py --images dataset/train --clutter dataset/test \\
        --out benchmarks/results/local_features.json

The gallery holds photos of products as in a catalogue: each photo at half the side of a gray frame
("half"); or as they are ("full"), where what is pasted is less than half as large as in its photo.
A query is a scene of nine photos of other products, side by side, over which the middle of one gallery
photo (70 % of its sides) is pasted at a ninth of the area, anywhere. Right is that photo. Vectors and
local features are of the default model at --size; all gallery images are re-ranked. "all : 64" keeps all
local features of a query, and 64 means of those of a gallery image.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from measure import write
from PIL import Image

from fastseek.cli import call_verb
from fastseek.regions.local_tokens import choose_tokens
from fastseek.registry import RERANKERS, build
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings, Ranking
from fastseek.structures.local_embeddings import LocalEmbeddings, Tokens

SIDE, CELLS, KEPT = 672, 3, 0.7
# What queries and gallery keep of each image, how, and the re-rankers.
FORMS = (
    ("all", "64", "fp16", ("chamfer({}, ways='image')", "chamfer({})")),
    ("all", "64", "binary", ("chamfer({}, ways='image')",)),
    ("all", "16", "fp16", ("chamfer({}, ways='image')",)),
    ("all", "16", "binary", ("chamfer({}, ways='image')",)),
    ("64", "64", "fp16", ("chamfer({}, ways='image')", "mutual_matches({})", "transport({})")),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", required=True, help="photos of products")
    parser.add_argument("--clutter", required=True, help="photos that the scenes are made of")
    parser.add_argument("--gallery", type=int, default=150)
    parser.add_argument("--queries", type=int, default=150)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--layer", type=int, default=2)
    parser.add_argument("--out", help="a JSON file")
    args = parser.parse_args()
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as made:
        folder = pathlib.Path(made)
        plant(choose(args.images, args.gallery, random), args, random, folder)
        queries = embed(folder, "queries", args)
        rows = []
        for name, forms in (("half", FORMS), ("full", FORMS[:1])):
            sides = [queries, embed(folder, name, args)]
            ranking = Exact(k=args.gallery)(*map(Embeddings.load, sides))
            size = 4 * Embeddings.load(sides[1]).dim
            made = [describe("vectors alone", "", ranking, size, 0.0)]
            made += [row for form in forms for row in judge(sides, ranking, form)]
            rows += [{"gallery": name, **row} for row in made]
    what = f"{args.queries} scenes, {args.gallery} products, default model at {args.size} px"
    write(args.out, what, ("numpy", "torch", "timm"), rows)


def choose(folder: str, count: int, random: np.random.Generator) -> list[pathlib.Path]:
    """Some images of a folder of classes."""
    files = sorted(pathlib.Path(folder).rglob("*.jpg"))
    return [files[row] for row in random.permutation(len(files))[:count].tolist()]


def plant(
    files: list[pathlib.Path],
    args: argparse.Namespace,
    random: np.random.Generator,
    folder: pathlib.Path,
) -> None:
    """Write gallery and queries; a query has the name of what it shows."""
    others = choose(args.clutter, 10**9, random)
    for side in ("half", "full", "queries"):
        (folder / side).mkdir()
    for number, file in enumerate(files):
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        frame = Image.new("RGB", (SIDE, SIDE), (128, 128, 128))
        frame.paste(image.resize((SIDE // 2, SIDE // 2)), (SIDE // 4, SIDE // 4))
        frame.save(folder / f"half/{number:04d}.jpg", quality=90)
        image.resize((SIDE, SIDE)).save(folder / f"full/{number:04d}.jpg", quality=90)
        if number < args.queries:
            clutter = [one for one in others if one.parent.name != file.parent.name]
            scene = make_scene(image, clutter, random)
            scene.save(folder / f"queries/{number:04d}.jpg", quality=90)


def make_scene(
    image: Image.Image, clutter: list[pathlib.Path], random: np.random.Generator
) -> Image.Image:
    """The middle of an image in a scene of other photos."""
    tile = SIDE // CELLS
    scene = Image.new("RGB", (SIDE, SIDE))
    for place, row in enumerate(random.permutation(len(clutter))[: CELLS**2].tolist()):
        with Image.open(clutter[row]) as opened:
            other = opened.convert("RGB").resize((tile, tile))
        scene.paste(other, (place % CELLS * tile, place // CELLS * tile))
    width, height = image.size
    edge = (1 - KEPT) / 2
    box = (edge * width, edge * height, (1 - edge) * width, (1 - edge) * height)
    middle = image.crop(tuple(map(int, box))).resize((tile, tile))
    scene.paste(middle, tuple(random.integers(0, SIDE - tile, 2).tolist()))
    return scene


def embed(folder: pathlib.Path, side: str, args: argparse.Namespace) -> pathlib.Path:
    """The vectors of a side, and all its local features."""
    out = folder / f"{side}-embeddings"
    options = f"--size {args.size} --local-layer {args.layer} --locals all"
    call_verb("embed", f"--model default {options} --images {folder / side} --out {out}".split())
    return out


def judge(
    sides: Sequence[pathlib.Path], ranking: Ranking, form: tuple[str, str, str, tuple[str, ...]]
) -> list[dict[str, Any]]:
    """Recall of re-rankers of one form of local features."""
    *counts, bits, calls = form
    kept = [keep(side, count, bits) for side, count in zip(sides, counts, strict=True)]
    size = LocalEmbeddings.load(kept[1]).shape.image_bytes
    queries, gallery = map(Embeddings.load, sides)
    folders = ", ".join(repr(str(one)) for one in reversed(kept))
    rows = []
    for call in calls:
        filled = call.format(f"{folders}, depth={ranking.indices.shape[1]}")
        part = build(filled, RERANKERS)
        began = time.process_time()
        better = part(ranking, queries, gallery)
        spent = 1000 * (time.process_time() - began) / ranking.indices.size
        told = call.replace("{}, ", "").replace("{}", "")
        rows.append(describe(f"{counts[0]} : {counts[1]}, {bits}", told, better, size, spent))
    return rows


def keep(side: pathlib.Path, count: str, bits: str) -> pathlib.Path:
    """What `--locals count --local-bits bits` would have kept, of all local features."""
    folder = side / f"{count}-{bits}"
    every = LocalEmbeddings.load(side / "locals")
    if not folder.exists():
        tokens = every.read(np.arange(len(every)))
        if count != "all":
            lengths = tokens.vectors * tokens.weights[:, :, None]
            pairs = zip(lengths, tokens.places, strict=True)
            made = [choose_tokens(*one, int(count)) for one in pairs]
            tokens = Tokens(*(np.stack(part) for part in zip(*made, strict=True)))
        LocalEmbeddings.of_tokens(every.id_column[:], tokens, bits, every.provenance).save(folder)
    return folder


def describe(
    form: str, call: str, ranking: Ranking, size: int, milliseconds: float
) -> dict[str, Any]:
    """One row of the table."""
    found = np.array(ranking.gallery_ids)[ranking.indices] == np.array(ranking.query_ids)[:, None]
    row: dict[str, Any] = {"local features": form, "rerank": call, "bytes an image": size}
    for depth in (1, 10):
        row[f"recall@{depth}"] = round(float(found[:, :depth].any(axis=1).mean()), 4)
    row["cpu ms a pair"] = round(milliseconds, 4)
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
