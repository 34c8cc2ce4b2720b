"""tools/recipes.py: list, explain and check."""

import json
import logging
import pathlib

import pytest
import yaml

import processes
from fastseek import compat  # noqa: F401
from fastseek.config import catalog, recipe
from fastseek.errors import UsageError
from fastseek.registry import parse
from fastseek.workflows.check_recipe import check, shrink_recipe

ROOT = pathlib.Path(__file__).parents[2]
PLAIN = """# Frozen ResNet-18 with a triplet.
MODEL:
  BACKBONE: {DEPTH: 18x, FEAT_DIM: 512, PRETRAIN: True}
  LOSSES: {NAME: ["CrossEntropyLoss", "TripletLoss"]}
INPUT: {SIZE_TRAIN: [256, 128], SIZE_TEST: [256, 128], FLIP: {ENABLED: True}}
DATALOADER: {SAMPLER_TRAIN: NaiveIdentitySampler, NUM_INSTANCE: 16, NUM_WORKERS: 8}
SOLVER: {IMS_PER_BATCH: 640, MAX_EPOCH: 99, AMP: {ENABLED: True}}
DATASETS: {NAMES: ["Market1501"], TESTS: ["Market1501"]}
"""


@pytest.fixture
def tree(tmp_path):
    texts = {
        "configs/Base-x.yml": "# What x starts from.\nSEED: 5\n",
        "configs/Toy/plain.yml": PLAIN,
        "projects/P/configs/own.yaml": (
            "_BASE_: ../../../configs/Base-x.yml\nSOLVER: {BASE_LR: 0.5}\n"
        ),
        "projects/P/notes.yml": "not: a recipe\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_every_recipe_below_configs_and_projects_is_found(tree):
    assert [path.relative_to(tree).as_posix() for path in catalog.find(tree)] == [
        "configs/Base-x.yml",
        "configs/Toy/plain.yml",
        "projects/P/configs/own.yaml",
    ]


def test_the_list_tells_first_comment_and_results(tree):
    (tree / "configs/Toy/plain.results.json").write_text(
        '{"rows": [{"name": "trained", "metrics": {"map": 0.5}}]}'
    )
    lines = catalog.listing(tree).splitlines()
    assert lines == [
        "configs/Base-x.yml",
        "    What x starts from.",
        "configs/Toy/plain.yml",
        "    Frozen ResNet-18 with a triplet.",
        "              map",
        "    trained  50.0",
        "projects/P/configs/own.yaml",
        "    no comment",
    ]


def test_explain_is_the_merged_recipe_with_the_origin_of_each_line(tree):
    path = tree / "projects/P/configs/own.yaml"
    text = catalog.explain(path, ["SOLVER.MAX_EPOCH", "7"])
    loaded, said = recipe.load(path, ["SOLVER.MAX_EPOCH", "7"]), yaml.safe_load(text)
    assert said == yaml.safe_load(loaded.dump())
    places = {
        line.split(":")[0].strip(): line.rsplit("# ", 1)[1]
        for line in text.splitlines()
        if "  # " in line
    }
    assert places["BASE_LR"] == str(path) and places["SEED"] == str(tree / "configs" / "Base-x.yml")
    assert places["MAX_EPOCH"] == "override" and places["GAMMA"] == "default"


def test_a_shrunk_recipe_is_small_and_keeps_the_rest(tmp_path):
    (tmp_path / "r.yml").write_text(
        PLAIN
        + """
SEEK:
  BACKBONE: "timm('mobilenetv2_100', stages=(3, 4), pretrained=True, weights='w.pth')"
  SAMPLER: "pk(k=6)"
  TRAIN: ["resize((768, 384))", "random_resized_crop(512, scale=(0.5, 1.0))", "hflip(0.5)"]
"""
    )
    cfg = recipe.load(tmp_path / "r.yml", ["SOLVER.IMS_PER_BATCH", "642"])
    before = cfg.dump()
    small = shrink_recipe(cfg, tmp_path)
    assert small.SEEK.BACKBONE == "timm('mobilenetv2_100', stages=(3, 4))"
    assert small.SEEK.TRAIN == [
        "resize((96, 48))",
        "random_resized_crop(96, scale=(0.5, 1.0))",
        "hflip(0.5)",
    ]
    assert small.INPUT.SIZE_TRAIN == [96, 48] and small.SOLVER.IMS_PER_BATCH == 12
    assert (small.MODEL.DEVICE, small.MODEL.BACKBONE.PRETRAIN, small.SOLVER.AMP.ENABLED) == (
        "cpu",
        False,
        False,
    )
    assert small.MODEL.LOSSES == cfg.MODEL.LOSSES and cfg.dump() == before


def test_check_trains_recipes_loads_bases_and_goes_on_after_a_failure(tree):
    broken = tree / "configs/Toy/a_broken.yml"
    broken.write_text(PLAIN.replace("FEAT_DIM: 512", "FEAT_DIM: 100"))
    handlers = [list(logging.getLogger(name).handlers) for name in ("fastreid", "fastseek")]
    outcomes = list(check([broken, tree / "configs/Base-x.yml", tree / "configs/Toy/plain.yml"]))
    assert [outcome.failed for outcome in outcomes] == [True, False, False]
    assert outcomes[1].summary == "loaded" and outcomes[2].summary.startswith("2 steps, Rank-1")
    files = [
        handler
        for name in ("fastreid", "fastseek")
        for handler in logging.getLogger(name).handlers
        if isinstance(handler, logging.FileHandler)
    ]
    assert [one for one in files if one not in sum(handlers, [])] == []


def test_a_recipe_with_a_teacher_is_checked_without_the_teachers_vectors(tmp_path):
    losses = (
        "distill('gem', ('one', 'two'), 'rkd', (1, 2), project=(9, 7))",
        "matryoshka(call=\"distill(on='gem', teachers='one')\", sizes=(4, 8))",
    )
    (tmp_path / "r.yml").write_text(
        f"""MODEL: {{META_ARCHITECTURE: Seeker}}
INPUT: {{SIZE_TRAIN: [32, 32], SIZE_TEST: [32, 32]}}
SEEK:
  BACKBONE: "timm('test_efficientnet')"
  BRANCHES: ["gem(dim=8)"]
  LOSSES: {json.dumps(losses)}
  TRAIN: ["resize(32)"]
  TEST: ["resize(32)"]
DATASETS: {{NAMES: ["Market1501"], TESTS: ["Market1501"]}}
"""
    )
    (outcome,) = check([tmp_path / "r.yml"])
    assert not outcome.failed and outcome.summary.startswith("2 steps"), outcome.summary


def test_the_tool_ends_with_2_when_a_recipe_fails_and_names_it(tree):
    (tree / "bad.yml").write_text("SOLVER: {BASE_LR: 0}\n")
    done = processes.run("recipes.py", "check", "configs/Base-x.yml", "bad.yml", cwd=tree)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stdout.splitlines()[0].startswith("ok      configs/Base-x.yml  loaded")
    assert "FAILED  bad.yml  bad.yml:1: SOLVER.BASE_LR is 0" in done.stdout
    assert "1 of 2 recipes fail: bad.yml" in done.stderr


def test_no_recipe_of_this_repository_sets_a_key_nobody_knows():
    for path in catalog.find(ROOT):
        recipe.load(path)


def test_every_recipe_of_this_repository_says_what_it_is():
    silent = [path.name for path in catalog.find(ROOT) if not catalog.describe(path)]
    assert silent == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", catalog.find(ROOT), ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_every_recipe_of_this_repository_trains(path):
    outcome = next(check([path], large=False))
    assert not outcome.failed, outcome.summary


def test_a_large_recipe_is_only_built_unless_asked(tmp_path):
    (tmp_path / "r.yml").write_text("""
MODEL: {META_ARCHITECTURE: Seeker, BACKBONE: {NAME: build_timm_backbone}}
DATASETS: {NAMES: ["folder('x')"]}
SEEK: {BACKBONE: "timm(name='resnet50', stages=(4,))", BRANCHES: ["gem(dim=16)"], TEST: ["resize(32)"],
       LOSSES: ["cross_entropy(on='gem')"], TRAIN: ["resize(32)"]}
""")
    outcome = next(check([tmp_path / "r.yml"], large=False))
    # 23.508 million of the network, 2048 x 16 + 16 of the layer behind it, and GeM's exponent
    assert not outcome.failed and outcome.summary == "built, 23.5 million parameters"


def test_a_missing_recipe_is_told(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        catalog.explain(tmp_path / "gone.yml")


@pytest.mark.parametrize(
    "backbone, side",
    [
        ("hybrid_swin(cnn='b', cnn_stage=3, swin='s')", 96),
        ("hybrid_swin(cnn='b', cnn_stage=2, stem_stride=1)", 24),
        ("hybrid_swin(cnn='', swin='s', kwargs={'img_size': 224, 'depths': (2, 2)})", 24),
    ],
)
def test_a_net_of_fixed_tokens_is_checked_with_as_many_in_every_step_of_a_plan(
    tmp_path, backbone, side
):
    (tmp_path / "r.yml").write_text(f"""
MODEL: {{META_ARCHITECTURE: Seeker, BACKBONE: {{NAME: build_timm_backbone}}}}
DATASETS: {{NAMES: ["folder('x')"]}}
SEEK: {{BACKBONE: "{backbone}", BRANCHES: ["linear_neck(pool='none')"], TRAIN: ["hflip(0.5)", "resize(448)"],
       TEST: ["resize(448, interpolation='bilinear')"]}}
""")
    small = shrink_recipe(recipe.load(tmp_path / "r.yml"), tmp_path)
    kwargs = parse(small.SEEK.BACKBONE)[2]["kwargs"]
    assert kwargs["img_size"] == 24 and ("depths" not in backbone or kwargs["depths"] == (2, 2))
    assert small.SEEK.TRAIN == ["hflip(0.5)", f"resize({side})"]
    assert small.SEEK.TEST == [f"resize({side}, interpolation='bilinear')"]
