"""fast-reid's own recipes, written as its configs folder has them, on a made-up Market-1501."""

import json
import os

import pytest

import toy
from fastseek.errors import exit_with
from fastseek.workflows.train import run

BAGTRICKS = """
MODEL:
  META_ARCHITECTURE: Baseline
  BACKBONE:
    NAME: build_resnet_backbone
    NORM: BN
    DEPTH: 50x
    LAST_STRIDE: 1
    FEAT_DIM: 2048
    WITH_IBN: False
    PRETRAIN: True
  HEADS:
    NAME: EmbeddingHead
    NORM: BN
    WITH_BNNECK: True
    POOL_LAYER: GlobalAvgPool
    NECK_FEAT: before
    CLS_LAYER: Linear
  LOSSES:
    NAME: ("CrossEntropyLoss", "TripletLoss",)
    CE:
      EPSILON: 0.1
      SCALE: 1.
    TRI:
      MARGIN: 0.3
      HARD_MINING: True
      NORM_FEAT: False
      SCALE: 1.
INPUT:
  SIZE_TRAIN: [ 256, 128 ]
  SIZE_TEST: [ 256, 128 ]
  REA:
    ENABLED: True
    PROB: 0.5
  FLIP:
    ENABLED: True
  PADDING:
    ENABLED: True
DATALOADER:
  SAMPLER_TRAIN: NaiveIdentitySampler
  NUM_INSTANCE: 4
  NUM_WORKERS: 8
SOLVER:
  AMP:
    ENABLED: True
  OPT: Adam
  MAX_EPOCH: 120
  BASE_LR: 0.00035
  WEIGHT_DECAY: 0.0005
  WEIGHT_DECAY_NORM: 0.0005
  IMS_PER_BATCH: 64
  SCHED: MultiStepLR
  STEPS: [ 40, 90 ]
  GAMMA: 0.1
  WARMUP_FACTOR: 0.1
  WARMUP_ITERS: 2000
  CHECKPOINT_PERIOD: 30
TEST:
  EVAL_PERIOD: 30
  IMS_PER_BATCH: 128
CUDNN_BENCHMARK: True
"""
AGW = """
_BASE_: Base-bagtricks.yml
MODEL:
  BACKBONE:
    WITH_NL: True
  HEADS:
    POOL_LAYER: GeneralizedMeanPoolingP
  LOSSES:
    NAME: ("CrossEntropyLoss", "TripletLoss",)
    CE:
      EPSILON: 0.1
      SCALE: 1.0
    TRI:
      MARGIN: 0.0
      HARD_MINING: False
      SCALE: 1.0
"""
SBS = """
_BASE_: Base-bagtricks.yml
MODEL:
  FREEZE_LAYERS: [ backbone ]
  BACKBONE:
    WITH_NL: True
  HEADS:
    NECK_FEAT: after
    POOL_LAYER: GeneralizedMeanPoolingP
    CLS_LAYER: CircleSoftmax
    SCALE: 64
    MARGIN: 0.35
  LOSSES:
    NAME: ("CrossEntropyLoss", "TripletLoss",)
    CE:
      EPSILON: 0.1
      SCALE: 1.0
    TRI:
      MARGIN: 0.0
      HARD_MINING: True
      NORM_FEAT: False
      SCALE: 1.0
INPUT:
  SIZE_TRAIN: [ 384, 128 ]
  SIZE_TEST: [ 384, 128 ]
  AUTOAUG:
    ENABLED: True
    PROB: 0.1
DATALOADER:
  NUM_INSTANCE: 16
SOLVER:
  AMP:
    ENABLED: True
  OPT: Adam
  MAX_EPOCH: 60
  BASE_LR: 0.00035
  WEIGHT_DECAY: 0.0005
  IMS_PER_BATCH: 64
  SCHED: CosineAnnealingLR
  DELAY_EPOCHS: 30
  ETA_MIN_LR: 0.0000007
  WARMUP_FACTOR: 0.1
  WARMUP_ITERS: 2000
  FREEZE_ITERS: 1000
  CHECKPOINT_PERIOD: 20
TEST:
  EVAL_PERIOD: 10
  IMS_PER_BATCH: 128
CUDNN_BENCHMARK: True
"""
MGN = """
_BASE_: Base-SBS.yml
MODEL:
  META_ARCHITECTURE: MGN
  FREEZE_LAYERS: [ backbone, b1, b2, b3,]
  BACKBONE:
    WITH_NL: False
  HEADS:
    EMBEDDING_DIM: 256
"""
MARKET = """
_BASE_: ../Base-{0}.yml
DATASETS:
  NAMES: ("Market1501",)
  TESTS: ("Market1501",)
OUTPUT_DIR: logs/market1501/{0}
"""
# Only what makes it fit a test: two steps of few small photos, no download.
QUICK = [
    "MODEL.BACKBONE.PRETRAIN",
    "False",
    "INPUT.SIZE_TRAIN",
    "[48, 16]",
    "INPUT.SIZE_TEST",
    "[48, 16]",
    "SOLVER.IMS_PER_BATCH",
    "24",
    "DATALOADER.NUM_INSTANCE",
    "4",
    "DATALOADER.NUM_WORKERS",
    "0",
    "SOLVER.MAX_EPOCH",
    "1",
    "MODEL.DEVICE",
    "cpu",
]
SHALLOW = ["MODEL.BACKBONE.DEPTH", "18x", "MODEL.BACKBONE.FEAT_DIM", "512"]
# MGN cuts its map in two and three parts.
TALLER = ["INPUT.SIZE_TRAIN", "[96, 32]", "INPUT.SIZE_TEST", "[96, 32]"]


@pytest.fixture
def market(tmp_path, monkeypatch):
    """The recipes as files, the current folder and the data set beside them."""
    for name, text in {"bagtricks": BAGTRICKS, "AGW": AGW, "SBS": SBS, "MGN": MGN}.items():
        (tmp_path / f"Base-{name}.yml").write_text(text)
        (tmp_path / "Market1501").mkdir(exist_ok=True)
        (tmp_path / "Market1501" / f"{name}.yml").write_text(MARKET.format(name))
    monkeypatch.setenv("FASTREID_DATASETS", str(toy.market(tmp_path / "data")))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "Market1501"


@pytest.mark.parametrize(
    "name, options",
    [
        ("bagtricks", SHALLOW),
        (
            "AGW",
            [
                *SHALLOW,
                "TEST.FLIP.ENABLED",
                "True",
                "TEST.AQE.ENABLED",
                "True",
                "TEST.RERANK.ENABLED",
                "True",
            ],
        ),
        (
            "SBS",
            [
                *SHALLOW,
                "DATALOADER.SAMPLER_TRAIN",
                "BalancedIdentitySampler",
                "TEST.PRECISE_BN.ENABLED",
                "True",
                "TEST.PRECISE_BN.NUM_ITER",
                "1",
            ],
        ),
        pytest.param("MGN", TALLER, marks=pytest.mark.slow),
    ],
)
def test_an_unchanged_recipe_of_fast_reid_trains_and_evaluates(market, name, options):
    results = run(str(market / f"{name}.yml"), QUICK + options)
    assert list(results)[:5] == ["Rank-1", "Rank-5", "Rank-10", "mAP", "mINP"]
    assert all(0 <= value <= 100 for value in results.values())
    out = market.parent / "logs" / "market1501" / name
    steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    trained = [line for line in steps if "total_loss" in line]
    assert len(trained) == 2
    parts = {key for key in trained[0] if key.startswith("loss_")}
    assert {part.split("_")[1] for part in parts} == {"cls", "triplet"}
    assert json.loads((out / "results.json").read_text())["metrics"]["mAP"] == pytest.approx(
        results["mAP"]
    )


def test_weights_of_a_run_give_its_figures_again_and_take_over_another_number_of_classes(
    market, tmp_path
):
    recipe = str(market / "bagtricks.yml")
    results = run(recipe, QUICK + SHALLOW)
    weights = "logs/market1501/bagtricks/model_final.safetensors"
    again = run(
        recipe,
        [*QUICK, *SHALLOW, "MODEL.WEIGHTS", weights, "OUTPUT_DIR", "logs/again"],
        eval_only=True,
    )
    assert again == pytest.approx(results)
    toy.market(tmp_path / "fewer", people=6)
    os.environ["FASTREID_DATASETS"] = str(tmp_path / "fewer")
    run(
        recipe,
        [
            *QUICK,
            *SHALLOW,
            "MODEL.WEIGHTS",
            weights,
            "OUTPUT_DIR",
            "logs/fewer",
            "SOLVER.IMS_PER_BATCH",
            "16",
        ],
    )


def test_a_missed_expectation_ends_the_run_with_both_figures_and_code_4(market, capsys):
    options = [*QUICK, *SHALLOW, "SEEK.EXPECT", "['mAP 101 +- 0.5']"]
    with pytest.raises(SystemExit) as ended:
        exit_with(lambda: run(str(market / "bagtricks.yml"), options))
    assert ended.value.code == 4
    told = capsys.readouterr().err
    assert "mAP is " in told and "expected 101 +- 0.5" in told
    assert (market.parent / "logs" / "market1501" / "bagtricks" / "results.json").exists()
