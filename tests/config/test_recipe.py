"""Loading recipes: what fast-reid reads we read alike; what is wrong is told with file and line."""

import sys

import pytest
import yaml

from fastseek import compat  # noqa: F401
from fastseek.config import recipe
from fastseek.config.nested import flatten, get_value
from fastseek.config.sources import chain
from fastseek.errors import UsageError

from fastreid.config import CfgNode, get_cfg

BASE = """
MODEL:
  META_ARCHITECTURE: Baseline
  FREEZE_LAYERS: [ backbone ]
  BACKBONE:
    NAME: build_resnet_backbone
    DEPTH: 50x
    WITH_IBN: True
    STRIDE_SIZE: (16, 16)
  HEADS:
    SCALE: 64
    MARGIN: 0.
    POOL_LAYER: GlobalAvgPool
  LOSSES:
    NAME: ("CrossEntropyLoss", "TripletLoss",)
    CE: {EPSILON: 0.1, SCALE: 1.}
INPUT:
  SIZE_TRAIN: [ 256, 128 ]
  REA:
    ENABLED: True
SOLVER:
  BASE_LR: 3.5e-4
  ETA_MIN_LR: 7e-7   # YAML reads a string here
  STEPS: [ 40, 90 ]
DATASETS:
  NAMES: ("Market1501",)
OUTPUT_DIR: logs/market1501/test
"""
CHILD = """_BASE_: ../base.yml

SOLVER:
  MAX_EPOCH: 7
MODEL:
  BACKBONE:
    WITH_IBN: False
  LOSSES:
    NAME: ("CrossEntropyLoss",)
"""


def written(folder, text, name="r.yml"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(folder, text, match, opts=()):
    path = written(folder, text)
    with pytest.raises(UsageError, match=match) as told:
        recipe.load(path, opts)
    return str(told.value)


@pytest.fixture
def child(tmp_path):
    written(tmp_path, BASE, "base.yml")
    return written(tmp_path, CHILD, "market/child.yml")


def test_a_recipe_of_fastreid_means_the_same_to_both(child):
    theirs = get_cfg()
    theirs.merge_from_file(str(child))
    ours = recipe.load(child)
    for key, a in flatten(theirs).items():
        b = get_value(ours, key)
        assert (type(a), a) == (type(b), b), key


def test_overrides_win_and_take_the_type_of_their_key(child):
    cfg = recipe.load(
        child,
        [
            "SOLVER.BASE_LR",
            "1",
            "SOLVER.STEPS",
            "(1, 2)",
            "MODEL.BACKBONE.DEPTH",
            "50",
            "DATASETS.TESTS",
            "()",
            "SEEK.VIEWS",
            "['hflip()']",
            "INPUT.REA.ENABLED",
            "False",
        ],
    )
    assert cfg.SOLVER.BASE_LR == 1.0 and isinstance(cfg.SOLVER.BASE_LR, float)
    assert cfg.SOLVER.STEPS == [1, 2] and cfg.DATASETS.TESTS == () and cfg.SEEK.VIEWS == ["hflip()"]
    assert cfg.MODEL.BACKBONE.DEPTH == "50" and cfg.INPUT.REA.ENABLED is False


def test_a_loaded_recipe_is_frozen_and_loads_again_from_its_dump(child, tmp_path):
    cfg = recipe.load(child, ["SEEK.METRICS", "['map(10)']"])
    assert cfg.is_frozen()
    again = recipe.load(written(tmp_path, cfg.dump(), "config.yaml"))
    assert again == cfg


def test_loading_twice_gives_equal_configs_that_share_nothing(child):
    first, second = recipe.load(child), recipe.load(child)
    first.defrost()
    first.SOLVER.STEPS.append(99)
    first.SEEK.VIEWS.append("x")
    assert second.SOLVER.STEPS == [40, 90] and recipe.load(child).SEEK.VIEWS == []


def test_origins_name_the_file_that_set_each_key_last(child, tmp_path):
    found = recipe.origins(child, ["SOLVER.MAX_EPOCH", "3"])
    base = str(tmp_path / "base.yml")
    assert found["SOLVER.BASE_LR"] == base and found["MODEL.BACKBONE.WITH_IBN"] == str(child)
    assert (
        found["SOLVER.MAX_EPOCH"] == "command line"
        and "SOLVER.GAMMA" not in found
        and "_BASE_" not in found
    )


def test_the_chain_ends_with_the_file_itself(child):
    assert [
        setting.value for setting in chain(child) if setting.key == "MODEL.BACKBONE.WITH_IBN"
    ] == [True, False]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "r.yml: the file is empty"),
        ("# only a comment\n", "r.yml: the file is empty"),
        ("- a\n- b\n", "r.yml:1: a recipe is a mapping"),
        ("SOLVER:\n\tMAX_EPOCH: 3\n", "r.yml:2: a tab stands here"),
        ("SEED: 1\nSEED: 2\n", "r.yml:2: SEED stands twice, first in line 1"),
        (
            "SOLVER:\n  GAMMA: 0.1\nMODEL: {}\nSOLVER:\n  MAX_EPOCH: 1\n",
            "r.yml:4: SOLVER stands twice",
        ),
        (
            "SEED: !!python/object/apply:os.system ['true']\n",
            "r.yml:1: could not determine a constructor",
        ),
        ("A: &a [x]\nB: *a\n", "r.yml:2: aliases"),
        ("SEED: [1, 2\n", r"r.yml:\d: expected"),
        ("1: x\n", "r.yml:1: a key must be a name"),
        ("SEED: 1\n---\nSEED: 2\n", r"r.yml:2: "),
        (b"SEED: \xff\xfe\n", "r.yml: not a UTF-8"),
        (b"SEED: \x00\n", "r.yml: not a UTF-8"),
        ("A: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        (b"#" * 1_000_001, "larger than"),
        ("SEED: 2001-99-99\n", "r.yml"),
    ],
)
def test_files_that_are_no_recipes_are_refused_with_their_line(tmp_path, text, match):
    refused(tmp_path, text, match)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("_BASE_: r.yml\n", "r.yml:1: _BASE_ leads back"),
        ("_BASE_: gone.yml\n", "r.yml:1: _BASE_ gone.yml is not there"),
        ("_BASE_: [a.yml]\n", "r.yml:1: _BASE_ must be one file"),
        ("_BASE_: https://example.org/a.yml\n", "download it"),
        (
            'SEED: 1\nPLUGINS: ["no_such_plugin_x"]\n',
            "r.yml:2: plugin 'no_such_plugin_x' cannot be imported",
        ),
        ('PLUGINS: ["json"]\n', "r.yml:1: plugin 'json' has no register"),
        ("PLUGINS: fastseek\n", "r.yml:1: PLUGINS must be a list"),
    ],
)
def test_bases_and_plugins_that_do_not_load_are_refused(tmp_path, text, match):
    refused(tmp_path, text, match)


def test_a_circle_over_several_files_is_found(tmp_path):
    written(tmp_path, "_BASE_: b.yml\n", "a.yml")
    written(tmp_path, "SEED: 1\n_BASE_: sub/c.yml\n", "b.yml")
    written(tmp_path, "_BASE_: ../a.yml\n", "sub/c.yml")
    with pytest.raises(UsageError, match=r"sub.c\.yml:1: _BASE_ leads back to .*a\.yml"):
        recipe.load(tmp_path / "a.yml")


def test_the_fault_is_told_of_the_file_that_holds_it(tmp_path, child):
    written(tmp_path, BASE.replace("MARGIN: 0.", "MARGN: 0."), "base.yml")
    with pytest.raises(
        UsageError,
        match=r"base\.yml:12: there is no key MODEL.HEADS.MARGN; did you mean .*MARGIN\?",
    ):
        recipe.load(child)


MISTAKES = [
    ("SOLVER.IMS_PER_BTCH", "1", "did you mean SOLVER.IMS_PER_BATCH"),
    ("IMS_PER_BATCH", "8", "SOLVER.IMS_PER_BATCH"),
    ("_BASE_", "x.yml", "there is no key"),
    ("SOLVER.IMS_PER_BATCH.X", "1", "there is no key"),
    ("", "1", "there is no key"),
    ("SOLVER", "3", "a group of keys"),
    ("SOLVER.IMS_PER_BATCH", "0", "at least 1"),
    ("SOLVER.IMS_PER_BATCH", "8.5", "whole"),
    ("SOLVER.IMS_PER_BATCH", "many", "whole number"),
    ("SOLVER.IMS_PER_BATCH", "True", "whole number"),
    ("TEST.IMS_PER_BATCH", "-1", "at least 1"),
    ("SOLVER.MAX_EPOCH", "-1", "at least 0"),
    ("SOLVER.BASE_LR", "0", "above 0"),
    ("SOLVER.BASE_LR", "-1e-4", "above 0"),
    ("SOLVER.BASE_LR", "nan", "must be a number"),
    ("SOLVER.MOMENTUM", "9", "to 1"),
    ("SOLVER.OPT", "Adm", "did you mean Adam"),
    ("SOLVER.SCHED", "Cosine", "CosineAnnealingLR"),
    ("SOLVER.STEPS", "3", "a list"),
    ("SOLVER.WARMUP_METHOD", "exp", "linear"),
    ("SOLVER.STEPS", "['a']", "a list"),
    ("SOLVER.CHECKPOINT_PERIOD", "-2", "least -1"),
    ("MODEL.META_ARCHITECTURE", "Seekr", "did you mean Seeker"),
    ("MODEL.BACKBONE.NAME", "resnet", "build_resnet_backbone"),
    ("MODEL.HEADS.NAME", "Head", "EmbeddingHead"),
    ("MODEL.HEADS.POOL_LAYER", "gem", "GeneralizedMeanPooling"),
    ("MODEL.HEADS.CLS_LAYER", "Arcface", "ArcSoftmax"),
    ("MODEL.HEADS.NECK_FEAT", "both", "after, before"),
    ("MODEL.LOSSES.NAME", "('Triplet',)", "did you mean TripletLoss"),
    ("MODEL.LOSSES.NAME", "TripletLoss", "needs its comma"),
    ("MODEL.DEVICE", "gpu", "cpu, mps, cuda"),
    ("MODEL.PIXEL_STD", "[1, 0, 1]", "above 0"),
    ("INPUT.FLIP.PROB", "50", "from 0 to 1"),
    ("INPUT.SIZE_TRAIN", "[1, 2, 3]", "height, width"),
    ("DATALOADER.SAMPLER_TRAIN", "pk", "NaiveIdentitySampler"),
    ("DATALOADER.NUM_WORKERS", "-2", "at least 0"),
    ("DATASETS.NAMES", "('Market15',)", "Market1501"),
    ("DATASETS.NAMES", "('folder(rot=1)',)", "folder takes"),
    ("TEST.METRIC", "dot", "cosine"),
    ("SEED", "-2", "at least -1"),
    ("SEEK.ON_BAD", "ignore", "fail, skip"),
    ("SEEK.AMP_DTYPE", "fp8", "bf16"),
    ("SEEK.MAX_BAD", "5", "from 0 to 1"),
    ("SEEK.METRICS", "['mapp(100)']", "did you mean 'map'"),
    ("SEEK.METRICS", "map(100)", "a list"),
    ("SEEK.METRICS", "[100]", "call strings"),
    ("SEEK.RERANK", "['k_reciprocal(k3=1)']", "k_reciprocal takes"),
    ("SEEK.SEARCH", "exact(k=__import__('os'))", "plain literals"),
    ("SEEK.BACKBONE", "timm(", "not a call string"),
    ("SEEK.EXPECT", "['map(100) high']", "expected"),
    ("SEEK.EXPECT", "['map(100) 6.1.2 +- 0.5']", "expected"),
    ("SEEK.RATES", "['blocks(a): 0.1']", "literals"),
    ("SEEK.RATES", "['blocks(): 0.1']", "one whole number"),
    ("SEEK.RATES", "['stage_decay: 2']", "up to 1"),
    ("SEEK.LOSSES", "['no_such()']", "no loss is called"),
    ("SEEK.METRICS", "['map(0)']", "map"),
    ("SEEK.METRICS", "['map(10)', 'map(\\'a\\')']", "map"),
    ("SEEK.SEARCH", "exact(k=0)", "k and block must be 1 or more"),
    ("SEEK.SEARCH", "sharded('exact(k=0)')", "k and block must be 1 or more"),
    ("SEEK.RERANK", "['k_reciprocal(k1=-3)']", "k1 and k2 must be 1 or more"),
    ("SEEK.RERANK", "['label_rank()']", "missing a required argument: 'reference'"),
    ("SEEK.ENHANCE", "['alpha_qe(k=0)']", "k must be 1 or more"),
    ("SEEK.TRAIN", "['resize(32)', 'hflip(7)']", "hflip"),
    ("SEEK.VIEWS", "['scale(0)']", "positive factors"),
    ("SEEK.LOSSES", "['triplet(dims=3)']", "dims"),
    ("INPUT.SIZE_TRAIN", "[32, 0]", "height, width"),
    ("SOLVER.SCHED", "StepLR", "legal: CosineAnnealingLR, MultiStepLR"),
    ("DATASETS.NAMES", "()", "DATASETS.NAMES is empty"),
    ("MODEL.PIXEL_MEAN", "[1.0, 2.0]", "three numbers"),
    ("MODEL.META_ARCHITECTURE", "Seeker", "SEEK.BRANCHES is empty"),
]


@pytest.mark.parametrize(
    ("key", "value", "match"), MISTAKES, ids=[f"{key}={value}" for key, value, _ in MISTAKES]
)
def test_planted_mistakes_are_caught_before_any_data_is_read(tmp_path, key, value, match):
    path = written(tmp_path, "SEED: 3\n")
    with pytest.raises(UsageError, match=match) as told:
        recipe.load(path, [key, value])
    assert str(told.value).startswith("command line: ")


@pytest.mark.parametrize(
    ("key", "instead"), [("TEST.AQE", "SEEK.ENHANCE"), ("TEST.RERANK", "SEEK.RERANK")]
)
def test_steps_of_fast_reids_evaluation_are_refused_where_they_would_do_nothing(
    tmp_path, key, instead
):
    path = written(tmp_path, "SEED: 3\n")
    assert recipe.load(path, [f"{key}.ENABLED", "True"])
    with pytest.raises(UsageError, match=f"command line: {key}.ENABLED .*{instead}"):
        recipe.load(path, [f"{key}.ENABLED", "True", "SEEK.METRICS", "['map(10)']"])


def test_parts_that_want_files_are_left_to_the_run(tmp_path):
    path = written(tmp_path, "SEED: 3\n")
    calls = ["label_rank('gone', 'gone.csv')", "k_reciprocal_query(graph='gone')"]
    assert (
        recipe.load(
            path, ["SEEK.RERANK", repr(calls), "SEEK.ENHANCE", "[\"pca(fit='gone')\"]"]
        ).SEEK.RERANK
        == calls
    )


def test_a_base_may_leave_out_what_its_heirs_add(tmp_path):
    text = "MODEL:\n  META_ARCHITECTURE: Seeker\n"
    assert recipe.load(written(tmp_path, text, "Base-x.yml")).SEEK.BRANCHES == []
    refused(tmp_path, text, "r.yml:2: MODEL.META_ARCHITECTURE is Seeker and SEEK.BRANCHES is empty")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "raise KeyError('moon')\n",
            "r.yml:1: plugin 'broken_plugin' cannot be imported .KeyError: 'moon'",
        ),
        (
            "def register(cfg):\n    cfg.NO.SUCH = 1\n",
            "'broken_plugin' failed in its register.cfg. .AttributeError: NO",
        ),
    ],
)
def test_a_plugin_that_fails_is_named_with_the_cause(tmp_path, monkeypatch, text, match):
    written(tmp_path, text, "broken_plugin.py")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_plugin", raising=False)
    refused(tmp_path, 'PLUGINS: ["broken_plugin"]\n', match)
    sys.modules.pop("broken_plugin", None)


def test_mistakes_in_files_are_told_with_their_line(tmp_path):
    text = "SEED: 1\nSOLVER:\n  BASE_LR: -1.0\n"
    assert refused(tmp_path, text, "above 0").startswith(
        f"{tmp_path / 'r.yml'}:3: SOLVER.BASE_LR is -1.0"
    )
    refused(tmp_path, "SOLVER:\n  # nothing yet\n", "r.yml:1: SOLVER must be a group of keys")
    refused(tmp_path, "OUTPUT_DIR:\n", "r.yml:1: OUTPUT_DIR must be a string, got None")


def test_an_override_without_value_is_refused(tmp_path):
    refused(tmp_path, "SEED: 1\n", "no partner", ["SEED"])


def test_a_plugin_adds_its_keys_before_they_are_read(tmp_path, monkeypatch):
    written(
        tmp_path,
        "def register(cfg):\n    cfg.ORCHARD = type(cfg)({'TREES': 3})\n",
        "orchard_plugin.py",
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = written(tmp_path, 'PLUGINS: ["fastseek", "orchard_plugin"]\nORCHARD:\n  TREES: 5\n')
    assert recipe.load(path).ORCHARD.TREES == 5
    assert recipe.load(path, ["ORCHARD.TREES", "6"]).ORCHARD.TREES == 6
    del sys.modules["orchard_plugin"]
    refused(tmp_path, "ORCHARD:\n  TREES: 5\n", "there is no key ORCHARD.TREES")


def test_every_default_is_legal(tmp_path):
    cfg = recipe.load(written(tmp_path, "SEED: 0\n"))
    assert (
        isinstance(cfg, CfgNode) and yaml.safe_load(cfg.dump())["SEEK"]["SEARCH"] == "exact(k=100)"
    )
