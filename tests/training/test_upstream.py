"""FastSeek's parts under fast-reid's own trainer: they work as under ours, or refuse; never inert."""

from __future__ import annotations

import inspect
import json
import pathlib
import re

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader

from fastseek.config.keys import OURS
from fastseek.data.fastreid_datasets import resolve
from fastseek.errors import UsageError
from fastseek.modeling.layers.trainer_contract import EVALUATION, LOADER, TRAINER
from fastseek.structures import with_split
from fastseek.training import PartsHook, WithParts, build_train_loader
from fastseek.training.trainer import Trainer

from fastreid.data.build import fast_batch_collator
from fastreid.data.common import CommDataset
from fastreid.data.samplers import TrainingSampler
from fastreid.data.transforms import build_transforms
from fastreid.engine import DefaultTrainer
from fastreid.engine.train_loop import HookBase
from fastreid.evaluation import DatasetEvaluator
from fastreid.solver import build_optimizer


class Stock(WithParts, DefaultTrainer):
    """What a user writes."""


def test_every_code_block_of_the_page_about_it_runs_and_gives_a_trainer():
    page = pathlib.Path(__file__).parents[2] / "docs" / "upstream.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 4
    for block in blocks:
        found = {"__name__": "page"}
        exec(compile(block, "upstream.md", "exec"), found)
        made = [one for one in found.values() if inspect.isclass(one)]
        assert any(issubclass(one, DefaultTrainer) and one is not DefaultTrainer for one in made)


class LossesOf(HookBase):
    """Notes every loss of every step."""

    def __init__(self):
        self.seen = []

    def after_step(self):
        latest = self.trainer.storage.latest()
        self.seen.append({k: v[0] for k, v in latest.items() if "loss" in k})


# Every part that follows the step or is another's work under fast-reid: sampler, schedule, rates,
# margin, memory, dropout, and evaluation by our own search and metrics.
RECIPE = {
    "SEEK__BRANCHES": ["bnneck(pool='gem', dropout=0.2, dropout_from=4)"],
    "SEEK__LOSSES": [
        "arcface(on='bnneck', warm=6)",
        "triplet(on='bnneck/before')",
        "xbm(on='bnneck/before', size=30, start=3)",
    ],
    "SEEK__SAMPLER": "pk(k=2)",
    "SEEK__SCHEDULE": "warmup_cosine(epochs=1)",
    "SEEK__RATES": ["backbone: 0.5"],
    "SEEK__FREEZE": ["backbone.net.conv_stem"],
    "SEEK__VIEWS": ["hflip()"],
    "SEEK__RERANK": ["k_reciprocal(k1=4, k2=2)"],
    "SEEK__METRICS": ["map(10)", "recall(1)"],
    "SOLVER__MAX_EPOCH": 7,
    "TEST__EVAL_PERIOD": 0,
}


def losses_and_figures(kind, cfg):
    trainer, noted = kind(cfg), LossesOf()
    trainer.register_hooks([noted])
    trainer.resume_or_load(False)
    return noted.seen, dict(trainer.train())


def test_F13_under_fast_reids_own_trainer_a_recipe_has_the_losses_and_figures_it_has_under_ours(
    recipe_of, tests_on, tmp_path
):
    ours, theirs = (
        losses_and_figures(
            kind, recipe_of(**RECIPE, DATASETS__TESTS=tests_on, OUTPUT_DIR=str(tmp_path / name))
        )
        for kind, name in ((Trainer, "ours"), (Stock, "theirs"))
    )
    assert len(ours[0]) == 21 and ours[0] == theirs[0]
    assert set(ours[1]) == {"map(10)", "recall(1)", "metric"} and ours[1] == theirs[1]
    assert ours[0][0]["loss_xbm"] == 0 < ours[0][-1]["loss_xbm"]


class Bare(DefaultTrainer):
    """fast-reid's trainer with nothing of ours, but for what makes it run on a CPU today: its own
    data set class and collator in torch's loader, and its own optimizer without the flat copies.
    """

    def __init__(self, cfg):
        pathlib.Path(cfg.OUTPUT_DIR).mkdir(exist_ok=True)  # as fast-reid's default_setup does
        super().__init__(cfg)

    @classmethod
    def build_train_loader(cls, cfg):
        items = with_split(resolve(cfg.DATASETS.NAMES[0]), "train")
        rows = [(one.path, f"toy_{one.label}", f"toy_{one.group}") for one in items]
        data = CommDataset(rows, build_transforms(cfg, is_train=True))
        batches = BatchSampler(TrainingSampler(len(data), seed=0), cfg.SOLVER.IMS_PER_BATCH, True)
        return DataLoader(data, batch_sampler=batches, collate_fn=fast_batch_collator)

    @classmethod
    def build_optimizer(cls, cfg, model):
        return build_optimizer(cfg, model, contiguous=False)

    @classmethod
    def build_evaluator(cls, cfg, dataset_name, output_dir=None):
        return [], DatasetEvaluator()

    def build_hooks(self):
        return super().build_hooks()[:2]

    def train(self):
        self._last_eval_results = {}
        return super().train()


SMALL = {"SOLVER__MAX_EPOCH": 1, "INPUT__SIZE_TRAIN": [32, 32], "TEST__EVAL_PERIOD": 1}
PLAIN = {**SMALL, "SEEK__TRAIN": [], "SEEK__TEST": [], "SEEK__METRICS": []}


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"SEEK__LOSSES": ["xbm(on='gem', start=1)"]}, "Xbm changes with the training step"),
        ({"SEEK__LOSSES": ["arcface(on='gem', warm=2)"]}, "Arcface changes"),
        ({"SEEK__LOSSES": ["circle(on='gem', warm=2)"]}, "Circle changes"),
        ({"SEEK__LOSSES": ["subcenter_arcface(on='gem', sample=0.5)"]}, "SubcenterArcface changes"),
        (
            {
                "SEEK__BRANCHES": ["bnneck(dropout=0.2, dropout_from=1)"],
                "SEEK__LOSSES": ["triplet(on='bnneck')"],
            },
            "Bnneck changes",
        ),
        ({"SEEK__SAMPLER": "pk(k=2)"}, "SEEK.SAMPLER, which does nothing"),
        ({"SEEK__TRAIN": ["resize(32)"]}, "SEEK.TRAIN"),
        ({"SEEK__TEST": ["resize(32)"], "SEEK__METRICS": ["map"]}, "SEEK.TEST, SEEK.METRICS"),
        ({"SEEK__RERANK": ["k_reciprocal()"]}, "SEEK.RERANK"),
        ({"SEEK__SCHEDULE": "warmup_cosine()"}, "SEEK.SCHEDULE"),
        ({"SEEK__FREEZE": ["backbone"]}, "SEEK.FREEZE"),
        ({"SEEK__ACCUMULATE": 2}, "SEEK.ACCUMULATE"),
    ],
)
def test_F13_without_our_parts_in_the_trainer_a_recipe_that_needs_them_is_refused_by_name(
    recipe_of, changes, told
):
    trainer = Bare(recipe_of(**PLAIN | changes))
    with pytest.raises(UsageError, match=told) as refused:
        trainer.train()
    assert "docs/upstream.md" in str(refused.value)


@pytest.mark.parametrize(
    "loss", ["arcface(on='gem')", "xbm(on='gem', start=0)", "cross_entropy(on='gem')"]
)
def test_a_recipe_that_asks_nothing_of_the_trainer_trains_under_fast_reids_as_it_is(
    recipe_of, loss
):
    trainer, noted = Bare(recipe_of(**PLAIN, SEEK__LOSSES=[loss])), LossesOf()
    trainer.register_hooks([noted])
    trainer.train()
    assert len(noted.seen) == 3 and all(step["total_loss"] > 0 for step in noted.seen)


@pytest.mark.parametrize("head", ["BNNeckHead", "SubCenterArcFaceHead"])
@pytest.mark.parametrize("key, value", [("SEEK__SAMPLER", "pk(k=2)"), ("SEEK__RATES", ["b: 0.5"])])
def test_F13_our_heads_and_backbones_refuse_too_in_fast_reids_own_architecture(
    recipe_of, head, key, value
):
    stock = {
        "MODEL__META_ARCHITECTURE": "Baseline",
        "MODEL__BACKBONE__NAME": "build_timm_backbone",
        "MODEL__BACKBONE__FEAT_DIM": 64,
        "MODEL__HEADS__NAME": head,
        "MODEL__LOSSES__NAME": ("CrossEntropyLoss",),
        "SEEK__BRANCHES": [],
        "SEEK__LOSSES": [],
    }
    Bare(recipe_of(**PLAIN | stock)).train()
    with pytest.raises(UsageError, match=key.replace("__", ".")):
        Bare(recipe_of(**PLAIN | stock | {key: value})).train()


def test_F13_a_test_loader_of_fast_reids_is_refused_where_the_recipe_has_its_own_evaluation(
    recipe_of,
):
    cfg = recipe_of(**PLAIN | {"SEEK__TEST": ["resize(32)"]})
    model = Bare.build_model(cfg.clone()).eval()
    batch = {"images": torch.zeros(2, 3, 32, 32), "img_paths": ["a.jpg", "b.jpg"]}
    with pytest.raises(UsageError, match="SEEK.TEST, which does nothing in this evaluation"):
        model(batch)
    assert model({"images": batch["images"]}).shape == (2, 32)  # nobody's loader
    assert model({**batch, "rows": torch.arange(2)}).shape == (2, 32)


class WithHook(Bare):
    """The hook alone: nothing else of ours is built."""

    def build_hooks(self):
        return [*super().build_hooks(), PartsHook()]


class WithLoader(WithHook):
    """The hook and the training loader."""

    build_train_loader = staticmethod(build_train_loader)


@pytest.mark.parametrize(
    "kind, changes, told",
    [
        (WithHook, {"SEEK__SAMPLER": "pk(k=2)"}, "SEEK.SAMPLER would do nothing under WithHook"),
        (WithLoader, {"SEEK__SCHEDULE": "warmup_cosine()"}, "SEEK.SCHEDULE would do nothing"),
        (WithLoader, {"SEEK__RATES": ["backbone: 0.5"]}, "SEEK.RATES would do nothing"),
        (WithLoader, {"SEEK__METRICS": ["map"]}, "SEEK.METRICS would do nothing"),
        (WithLoader, {"SEEK__ACCUMULATE": 2}, "whose step is fast-reid's"),
    ],
)
def test_F13_the_hook_alone_names_what_the_rest_of_the_trainer_passes_over(
    recipe_of, tests_on, kind, changes, told
):
    trainer = kind(recipe_of(**PLAIN | {"DATASETS__TESTS": tests_on} | changes))
    with pytest.raises(UsageError, match=told):
        trainer.train()


def test_F13_the_hook_and_the_loader_are_two_lines_that_make_memory_and_sampler_work(recipe_of):
    cfg = recipe_of(
        **PLAIN
        | {
            "SEEK__SAMPLER": "pk(k=2)",
            "SEEK__TRAIN": ["resize(32)"],
            "SEEK__LOSSES": ["xbm(on='gem', size=30, start=1)"],
        }
    )
    trainer, noted = WithLoader(cfg), LossesOf()
    trainer.register_hooks([noted])
    trainer.train()
    assert [step["total_loss"] > 0 for step in noted.seen] == [False, True, True]


def test_F13_an_optimizer_over_copies_of_the_parameters_is_refused(recipe_of):
    class Copies(WithHook):
        build_optimizer = classmethod(lambda cls, cfg, model: build_optimizer(cfg, model))

    with pytest.raises(UsageError, match="copies of the model's parameters"):
        Copies(recipe_of(**PLAIN)).train()


def test_F14_batch_norm_over_all_processes_is_built_or_refused_never_passed_over(
    recipe_of, monkeypatch
):
    cfg = recipe_of(**PLAIN, MODEL__HEADS__NORM="syncBN")
    Bare(cfg).train()  # one process has all statistics
    plain, hooked, parts = Bare(cfg), WithHook(cfg), Stock(cfg)
    for home in ("trainer_contract", "gather"):
        monkeypatch.setattr(f"fastseek.modeling.layers.{home}.has_several_processes", lambda: True)
    with pytest.raises(UsageError, match="NORM syncBN, which does nothing"):
        plain.train()
    with pytest.raises(UsageError, match="NORM syncBN: fast-reid builds"):
        hooked.train()
    monkeypatch.setattr("fastseek.modeling.build.has_several_processes", lambda: True)
    with pytest.raises(UsageError, match="needs GPUs"):
        parts.build_model(parts.cfg)


@pytest.mark.parametrize(
    "changes", [{"SEEK__ACCUMULATE": 3}, {"SEEK__ON_NAN": "skip"}, {"SEEK__STOP_AT": 1}]
)
def test_F13_what_fast_reids_step_cannot_do_is_refused_by_name(recipe_of, changes):
    with pytest.raises(UsageError, match=next(iter(changes)).replace("__", ".")):
        Stock(recipe_of(**SMALL, **changes))


def test_every_key_of_seek_is_the_models_the_loaders_the_trainers_the_evaluations_or_says_how_it_runs():
    model = {
        "BACKBONE",
        "BLOCKS",
        "BRANCHES",
        "LOSSES",
        "CLASSES",
        "CHANNELS_LAST",
        "HEAD.SUBCENTERS",
        "HEAD.MARGIN",
    }
    runs = {"CHECKPOINT_MINUTES", "KEEP_CHECKPOINTS"}
    tables = [set(LOADER), set(TRAINER), set(EVALUATION), model, runs]
    ours = {key.name.removeprefix("SEEK."): key.default for key in OURS if "SEEK." in key.name}
    assert sorted(name for table in tables for name in table) == sorted(ours)
    for table in (LOADER, TRAINER, EVALUATION):
        assert dict(table) == {name: ours[name] for name in table}


def test_a_run_under_fast_reids_trainer_goes_on_with_the_batches_that_come_next(
    recipe_of, tmp_path
):
    def train(name, epochs, resume=False):
        cfg = recipe_of(SOLVER__MAX_EPOCH=epochs, OUTPUT_DIR=str(tmp_path / name))
        trainer = Stock(cfg)
        paths = []
        trainer.model.register_forward_pre_hook(
            lambda module, given: paths.append(tuple(given[0]["img_paths"]))
        )
        trainer.resume_or_load(resume)
        trainer.train()
        return paths

    whole = train("whole", 2)
    assert train("halves", 1) + train("halves", 2, resume=True) == whole


def test_weights_of_ours_start_a_training_of_fast_reids_trainer(recipe_of, tmp_path):
    first = Trainer(recipe_of(**SMALL, OUTPUT_DIR=str(tmp_path / "first")))
    first.train()
    weights = tmp_path / "first" / "model_final.safetensors"
    second = Stock(recipe_of(**SMALL, MODEL__WEIGHTS=str(weights)))
    second.resume_or_load(False)
    assert all(
        torch.equal(old, new)
        for old, new in zip(first.model.parameters(), second.model.parameters(), strict=True)
    )
    told = json.loads((pathlib.Path(second.cfg.OUTPUT_DIR) / "classes.json").read_text())
    assert told["counts"] == [6] * 6
