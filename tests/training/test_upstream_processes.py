"""FastSeek's parts under fast-reid's own trainer in several processes."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import torch

from fastseek.distributed.launch import launch
from fastseek.errors import UsageError

RECIPE = {
    # Without batch statistics two halves of a batch are the whole batch.
    "SEEK__BACKBONE": "timm(name='test_efficientnet', stages=(4,), bn_eval=True)",
    "SEEK__LOSSES": [
        "arcface(on='gem', warm=3)",
        "xbm(on='gem', size=30, start=1)",
        "triplet(on='gem')",
    ],
    "SEEK__SAMPLER": "pk(k=2)",
    "SEEK__TRAIN": ["resize(32)"],
    "SOLVER__OPT": "SGD",
    "SOLVER__BASE_LR": 0.001,
    "SOLVER__MAX_EPOCH": 1,
}


def train(cfg):
    """In one of several processes; a function of a module, because new processes import it."""
    import fastseek.modeling.seeker  # noqa: F401
    from fastseek.training import WithParts

    from fastreid.engine import DefaultTrainer, defaults
    from fastreid.engine.train_loop import HookBase

    torch.set_num_threads(1)
    wrap = defaults.DistributedDataParallel
    # fast-reid names a CUDA device; all else is as it wraps the model
    defaults.DistributedDataParallel = lambda model, device_ids, **rest: wrap(model, **rest)

    class Stock(WithParts, DefaultTrainer):
        pass

    class Losses(HookBase):
        def __init__(self):
            self.seen = []

        def after_step(self):
            latest = self.trainer.storage.latest()
            self.seen.append(
                [latest[name][0] for name in ("loss_arcface", "loss_xbm", "loss_triplet")]
            )

        def after_train(self):
            np.save(pathlib.Path(cfg.OUTPUT_DIR) / "losses.npy", self.seen)

    try:
        trainer = Stock(cfg)
        if torch.distributed.get_rank() == 0 if torch.distributed.is_initialized() else True:
            trainer.register_hooks([Losses()])
        figures = trainer.train()
    finally:
        defaults.DistributedDataParallel = wrap
    if figures is not None:
        np.save(pathlib.Path(cfg.OUTPUT_DIR) / "figures.npy", [figures["map(10)"]])


@pytest.mark.slow
def test_F13_F14_two_processes_under_fast_reids_trainer_train_and_evaluate_as_one(
    recipe_of, tests_on, tmp_path, launch_forks
):
    cfgs = [
        recipe_of(**RECIPE, DATASETS__TESTS=tests_on, OUTPUT_DIR=str(tmp_path / name))
        for name in ("one", "two")
    ]
    train(cfgs[0])
    launch(train, num_gpus=2, args=(cfgs[1],), device="cpu")
    for name in ("losses", "figures"):
        one, two = (np.load(pathlib.Path(cfg.OUTPUT_DIR) / f"{name}.npy") for cfg in cfgs)
        assert one == pytest.approx(two, rel=1e-4) and (one[-1] > 0).all(), name


@pytest.mark.slow
def test_class_weights_that_are_shared_out_are_refused_under_fast_reids_trainer(
    recipe_of, tmp_path, launch_forks
):
    """It would average and save the weights of different classes."""
    losses = ["arcface(on='gem', shard=True)"]
    cfg = recipe_of(**RECIPE | {"SEEK__LOSSES": losses, "OUTPUT_DIR": str(tmp_path / "two")})
    with pytest.raises(UsageError, match="fastseek train"):
        launch(train, num_gpus=2, args=(cfg,), device="cpu")
