"""Make the golden files with the code of commit 41b35ae; no later code can run this script.

    git worktree add old 41b35ae
    PYTHONPATH=old/plugins:old/tests OMP_NUM_THREADS=1 python tests/golden/make.py old/tools

Writes home.tar.xz, the folder of a user who has worked with that version, and the JSON files
beside it. README.md tells what each of them is.
"""

import json
import os
import pathlib
import shutil
import sys
import tarfile
import tempfile
from unittest import mock

import numpy as np
import reading
import run_tools

import toy

HERE = pathlib.Path(__file__).resolve().parent
# The folder a tool works in, wherever that is: some files keep absolute paths.
CWD = "/proc/self/cwd"
CHANGED = 1_700_000_000  # time of change of every file: a digest of photos has it in it

TINY = """
PLUGINS: ["fastseek"]
MODEL: {META_ARCHITECTURE: Seeker, DEVICE: cpu}
DATASETS:
  NAMES: ["folder('photos')"]
  TESTS: ["folder('photos')"]
SOLVER:
  {OPT: SGD, IMS_PER_BATCH: 4, MAX_EPOCH: 1, BASE_LR: 0.02, WARMUP_ITERS: 0, CHECKPOINT_PERIOD: 1}
DATALOADER: {NUM_WORKERS: 0}
TEST: {IMS_PER_BATCH: 32, EVAL_PERIOD: 0}
SEEK:
  BACKBONE: "timm(name='mobilenetv2_050', stages=(0,))"
  BRANCHES: ["gem(on='s0', dim=8)"]
  LOSSES: ["cross_entropy(on='gem')"]
  TRAIN: ["resize(32)"]
  TEST: ["resize(32)"]
  SEARCH: "exact(k=10)"
  RERANK: ["k_reciprocal(k1=4, k2=2)"]
  METRICS: ["recall(1)", "map(5)", "gap()"]
"""
PLAN = """
NAME: tiny
RECIPE: tiny.yml
STEPS:
  - NAME: first
  - NAME: second
    SET: {SOLVER.MAX_EPOCH: 2, SEEK.TRAIN: ["resize(32)", "hflip(0.5)"]}
"""
CONTEST = """
NAME: tiny contest
TASK: gldv2-retrieval
DATA: "folder('photos')"
MEMBERS:
  - {NAME: one, RECIPE: tiny.yml}
  - {NAME: two, RECIPE: tiny.yml, SET: {SEEK.BRANCHES: ["gem(on='s0', dim=6)"]}}
SEARCH: "exact(k=10)"
POST: ["label_rank(up=1.0, down=0.1)"]
ENSEMBLE: "sum_top(10, 5)"
METRICS: ["recall(1)"]
"""
ABLATION = """
NAME: tiny ablation
BASE: tiny.yml
METRICS: ["recall(1)", "map"]
SEEDS: [0]
STEPS:
  - NAME: baseline
    SET: {SEEK.RERANK: []}
  - NAME: "+ flip"
    ADD: {SEEK.TRAIN: ["hflip(0.5)"]}
  - NAME: "+ re-ranking"
    SET: {SEEK.RERANK: ["k_reciprocal(k1=4, k2=2)"]}
"""
ROUNDS = """
NAME: tiny rounds
RECIPE: tiny.yml
DATA: {HIDE: "folder('/proc/self/cwd/photos')", CLASSES: 3, SHOTS: [2, 3], FOLDER: 0}
ROUNDS: 1
STOP: {GAIN: -1}
STEPS:
  - {NAME: start, DO: train, FROM: none}
  - {NAME: embed, DO: embed}
  - {NAME: clusters, DO: cluster, PER: 4, ENHANCE: ["pca(dim=4)", "l2()"]}
  - {NAME: kept, DO: select, SIZE: [2, 50], COMPACT: 0, MARGIN: 0}
  - {NAME: classify, DO: classify}
  - {NAME: pseudo, DO: pseudo, THRESHOLD: [0.2, 0.1], PROTOTYPE: 5}
  - {NAME: final, DO: train, PHOTOS: [labelled, pseudo]}
"""
TABLE = """
<!-- results: run/results.json -->
<!-- /results -->
"""
FILES = {
    "tiny.yml": TINY,
    "plan.yml": PLAN,
    "contest.yml": CONTEST,
    "ablation.yml": ABLATION,
    "rounds.yml": ROUNDS,
    "table.md": TABLE,
}

MODEL = "--config-file run/train/config.yaml --weights run/train/model_final.safetensors"
RECIPE = "--config-file tiny.yml"
# The same command over what it has left must train nothing.
FINISHED = {
    "run": f"run.py {RECIPE} --out run --data photos",
    "plan": "train_net.py --plan plan.yml --out plan",
    "contest": "contest.py --recipe contest.yml --out contest",
    "ablation": "ablate.py ablation.yml --out ablation",
    "rounds": "grow.py --plan rounds.yml --out rounds",
    "embedded": f"embed.py {MODEL} --images {CWD}/mixed.csv --out embedded",
    "classified": f"classify.py {MODEL} --images {CWD}/photos/query --out classified",
    "table": "readme.py table.md",
}
# Killed in the second of two epochs, gone on with by these.
STOPPED = {
    "stopped": f"train_net.py {RECIPE} --resume SOLVER.MAX_EPOCH 2 OUTPUT_DIR stopped",
    "stopped_plan": "train_net.py --plan plan.yml --out stopped_plan",
}

QUERIES, GALLERY = "--queries vectors/queries", "--gallery vectors/gallery"
SIDES = f"{QUERIES} {GALLERY} --search"
OTHERS = "--queries vectors/queries2.npy --gallery vectors/gallery2"
LABELS = "reference='vectors/gallery', labels='vectors/labels.csv'"
RERANK = (
    """--rerank "k_reciprocal_query(k1=5, k2=3, graph='index/graph.npz')" """
    '--rerank "diffusion(k=5, seeds=3)"'
)


def treated(how):
    """Enhancers that learn and keep a fit, or read it: `how` is "save" or "fit"."""
    return (
        f"""--enhance "center({how}='fits/center.safetensors')" """
        f"""--enhance "pca(dim=6, whiten=True, {how}='fits/pca.safetensors')" """
        f"""--enhance "quantile(n=8, {how}='fits/quantile.safetensors')" --enhance "l2()" """
    )


SEARCHES = {
    "first": f'{SIDES} "exact(k=42)"',
    "twice": f'{SIDES} "exact(k=15)" {RERANK}',
    "learned": f'{treated("save")} {SIDES} "exact(k=15)"',
    "reread": f'{treated("fit")} {SIDES} "exact(k=15)"',
    "second": f'{OTHERS}.npy --search "exact(k=15)"',
    "tensor": f'{OTHERS}.safetensors --search "exact(k=15)"',
    "half": f'{QUERIES} --gallery vectors/half --search "exact(k=15)"',
    "ivf": f"""{SIDES} "faiss_ivf(k=15, lists=4, probes=2, file='index/ivf.faiss')" """,
    "hnsw": f"""{SIDES} "faiss_hnsw(k=15, m=8, file='index/hnsw.faiss')" """,
    "quantized": f'{SIDES} "quantized(k=15)"',
    "labelled": f'{SIDES} "exact(k=15)" --rerank "label_rank({LABELS})"',
}
RANKINGS = "--rankings rankings/first.npz rankings/twice.npz"
TRUTH = "--truth vectors/truth.csv"
FUSED = {
    "fused": f'{RANKINGS} rankings/learned.npz --fuse "reciprocal_rank(keep=15)"',
    "tuned": f'{RANKINGS} --fuse "sum_top(per_model=15, keep=15)" --tune "map(10)" {TRUTH}',
}
METRICS = '"map(10)" "gap()" "recall(1, 5)" "cmc(1, 5)" "precision(5)" "position(10)"'
OF_WHOLE = 'map minp "map_at_r()"'  # of the one ranking that lists the whole gallery
NUMBERED = ("second", "tensor")  # rankings whose ids are row numbers, without a truth


def searches(to):
    """The commands that make rankings in the folder `to`."""
    made = {name: f"search.py {call} --out {to}/{name}.npz" for name, call in SEARCHES.items()}
    fused = {name: f"fuse.py {call} --out {to}/{name}.npz" for name, call in FUSED.items()}
    return made | fused


def scorings():
    """The commands that score them."""
    made = {}
    for name in [*SEARCHES, *FUSED]:
        if name not in NUMBERED:
            of = f"score.py ranking --ranking rankings/{name}.npz --json - --metrics {METRICS}"
            of += f" {OF_WHOLE}" if name == "first" else ""
            made |= {
                f"{name}.{kind}": f"{of} --truth vectors/truth.{kind}" for kind in ("csv", "npz")
            }
    made["run"] = (
        "score.py ranking --ranking run/ranking.npz --truth run/truth.npz --json - "
        '--metrics "recall(1)" "map(5)" "gap()"'
    )
    made["compare"] = (
        f'score.py compare rankings/first.npz rankings/twice.npz {TRUTH} --metric "map(10)" --json -'
    )
    made["blend"] = (
        'blend.py --probabilities classified classified --truth classes.csv --figures "top(1, 2)" '
        "--json -"
    )
    return made


RANK = "score.py ranking --ranking rankings/first.npz --truth"
FIND = f"search.py {QUERIES} {GALLERY} --out new.npz"
PAGE = f"report.py --ranking rankings/first.npz {TRUTH} --out new.html"
NEW = f"train_net.py {RECIPE} OUTPUT_DIR new"
# Commands that end well and commands that do not; their exit codes are what 41b35ae says.
CALLS = f"""
score.py --help
recipes.py list
train_net.py --plan plan.yml --check
audit.py size --limit-mb 1 run/train/model_final.safetensors
audit.py disagreement {RANKINGS} --out new.csv
{RANK} vectors/truth.csv --metrics "map(10)"
{PAGE} --results run/results.json
submit.py digix --ranking rankings/first.npz --out new.csv

score.py
score.py ranking --no-such-option
run.py {RECIPE}
search.py {QUERIES} {GALLERY}
{FIND} --search "exakt(k=10)"
{FIND} --search "exact(depth=10)"
{FIND} --search "exact(k=__import__('os'))"
{FIND} --rerank "k_reciprocal(k1=0)"
search.py {QUERIES} {GALLERY} --out vectors/queries/manifest.json
{RANK} vectors/truth.csv --metrics mapp
fuse.py --rankings rankings/first.npz --fuse "vote()" --out rankings/first.npz
fuse.py {RANKINGS} --out new.npz --fuse "reciprocal_rank()" --tune "map(10)"
train_net.py
train_net.py {RECIPE} --plan plan.yml
train_net.py {RECIPE} --check
train_net.py --plan plan.yml --resume
{NEW} SEEK.BRANCHES "['gum()']"
run.py {RECIPE} --out new SEEK.METRICS []
contest.py --recipe contest.yml --out contest --short
ablate.py tiny.yml --out new
export.py {MODEL} --out new.onnx --size 0
{PAGE} --depth 0
blend.py --probabilities classified --figures "top(1)"
recipes.py explain tiny.yml SEEK.NO_SUCH_KEY 1

{RANK} vectors/absent.csv --metrics "map(10)"
{RANK} wrong/truth.csv --metrics "map(10)"
search.py --queries vectors/absent {GALLERY} --out new.npz
search.py --queries wrong/nan.npy --gallery vectors/gallery2.npy --out new.npz
run.py {RECIPE} --out new --data absent
embed.py {MODEL} --images wrong --out new
{NEW} DATASETS.NAMES "(\\"folder('absent')\\",)"

{FINISHED["plan"]} SEEK.EXPECT "['loss 1 +- 0']"

audit.py size --limit-mb 0.001 run/train/model_final.safetensors
{RANK} run/truth.npz --metrics "map(10)"
search.py {QUERIES} --gallery vectors/gallery2.npy --out new.npz
search.py {OTHERS}.npy --enhance "pca(fit='fits/pca.safetensors')" --out new.npz
search.py {SEARCHES["ivf"].replace("gallery --", "half --")} --out new.npz
search.py {QUERIES} --gallery wrong/changed --out new.npz
score.py ranking --ranking wrong/cut.npz --truth vectors/truth.csv --metrics "map(10)"
fuse.py --rankings rankings/first.npz run/ranking.npz --fuse "vote()" --out new.npz
embed.py {MODEL} --images {CWD}/photos/query --out embedded
embed.py {MODEL} --images {CWD}/photos/query --out new SEEK.BRANCHES "[\\"gem(on='s0', dim=9)\\"]"
"""
# The quick recipes on the galleries of tests/toy.py, shorter than they are.
QUICK = {
    "dolg": "run.py --config-file QUICK/dolg.yml --data toy --out dolg "
    "MODEL.DEVICE cpu SOLVER.MAX_EPOCH 2",
    "bnneck_triplet": "run.py --config-file QUICK/bnneck_triplet.yml --data toy "
    "--out bnneck_triplet MODEL.DEVICE cpu SOLVER.MAX_EPOCH 2",
    "bagtricks": "train_net.py --config-file QUICK/bagtricks.yml OUTPUT_DIR bagtricks "
    "MODEL.DEVICE cpu SOLVER.MAX_EPOCH 1 TEST.EVAL_PERIOD 1",
}


def write_photos(home):
    """32 photos of 32 x 32 pixels, one that is cut, and tables of them."""

    numbers = {"train": range(4), "query": range(100, 101), "gallery": range(200, 203)}
    for split, of_split in numbers.items():
        for label in range(4):
            folder = home / "photos" / split / f"class_{label}"
            folder.mkdir(parents=True)
            for number in of_split:
                # two looks a class, so that the figures are not all 100 %
                look = label + 4 * (number % 2)
                toy.photo(look, number, 32).save(folder / f"{number:04d}.jpg", quality=85)
    names = [path.relative_to(home).as_posix() for path in home.glob("photos/gallery/*/*.jpg")]
    first, *others = sorted(names)
    (home / "cut.jpg").write_bytes((home / first).read_bytes()[:200])
    (home / "mixed.csv").write_text("\n".join(["path", first, "cut.jpg", *others]) + "\n")
    labels = [f"class_{label}/0100.jpg,class_{label}" for label in range(4)]
    (home / "classes.csv").write_text("\n".join(["id,label", *labels]) + "\n")
    for path in home.rglob("*.jpg"):
        os.utime(path, (CHANGED, CHANGED))


def write_vectors(home):
    """Embeddings of 6 made-up classes, by two models, in every form that is read."""
    from safetensors.numpy import save_file

    from fastseek.store import store
    from fastseek.structures import Embeddings, Truth

    folder, random = home / "vectors", np.random.default_rng(11)
    centres = random.normal(size=(6, 8))
    passport = {"model": "golden", "views": ["hflip()"]}
    columns = {}
    for side, count in {"queries": 12, "gallery": 42}.items():
        labels = np.arange(count) % 6
        ids = [f"{side[0]}{number:02d}" for number in range(count)]
        columns[side] = ids, [f"class {label}" for label in labels]
        columns[side] += ([f"camera {number % 5}" for number in range(count)],)
        made = (centres[labels] + random.normal(scale=0.7, size=(count, 8))).astype(np.float32)
        other = centres[labels, :6] + random.normal(scale=0.9, size=(count, 6))
        store(batches_of(ids, made), count + 1, folder / side, passport, shard_items=16)
        np.save(folder / f"{side}2.npy", other.astype(np.float32))
    save_file({"vectors": other.astype(np.float32)}, folder / "gallery2.safetensors")
    Embeddings(ids, made.astype(np.float16), passport).save(folder / "half", 20)
    lines = ["id,label,split,group"]
    for side, split in (("queries", "query"), ("gallery", "gallery")):
        lines += [
            f"{one},{label},{split},{group}"
            for one, label, group in zip(*columns[side], strict=True)
        ]
    (folder / "truth.csv").write_text("\n".join(lines) + "\n")
    lines = [f"{one},{label[-1]}" for one, label, _ in zip(*columns["gallery"], strict=True)]
    (folder / "labels.csv").write_text("\n".join(["id,landmark_id", *lines]) + "\n")
    (asked, of_asked, by), (known, of_known, there) = columns.values()
    Truth.from_labels(asked, of_asked, known, of_known, by, there).save(folder / "truth.npz")


def batches_of(ids, vectors):
    """Batches of one item for `store`, and last a photo that cannot be read."""

    def batches_from(start):
        for row in range(start, len(ids)):
            yield [ids[row]], vectors[row : row + 1], []
        bad = {"path": "cut.jpg", "row": len(ids), "phase": "decode", "code": "TRUNCATED"}
        yield [], np.empty((0, vectors.shape[1]), np.float32), [bad]

    return batches_from


def write_wrong(home):
    """Files that must be refused."""
    folder = home / "wrong"
    folder.mkdir()
    (folder / "truth.csv").write_text("id,label\nq00,class 0\nq00\n")
    np.save(folder / "nan.npy", np.full((2, 6), np.nan, np.float32))
    (folder / "cut.npz").write_bytes((home / "rankings" / "first.npz").read_bytes()[:900])
    shutil.copytree(home / "vectors" / "gallery", folder / "changed")
    toy.flip(folder / "changed" / "00001.vectors.npy")


def kill_in_epoch_two(call, folder, tools):
    """Run a training that dies at its sixth step, in the second epoch of four steps."""
    from fastseek.engine.trainer import Trainer

    child = os.fork()
    if not child:
        real = Trainer.run_step

        def step(trainer):
            if trainer.iter == 5 and trainer.cfg.OUTPUT_DIR.startswith(folder):
                os._exit(9)
            real(trainer)

        with mock.patch.object(Trainer, "run_step", step):
            run_tools.one_call(tools, call.replace(" --resume", ""))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def succeed(tools, calls, folder, **environ):
    """Run calls that must end well."""
    ended = run_tools.run(tools, calls, folder, **environ)
    for call, outcome in zip(calls, ended, strict=True):
        assert outcome["code"] == 0, (call, outcome)
    return ended


def work(home, tools):
    """Do what a user does: train, embed, search, fuse, contests; return the scores of it."""
    for name, text in FILES.items():
        (home / name).write_text(text.lstrip())
    write_photos(home)
    write_vectors(home)
    for folder in ("rankings", "fits", "index"):
        (home / folder).mkdir()
    os.chdir(home)
    for name, call in STOPPED.items():
        kill_in_epoch_two(call, name, tools)
    succeed(tools, [*FINISHED.values(), *searches("rankings").values()], home)
    write_wrong(home)
    scored = succeed(tools, list(scorings().values()), home)
    # logs and pages tell of this machine, and no later run reads them
    for pattern in ("log.txt*", "events.out.*", ".lock", "*.html"):
        for path in home.rglob(pattern):
            path.unlink()
    return {name: json.loads(one["out"]) for name, one in zip(scorings(), scored, strict=True)}


def pack(home):
    """Write home.tar.xz: no editor or checkout changes a byte or a time of change in it."""

    def plain(entry):
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = CHANGED
        return entry

    with tarfile.open(HERE / "home.tar.xz", "w:xz") as archive:
        archive.add(home, "home", filter=plain)


def after(home, tools):
    """Exit codes of all CALLS, and what the killed trainings come to."""
    calls = [call for call in CALLS.splitlines() if call]
    ends = [
        {"call": call, "code": outcome["code"]}
        for call, outcome in zip(calls, run_tools.run(tools, calls, home), strict=True)
    ]
    succeed(tools, list(STOPPED.values()), home)
    made = {
        path.parent.relative_to(home).as_posix(): {
            "weights": reading.weights_of(path),
            "losses": reading.losses(path.with_name("metrics.jsonl")),
        }
        for path in sorted(home.glob("stopped*/**/model_final.safetensors"))
    }
    return ends, made


def quick(tools):
    """Train the quick recipes, and tell their figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        toy.gallery(folder / "toy")
        toy.market(folder, people=4)
        recipes = tools.parent / "configs" / "quick"
        calls = [call.replace("QUICK", str(recipes)) for call in QUICK.values()]
        succeed(tools, calls, folder, FASTREID_DATASETS=name)
        return {recipe: reading.quick_figures(folder / recipe) for recipe in QUICK}


def public(tools):
    """Names of recipes, as files and as `recipes.py list` has them, and the call strings."""
    root = tools.parent
    files = [path for part in ("configs", "projects") for path in (root / part).rglob("*.yml")]
    shown = run_tools.one_call(tools, "recipes.py list")["out"].splitlines()
    return {
        "recipes": sorted(path.relative_to(root).as_posix() for path in files),
        "listed": [line for line in shown if line.startswith(("configs/", "projects/"))],
        "calls": json.loads((root / "tests" / "surface.json").read_text())["parts"],
    }


def write(name, value):
    (HERE / f"{name}.json").write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def main():
    tools = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder) / "home"
        home.mkdir()
        write("scores", work(home, tools))
        pack(home)
        write("opened", reading.opened(home))
        results = [home / name / "results.json" for name in FINISHED]
        found = {path.parent.name: reading.rows(path) for path in results if path.exists()}
        ends, resumed = after(home, tools)
        os.chdir(HERE)
    calls = {"finished": FINISHED, "stopped": STOPPED, "quick": QUICK, "ends": ends}
    write("calls", calls | {"searches": searches("again"), "scores": scorings()})
    figures = {"rows": found, "resumed": resumed, "quick": quick(tools)}
    write("figures", figures | {"made with": reading.versions()})
    write("public", public(tools))
    run_tools.options(tools, HERE / "options.json")


if __name__ == "__main__":
    main()
