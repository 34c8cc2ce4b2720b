"""Old code against new: two checkouts, run in turns, so that a busy machine is busy for both.

    python benchmarks/old_new.py --old ../before --new . --out benchmarks/results/old_new.json
    python benchmarks/old_new.py --old ../before --new . --only exact_search k_reciprocal --rounds 5
    FASTREID_DATASETS=DIR python benchmarks/old_new.py --old ../before --new . --only training
    python benchmarks/old_new.py --old ../before --new . --quick          small sizes: does it run at all?

CPU seconds, user and system, of single processes with one OpenMP thread. Three parts (k-reciprocal re-ranking, exact
search, evaluation of rankings) are timed inside a process, after one run that is not counted, and must give the same
answer on both sides. Training and the commands are timed as whole processes, from start to end: `--help`, and the
smallest real use of each. The ratio is new by old, of the least seconds over all rounds: what disturbs a run only adds.

Training takes made-up images, or, where Grocery is below FASTREID_DATASETS, its images and the recipe's weights.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import importlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

OUTPUTS = ("OUT", "OUT.csv", "OUT.npz", "OUT.html", "OUT.pt2")
LEAST_SECONDS = 1.0  # of a part, over its repeats
LIMIT = 1.03  # nothing may be slower than this, new by old
DIM = 512
QUERY_SHARE = 0.17
LISTS_DEPTH = 100
IMAGES_PER_LABEL = 20
BATCH = 32
DEMO = "configs/Grocery/dolg_mobilenetv2.yml"
CALLS = ["map(100)", "cmc(1, 5, 10)", "recall(1, 10)", "precision(10)"]

SMALL_RECIPE = """
PLUGINS: ["fastseek"]
MODEL: {META_ARCHITECTURE: Seeker, DEVICE: cpu, BACKBONE: {NAME: build_timm_backbone}}
DATASETS: {NAMES: ["folder('IMAGES')"], TESTS: ["folder('IMAGES')"]}
DATALOADER: {NUM_WORKERS: 0}
SOLVER: {OPT: Adam, BASE_LR: 0.002, MAX_EPOCH: 1, WARMUP_ITERS: 0, IMS_PER_BATCH: 6}
TEST: {IMS_PER_BATCH: 12}
INPUT: {SIZE_TRAIN: [32, 32], SIZE_TEST: [32, 32]}
SEEK:
  BACKBONE: "timm(name='mobilenetv2_050', stages=(3, 4))"
  BRANCHES: ["gem(dim=16)"]
  LOSSES: ["cross_entropy(on='gem')"]
  SAMPLER: "shuffle()"
  TRAIN: ["resize(32)", "hflip(0.5)"]
  TEST: ["resize(32)"]
  METRICS: ["recall(1)"]
"""
CONTEST = """
NAME: small
TASK: gldv2-retrieval
DATA: "folder('IMAGES')"
MEMBERS: [{NAME: one, RECIPE: small.yml}]
SEARCH: "exact(k=20)"
POST: []
ENSEMBLE: "sum_top(20, 10)"
METRICS: ["recall(1)"]
"""
ABLATION = """
NAME: small
BASE: small.yml
METRICS: ["recall(1)"]
SEEDS: [0]
LONG: {SEEDS: [0]}
STEPS:
  - NAME: baseline
"""
ROUNDS = """
NAME: small
RECIPE: small.yml
DATA: {HIDE: "folder('IMAGES')", CLASSES: 2, SHOTS: [2, 4], FOLDER: 0}
ROUNDS: 1
STOP: {GAIN: -1}
STEPS:
  - {NAME: start, DO: train, FROM: none, ONCE: true}
  - {NAME: embed, DO: embed}
"""


@dataclasses.dataclass(frozen=True)
class Side:
    """One of the two checkouts.

    Attributes:
        name: "old" or "new".
        root: its folder.
    """

    name: str
    root: pathlib.Path

    @property
    def environment(self) -> dict[str, str]:
        """One thread, and this side's package before any installed one."""
        return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.root / "plugins")}

    @property
    def commit(self) -> str:
        """The commit that is checked out; "" outside a repository."""
        command = ["git", "-C", str(self.root), "rev-parse", "--short", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    def tool(self, name: str, *words: str) -> list[str]:
        """The command line of a tool."""
        return [sys.executable, str(self.root / "tools" / f"{name}.py"), *words]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    reranked: int = 10_000
    gallery: int = 100_000
    queries: int = 1_000
    lists: int = 10_000
    steps: int = 50
    repeats: int = 3


QUICK = Sizes(reranked=600, gallery=3_000, queries=50, lists=300, steps=2, repeats=1)


@dataclasses.dataclass(frozen=True)
class Case:
    """Something that both sides do.

    Attributes:
        name: of the row.
        rounds: how often each side does it, at most as often as asked for.
        command: the command line for a side and an empty folder.
        is_worker: the process warms up and prints its seconds itself; else the whole process is timed.
        warms_up: each side does it once before, which is not counted.
    """

    name: str
    rounds: int
    command: Callable[[Side, pathlib.Path], list[str]]
    is_worker: bool = False
    warms_up: bool = True


def cpu_seconds(command: list[str], side: Side, folder: pathlib.Path) -> tuple[float, str]:
    """CPU seconds of a process and all it waited for, and what it printed.

    Raises:
        SystemExit: it failed; with the end of what it said.
    """
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=side.environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    if process.returncode:
        raise SystemExit(f"{side.name}: {' '.join(command)}\n{text[-3000:]}")
    return usage.ru_utime + usage.ru_stime, text


def run_once(case: Case, side: Side, home: pathlib.Path) -> tuple[list[float], str]:
    """Seconds of one round of a side, and the digest of the answer if there is one."""
    with tempfile.TemporaryDirectory(dir=home) as name:
        folder = pathlib.Path(name)
        seconds, text = cpu_seconds(case.command(side, folder), side, folder)
    if not case.is_worker:
        return [seconds], ""
    told = json.loads(text.splitlines()[-1])
    return told["seconds"], told["digest"]


def compare(
    case: Case, sides: tuple[Side, Side], rounds: int, home: pathlib.Path
) -> dict[str, Any]:
    """One row. Who is first changes from round to round."""
    taken: dict[str, list[float]] = {side.name: [] for side in sides}
    digests: dict[str, str] = {}
    for side in sides if case.warms_up and not case.is_worker else ():
        run_once(case, side, home)  # compiles what was never imported
    for number in range(min(rounds, case.rounds)):
        for side in sides if number % 2 == 0 else reversed(sides):
            seconds, digests[side.name] = run_once(case, side, home)
            taken[side.name] += seconds
    old, new = (summary(taken[side.name]) for side in sides)
    ratio = new["min"] / old["min"]
    row = {
        "name": case.name,
        "old": old,
        "new": new,
        "ratio": round(ratio, 3),
        "ratio_of_medians": round(new["median"] / old["median"], 3),
        "within_limit": ratio <= LIMIT,
    }
    return row | ({"same_answer": digests["old"] == digests["new"]} if case.is_worker else {})


def summary(seconds: list[float]) -> dict[str, float]:
    """Least and median seconds, and how often it was run."""
    return {
        "min": round(min(seconds), 4),
        "median": round(statistics.median(seconds), 4),
        "runs": len(seconds),
    }


def unit_vectors(count: int, seed: int, groups: int) -> np.ndarray:
    """[count, DIM] float32 around `groups` directions."""
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(7).standard_normal((groups, DIM), np.float32)
    vectors = random.standard_normal((count, DIM), np.float32) * np.float32(1.2)
    vectors += centers[random.integers(0, groups, count)]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_vectors(folder: pathlib.Path, queries: int, gallery: int, depth: int = 0) -> None:
    """Both sides as .npy, and with a depth the best answers, found by the obvious product."""
    folder.mkdir(parents=True, exist_ok=True)
    groups = max(2, (queries + gallery) // IMAGES_PER_LABEL)
    sides = unit_vectors(queries, 1, groups), unit_vectors(gallery, 0, groups)
    for name, vectors in zip(("queries", "gallery"), sides, strict=True):
        np.save(folder / f"{name}.npy", vectors)
    if depth:
        scores = sides[0] @ sides[1].T
        order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
        np.savez(
            folder / "best.npz",
            indices=order.astype(np.int64),
            scores=np.take_along_axis(scores, order, 1),
        )


def write_lists(folder: pathlib.Path, queries: int, gallery: int) -> None:
    """Lists of LISTS_DEPTH with scores that fall, and labels of which some are in the lists."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    labels = random.integers(0, gallery // IMAGES_PER_LABEL, queries)
    starts = np.arange(LISTS_DEPTH) * (gallery // LISTS_DEPTH)
    indices = random.integers(0, gallery // LISTS_DEPTH, (queries, LISTS_DEPTH)) + starts
    scores = np.broadcast_to(np.arange(LISTS_DEPTH, 0, -1, dtype=np.float32), indices.shape)
    np.savez(
        folder / "lists.npz",
        indices=random.permuted(indices, axis=1),
        scores=scores,
        query_labels=labels.astype(str),
        gallery_labels=(np.arange(gallery) % (gallery // IMAGES_PER_LABEL)).astype(str),
    )


def write_images(folder: pathlib.Path, classes: int, images: int, side: int, seed: int = 0) -> None:
    """Class folders of JPEG images: a color for the class, noise for the image."""
    from PIL import Image

    colors = np.random.default_rng(0).integers(40, 216, (classes, 3))
    for label in range(classes):
        home = folder / f"class_{label:02d}"
        home.mkdir(parents=True, exist_ok=True)
        for number in range(images):
            random = np.random.default_rng((label, number, seed))
            noise = random.integers(-40, 40, (side, side, 3))
            pixels = (colors[label] + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(home / f"{number:04d}.jpg", quality=92)


def prepare_commands(home: pathlib.Path, side: Side) -> None:
    """What the commands need, made once and read by both sides: images, recipes, vectors, a trained model."""
    folder = home / "made"
    # No image stands in two splits: self-training refuses test images among its own.
    for seed, (split, images) in enumerate((("train", 6), ("query", 2), ("gallery", 4))):
        write_images(folder / "images" / split, classes=4, images=images, side=48, seed=seed)
    images = str(folder / "images")
    for name, text in (
        ("small", SMALL_RECIPE),
        ("contest", CONTEST),
        ("ablation", ABLATION),
        ("rounds", ROUNDS),
    ):
        (folder / f"{name}.yml").write_text(text.replace("IMAGES", images))
    write_tables(folder)
    model = folder / "model"
    for tool, *words in (
        ("train_net", "--config-file", "small.yml", "OUTPUT_DIR", str(model)),
        ("embed", *model_options(folder), "--images", f"{images}/query", "--out", "queries"),
        ("embed", *model_options(folder), "--images", f"{images}/gallery", "--out", "gallery"),
        ("embed", *model_options(folder), "--images", f"{images}/train", "--out", "train"),
        ("classify", *model_options(folder), "--images", f"{images}/query", "--out", "classes"),
        ("search", *sides_of(folder), "--search", "exact(k=10)", "--out", "embedded.npz"),
        ("search", *files_of(folder), "--search", "exact(k=10)", "--out", "a.npz"),
    ):
        cpu_seconds(side.tool(tool, *words), side, folder)
    shutil.copy(folder / "a.npz", folder / "b.npz")


def write_tables(folder: pathlib.Path) -> None:
    """Vectors with their truth and names, the labels of the training images, and a page with a table to fill."""
    write_vectors(folder, queries=20, gallery=100)
    with open(folder / "truth.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "label", "split"))
        for split, count in (("query", 20), ("gallery", 100)):
            rows.writerows((row, row % 5, split) for row in range(count))
    for name, count in (("queries", 20), ("gallery", 100)):
        (folder / f"{name}.txt").write_text("".join(f"{name}_{row}\n" for row in range(count)))
    with open(folder / "labels.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "landmark_id"))
        train = folder / "images" / "train"
        for path in sorted(train.rglob("*.jpg")):
            label = int(path.parent.name.removeprefix("class_"))
            rows.writerow((path.relative_to(train).as_posix(), label))
    results = {"rows": [{"name": "one", "metrics": {"map": 0.5}, "interval": {}, "seconds": 1.0}]}
    (folder / "small.results.json").write_text(json.dumps(results))
    page = "<!-- results: small.results.json -->\n<!-- /results -->\n"
    (folder / "page.md").write_text(page)


def model_options(folder: pathlib.Path) -> tuple[str, ...]:
    model = folder / "model"
    weights = str(model / "model_final.safetensors")
    return "--config-file", str(model / "config.yaml"), "--weights", weights


def sides_of(folder: pathlib.Path) -> tuple[str, ...]:
    return "--queries", str(folder / "queries"), "--gallery", str(folder / "gallery")


def files_of(folder: pathlib.Path) -> tuple[str, ...]:
    return "--queries", str(folder / "queries.npy"), "--gallery", str(folder / "gallery.npy")


def uses(made: pathlib.Path) -> dict[str, tuple[str, ...]]:
    """The smallest real use of every command: words after its name; OUT is a path in an empty folder."""
    model, images = model_options(made), made / "images"
    ranking = ("--ranking", str(made / "a.npz"))
    truth = ("--truth", str(made / "truth.csv"))
    config = ("--config-file", str(made / "small.yml"))
    queries = ("--images", str(images / "query"))
    names = (
        *("--ids-of-queries", str(made / "queries.txt")),
        *("--ids-of-gallery", str(made / "gallery.txt")),
    )
    recognized = (
        *("--queries", str(made / "queries"), "--reference", str(made / "train")),
        *("--non-landmarks", str(made / "gallery"), "--labels", str(made / "labels.csv")),
        *("--quantiles", "12", "--gallery-k", "3", "--query-k", "4"),
    )
    rankings = ("--rankings", str(made / "a.npz"), str(made / "b.npz"))
    several = ("--ranking", str(made / "embedded.npz"), "--queries", str(images / "query"))
    return {
        "ablate": (str(made / "ablation.yml"), "--out", "OUT"),
        "audit": ("noise", *queries, "--out", "OUT.csv"),
        "blend": ("--probabilities", str(made / "classes"), str(made / "classes"), "--out", "OUT"),
        "classify": (*model, *queries, "--out", "OUT"),
        "classify_report": (*model, "--out", "OUT"),
        "contest": ("--recipe", str(made / "contest.yml"), "--out", "OUT"),
        "embed": (*model, *queries, "--out", "OUT"),
        "export": (*model, "--size", "32", "--out", "OUT.pt2"),
        "fuse": (*rankings, "--fuse", "reciprocal_rank()", "--out", "OUT.npz"),
        "grow": ("--plan", str(made / "rounds.yml"), "--out", "OUT"),
        "readme": ("page.md",),
        "recipes": ("explain", str(made / "small.yml")),
        "recognise": (*recognized, "--out", "OUT.csv"),
        "report": (*ranking, *truth, "--out", "OUT.html"),
        "run": (*config, "--out", "OUT"),
        "score": ("ranking", *ranking, *truth, "--metrics", "map(10)"),
        "search": (*files_of(made), "--search", "exact(k=10)", "--out", "OUT.npz"),
        "subjects": (*model, *several, "--gallery", str(made / "gallery"), "--out", "OUT.npz"),
        "submit": ("digix", *ranking, *names, "--out", "OUT.csv"),
        "train_net": (*config, "OUTPUT_DIR", "OUT"),
    }


def command_cases(home: pathlib.Path, old: Side) -> Iterator[Case]:
    """`--help` and the smallest use of every command that the old side has."""
    made = home / "made"
    tools = sorted(path.stem for path in (old.root / "tools").glob("*.py"))
    known = uses(made)
    if missing := set(tools) - set(known):
        raise SystemExit(f"say in uses() how {', '.join(sorted(missing))} is used")

    def help_of(name: str) -> Callable[[Side, pathlib.Path], list[str]]:
        return lambda side, _: side.tool(name, "--help")

    def use_of(name: str) -> Callable[[Side, pathlib.Path], list[str]]:
        def command(side: Side, folder: pathlib.Path) -> list[str]:
            for page in ("page.md", "small.results.json") if name == "readme" else ():
                shutil.copy(made / page, folder)
            words = [
                word.replace("OUT", "out") if word in OUTPUTS else word for word in known[name]
            ]
            return side.tool(name, *words)

        return command

    for name in tools:
        yield Case(f"{name} --help", 21, help_of(name))
    for name in tools:
        yield Case(f"{name}, smallest use", 3, use_of(name))


def training_case(home: pathlib.Path, steps: int) -> Case:
    """The demo recipe for some steps: of Grocery where it is, else of made-up images and without weights."""
    table = home / "training.csv"
    real = grocery_images(steps * BATCH)
    with open(table, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label"))
        if not real:
            write_images(home / "training", classes=32, images=steps * BATCH // 32, side=256)
        found = real or [(path, path.parent.name) for path in (home / "training").rglob("*.jpg")]
        rows.writerows(sorted(found))

    def command(side: Side, folder: pathlib.Path) -> list[str]:
        words = [
            *("--config-file", str(side.root / DEMO), "OUTPUT_DIR", str(folder / "out")),
            *("MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0", "SEED", "0"),
            *("DATASETS.NAMES", f'("manifest({str(table)!r})",)', "DATASETS.TESTS", "()"),
            *(
                "SOLVER.MAX_EPOCH",
                "1",
                "SOLVER.WARMUP_ITERS",
                "0",
                "SOLVER.IMS_PER_BATCH",
                str(BATCH),
            ),
        ]
        without = (
            "timm(name='mobilenetv2_100', stages=(3, 4), kwargs={'pad_type': 'same'}, bn_eval=True)"
        )
        return side.tool("train_net", *words, *(() if real else ("SEEK.BACKBONE", without)))

    return Case(
        f"training, {steps} steps of {'Grocery' if real else 'made-up images'}",
        3,
        command,
        warms_up=False,
    )


def grocery_images(count: int) -> list[tuple[pathlib.Path, str]]:
    """The first training images of Grocery below FASTREID_DATASETS and their labels; none where it is not there."""
    root = pathlib.Path(os.environ.get("FASTREID_DATASETS", "")) / "grocery" / "dataset"
    if not (root / "train.txt").exists():
        return []
    lines = (root / "train.txt").read_text(encoding="utf-8").splitlines()
    found = [line.split(",") for line in lines[:count]]
    return [((root / path.strip()).resolve(), label.strip()) for path, label, *_ in found]


def worker_cases(home: pathlib.Path, sizes: Sizes) -> Iterator[Case]:
    """Parts that are timed inside a process."""

    def command(name: str) -> Callable[[Side, pathlib.Path], list[str]]:
        words = [str(home / name), "--repeats", str(sizes.repeats)]
        return lambda side, _: [sys.executable, __file__, "--worker", name, *words]

    queries = int(sizes.reranked * QUERY_SHARE)
    write_vectors(home / "k_reciprocal", queries, sizes.reranked - queries, LISTS_DEPTH)
    yield Case(
        f"k_reciprocal 20/6, {sizes.reranked:,} images", 5, command("k_reciprocal"), is_worker=True
    )
    write_vectors(home / "exact_search", sizes.queries, sizes.gallery)
    name = f"exact_search, {sizes.queries:,} in {sizes.gallery:,}"
    yield Case(name, 5, command("exact_search"), is_worker=True)
    write_lists(home / "evaluation", sizes.lists, 10 * sizes.lists)
    name = f"evaluation of {sizes.lists:,} lists of {LISTS_DEPTH}"
    yield Case(name, 5, command("evaluation"), is_worker=True)


def load_sides(folder: pathlib.Path) -> tuple[Any, Any]:
    """Queries and gallery as the package's embeddings."""
    structures = importlib.import_module("fastseek.structures")
    made = []
    for name in ("queries", "gallery"):
        vectors = np.load(folder / f"{name}.npy", mmap_mode="r")
        made.append(structures.Embeddings(ids(name[0], len(vectors)), vectors))
    return made[0], made[1]


def ids(prefix: str, count: int) -> np.ndarray:
    return np.char.add(prefix, np.arange(count).astype(str))


def build_part(kind: str, folder: str, call: str) -> Callable[..., Any]:
    """A part by its call string."""
    importlib.import_module(f"fastseek.{folder}")
    registry = importlib.import_module("fastseek.registry")
    return registry.build(call, getattr(registry, kind))


def work_k_reciprocal(folder: pathlib.Path) -> Callable[[], Any]:
    structures = importlib.import_module("fastseek.structures")
    queries, gallery = load_sides(folder)
    best = np.load(folder / "best.npz")
    ranking = structures.Ranking(queries.ids, gallery.ids, best["indices"], best["scores"])
    part = build_part("RERANKERS", "rerank", "k_reciprocal(k1=20, k2=6)")
    return lambda: part(ranking, queries, gallery)


def work_exact_search(folder: pathlib.Path) -> Callable[[], Any]:
    queries, gallery = load_sides(folder)
    part = build_part("SEARCHERS", "search", "exact(k=100)")
    return lambda: part(queries, gallery)


def work_evaluation(folder: pathlib.Path) -> Callable[[], Any]:
    structures = importlib.import_module("fastseek.structures")
    metrics = importlib.import_module("fastseek.metrics")
    kept = np.load(folder / "lists.npz")
    queries, gallery = kept["query_labels"], kept["gallery_labels"]
    names = ids("q", len(queries)), ids("g", len(gallery))
    ranking = structures.Ranking(*names, kept["indices"], kept["scores"])
    truth_class = getattr(structures, "GroundTruth", None) or structures.Truth
    truth = truth_class.from_labels(names[0], queries, names[1], gallery)
    return lambda: metrics.evaluate(ranking, truth, CALLS)


WORK = {
    "k_reciprocal": work_k_reciprocal,
    "exact_search": work_exact_search,
    "evaluation": work_evaluation,
}


def digest(answer: Any) -> str:
    """Of the order of a ranking, or of the values of scores to nine digits."""
    if isinstance(answer, list):
        values = [np.round(np.asarray(score.value, float), 9) for score in answer]
        content = np.asarray(values).tobytes()
    else:
        order = answer.indices if hasattr(answer, "indices") else answer[0]
        content = np.ascontiguousarray(order, np.int64).tobytes()
    return hashlib.sha256(content).hexdigest()


def work(name: str, folder: pathlib.Path, repeats: int) -> None:
    """Do it once unseen, then `repeats` times and for a second at least, and print the seconds."""
    once = WORK[name](folder)
    answer, seconds = once(), []
    while len(seconds) < repeats or sum(seconds) < LEAST_SECONDS:
        started = time.process_time()
        once()
        seconds.append(time.process_time() - started)
    print(json.dumps({"seconds": seconds, "digest": digest(answer)}))


def cases(home: pathlib.Path, sizes: Sizes, old: Side, only: list[str]) -> Iterator[Case]:
    """Everything that is compared, or what begins with one of the words in `only`."""
    yield from (case for case in worker_cases(home, sizes) if begins(case.name, only))
    commands = [case for case in command_cases(home, old) if begins(case.name, only)]
    if any("smallest" in case.name for case in commands):
        prepare_commands(home, old)
    yield from commands
    if begins("training", only):
        yield training_case(home, sizes.steps)


def begins(name: str, only: list[str]) -> bool:
    return not only or any(name.startswith(word) for word in only)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--old", type=pathlib.Path, help="a checkout of the old code")
    parser.add_argument("--new", type=pathlib.Path, help="a checkout of the new code")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="first words of rows")
    parser.add_argument("--rounds", type=int, default=99, help="rounds of a row, at most")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round")
    parser.add_argument("--out", help="JSON file")
    parser.add_argument("--worker", nargs=2, metavar=("NAME", "DIR"), help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.worker and not (args.old and args.new):
        parser.error("--old and --new are required")
    return args


def main() -> None:
    args = parse_arguments()
    if args.worker:
        work(args.worker[0], pathlib.Path(args.worker[1]), args.repeats)
        return
    from measure import write

    sides = Side("old", args.old.resolve()), Side("new", args.new.resolve())
    sizes, rounds = (QUICK, 1) if args.quick else (Sizes(), args.rounds)
    what = f"CPU seconds of old code ({sides[0].commit}) and new ({sides[1].commit}) in turns"
    rows = []
    with tempfile.TemporaryDirectory() as name:
        home = pathlib.Path(name)
        for case in cases(home, sizes, sides[0], args.only):
            row = compare(case, sides, rounds, home)
            rows.append(row)
            mark = "" if row["within_limit"] else "  SLOWER"
            mark += "" if row.get("same_answer", True) else "  ANOTHER ANSWER"
            print(
                f"{row['name']:44} {row['old']['min']:9.3f} {row['new']['min']:9.3f} "
                f"{row['ratio']:6.3f} {row['ratio_of_medians']:6.3f}{mark}",
                flush=True,
            )
            write(args.out, what, ("numpy", "torch"), rows)
    slower = [row["name"] for row in rows if not row["within_limit"]]
    print(f"{len(rows)} rows, {len(slower)} slower than {LIMIT:g} times the old: {slower}")


if __name__ == "__main__":
    main()
