import json
import multiprocessing
import os
import pathlib
import re
import signal

import pytest
import torch
from safetensors.torch import load_file

from fastseek.errors import ArtefactError, DataError, RunError, StoppedError
from fastseek.training import checkpoint, checkpoint_manifest
from fastseek.training.trainer import Trainer
from training_fixtures import toy_recipe

EVERY_STEP = 1e-9  # minutes


def trained(cfg, resume=False, step=None):
    """Train; `step(trainer)` is called before every step."""

    class Watched(Trainer):
        def run_step(self):
            if step is not None:
                step(self)
            super().run_step()

    trainer = Watched(cfg)
    trainer.resume_or_load(resume)
    trainer.train()
    return trainer


def losses(folder):
    lines = [
        json.loads(line)
        for line in (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()
    ]
    return {
        line["iteration"]: (line["total_loss"], line["lr"])
        for line in lines
        if "total_loss" in line
    }


def weights(folder):
    return load_file(pathlib.Path(folder) / "model_final.safetensors")


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    """The folder of a run that nothing happened to."""
    out = tmp_path_factory.mktemp("whole")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return trained(toy_recipe(photos, out)).cfg.OUTPUT_DIR
    finally:
        torch.set_num_threads(threads)


def assert_same(folder, whole):
    first, second = weights(folder), weights(whole)
    assert all(torch.equal(first[name], second[name]) for name in second)
    assert losses(folder) == losses(whole)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_run_killed_before_any_step_goes_on_as_if_nothing_had_happened(
    recipe_of, whole, forked, step
):
    """landmark row 36: the same losses, step by step, and the same weights."""
    cfg = recipe_of(SEEK__CHECKPOINT_MINUTES=EVERY_STEP)

    def die(trainer):
        if trainer.iter == step:
            os.kill(os.getpid(), signal.SIGKILL)

    assert forked(lambda: trained(cfg, step=die)) == -signal.SIGKILL
    resumed = trained(cfg, resume=True)
    assert resumed.start_step == step
    assert_same(cfg.OUTPUT_DIR, whole)


def test_a_run_killed_without_a_recent_checkpoint_repeats_the_steps_since_the_last(
    recipe_of, whole, forked
):
    cfg = recipe_of()

    def die(trainer):
        if trainer.iter == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    assert forked(lambda: trained(cfg, step=die)) == -signal.SIGKILL
    assert trained(cfg, resume=True).start_step == 3
    assert_same(cfg.OUTPUT_DIR, whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_step_end_and_saves(recipe_of, whole, number):
    cfg = recipe_of()
    before = signal.getsignal(number)

    def ask(trainer):
        if trainer.iter == 2:
            os.kill(os.getpid(), number)

    with pytest.raises(RunError, match="after 3 of 6 steps.*--resume"):
        trained(cfg, step=ask)
    assert signal.getsignal(number) == before
    assert trained(cfg, resume=True).start_step == 3
    assert_same(cfg.OUTPUT_DIR, whole)


def test_a_run_stopped_after_the_last_step_of_an_epoch_still_ends_that_epoch(recipe_of, tests_on):
    cfg = recipe_of(DATASETS__TESTS=tests_on, TEST__EVAL_PERIOD=1)
    epochs = []

    class Evaluated(Trainer):
        @classmethod
        def test(cls, cfg, model):
            epochs.append(1)
            return {"metric": 1.0}

        def run_step(self):
            if self.iter == 2 and not self.start_step:
                os.kill(os.getpid(), signal.SIGTERM)
            super().run_step()

    with pytest.raises(RunError):
        Evaluated(cfg).train()
    assert not epochs
    trainer = Evaluated(cfg)
    trainer.resume_or_load()
    trainer.train()
    assert (trainer.start_epoch, trainer.start_step, len(epochs)) == (0, 3, 2)


def test_the_best_score_survives_a_kill_and_a_worse_model_does_not_replace_the_best(
    recipe_of, tests_on
):
    scores = iter([0.9, 0.2, 0.5])

    class Scored(Trainer):
        @classmethod
        def test(cls, cfg, model):
            return {"metric": next(scores)}

    cfg = recipe_of(DATASETS__TESTS=tests_on, TEST__EVAL_PERIOD=1, SOLVER__MAX_EPOCH=1)
    Scored(cfg).train()
    trainer = Scored(recipe_of(DATASETS__TESTS=tests_on, TEST__EVAL_PERIOD=1, SOLVER__MAX_EPOCH=3))
    trainer.resume_or_load()
    assert trainer.train() == {"metric": 0.5}
    best = json.loads((pathlib.Path(cfg.OUTPUT_DIR) / "model_best.json").read_text())
    assert (best["metric"], best["epoch"], trainer.best) == (0.9, 1, 0.9)


def test_resuming_a_finished_run_trains_nothing_and_gives_its_results(recipe_of, tests_on):
    cfg = recipe_of(DATASETS__TESTS=tests_on)

    class Scored(Trainer):
        @classmethod
        def test(cls, cfg, model):
            return {"metric": 0.7}

    Scored(cfg).train()

    def never(trainer):
        raise AssertionError

    again = Trainer(cfg)
    again.run_step = never
    again.resume_or_load()
    assert again.train() == {"metric": 0.7}


def test_a_damaged_newest_checkpoint_is_told_and_the_one_before_it_is_taken(
    recipe_of, whole, caplog
):
    cfg = recipe_of(SOLVER__MAX_EPOCH=1, SEEK__CHECKPOINT_MINUTES=EVERY_STEP)
    with pytest.raises(RunError):
        trained(
            cfg, step=lambda trainer: trainer.iter == 2 and os.kill(os.getpid(), signal.SIGTERM)
        )
    newest = pathlib.Path(cfg.OUTPUT_DIR) / "model_step_00000003.state.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    trainer = Trainer(recipe_of())
    told = []
    trainer.checkpointer.logger = type(
        "Log",
        (),
        {
            "warning": lambda self, *text: told.append(text[0] % text[1:]),
            "info": lambda self, *text: None,
        },
    )()
    trainer.resume_or_load()
    assert trainer.start_step == 2
    assert (
        "model_step_00000003.state.pt was changed" in told[0] and "model_step_00000002" in told[0]
    )


def test_when_every_checkpoint_is_damaged_the_run_says_so_for_each(recipe_of):
    cfg = recipe_of(SOLVER__MAX_EPOCH=1)
    trained(cfg)
    (pathlib.Path(cfg.OUTPUT_DIR) / "model_final.safetensors").write_bytes(b"")
    with pytest.raises(ArtefactError, match="model_final.safetensors has 0 bytes"):
        Trainer(cfg).resume_or_load()


def test_other_classes_or_another_number_of_steps_cannot_be_resumed(recipe_of):
    trained(recipe_of(SOLVER__MAX_EPOCH=1))
    with pytest.raises(ArtefactError, match="3 steps an epoch, now there are 6"):
        Trainer(recipe_of(SOLVER__IMS_PER_BATCH=6)).resume_or_load()


def test_changed_settings_are_named_on_resume(recipe_of):
    from fastseek.training.class_index import changed_settings

    old, new = recipe_of(), recipe_of(SOLVER__BASE_LR=0.1, SEEK__TEST=["resize(40)"])
    assert changed_settings(old.dump(), new.dump()) == [
        "SEEK.TEST: ['resize(32)'] -> ['resize(40)']",
        "SOLVER.BASE_LR: 0.003 -> 0.1",
    ]


def test_only_the_newest_checkpoints_stay_beside_the_best_and_the_final(recipe_of):
    cfg = recipe_of(SOLVER__MAX_EPOCH=5, SEEK__KEEP_CHECKPOINTS=2)
    trained(cfg)
    names = [name for name, _ in checkpoint_manifest.newest_first(pathlib.Path(cfg.OUTPUT_DIR))]
    assert names == ["model_final", "model_0003", "model_0002"]
    assert (pathlib.Path(cfg.OUTPUT_DIR) / checkpoint.TAG).read_text() == "model_final.safetensors"


def test_the_same_seed_gives_the_same_run_and_another_seed_another(recipe_of, tmp_path):
    runs = [
        trained(
            recipe_of(OUTPUT_DIR=str(tmp_path / name), SEED=seed, SOLVER__MAX_EPOCH=1)
        ).cfg.OUTPUT_DIR
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    ]
    assert losses(runs[0]) == losses(runs[1]) != losses(runs[2])


def evaluated(scores, seen=None):
    """A trainer whose evaluations draw random numbers and give the next score, or raise it."""

    class Scored(Trainer):
        @classmethod
        def test(cls, cfg, model):
            torch.rand(5)
            score = next(scores)
            if seen is not None:
                seen.append(score)
            if isinstance(score, Exception):
                raise score
            return {"metric": score, "another": 1.0}

    return Scored


def test_an_evaluation_that_fails_costs_no_epoch_and_is_made_up_for_on_resume(
    recipe_of, tests_on, whole
):
    cfg = recipe_of(DATASETS__TESTS=tests_on)
    with pytest.raises(DataError):
        evaluated(iter([DataError("a query photo cannot be read")]))(cfg).train()
    folder, scores = pathlib.Path(cfg.OUTPUT_DIR), []
    assert checkpoint_manifest.fault(folder, "model_final") is None
    assert (folder / checkpoint.TAG).read_text() == "model_final.safetensors"
    for times in (1, 1):  # the second resume finds nothing left to do
        trainer = evaluated(iter([0.5]), scores)(cfg)
        trainer.resume_or_load()
        assert list(trainer.train().items()) == [("metric", 0.5), ("another", 1.0)]
        assert len(scores) == times and trainer.best == 0.5
    assert_same(cfg.OUTPUT_DIR, whole)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["iteration"], line["epoch"]) for line in lines if "metric" in line] == [(5, 1)]


def test_a_failed_evaluation_between_epochs_changes_nothing_but_the_time_it_takes(
    recipe_of, tests_on, tmp_path
):
    keys = {"DATASETS__TESTS": tests_on, "TEST__EVAL_PERIOD": 1}
    straight = recipe_of(OUTPUT_DIR=str(tmp_path / "straight"), **keys)
    evaluated(iter([0.5, 0.4]))(straight).train()
    cfg = recipe_of(**keys)
    with pytest.raises(DataError):
        evaluated(iter([DataError("no")]))(cfg).train()
    trainer = evaluated(iter([0.5, 0.4]))(cfg)
    trainer.resume_or_load()
    trainer.train()
    assert (trainer.start_step, trainer.best) == (3, 0.5)
    assert_same(cfg.OUTPUT_DIR, straight.OUTPUT_DIR)
    best = json.loads((pathlib.Path(cfg.OUTPUT_DIR) / "model_best.json").read_text())
    assert (best["metric"], best["epoch"], best["step"]) == (0.5, 1, 3)


@pytest.mark.parametrize("kind", ["CosineAnnealingLR", "MultiStepLR"])
def test_F04_a_run_that_goes_on_longer_has_the_rates_of_the_longer_recipe(
    recipe_of, tmp_path, kind
):
    schedule = {"SOLVER__SCHED": kind, "SOLVER__STEPS": [2, 3]}
    longer = {**schedule, "SOLVER__MAX_EPOCH": 4}
    whole = trained(recipe_of(OUTPUT_DIR=str(tmp_path / "whole"), **longer)).cfg.OUTPUT_DIR
    short = recipe_of(SOLVER__MAX_EPOCH=2, **schedule)
    trained(short)
    resumed = trained(recipe_of(**longer), resume=True)
    assert resumed.start_step == 6
    rates, expected = (
        [rate for step, (_, rate) in sorted(losses(folder).items()) if step >= 6]
        for folder in (short.OUTPUT_DIR, whole)
    )
    assert rates == expected and len(rates) == 6
    assert sorted(expected, reverse=True) == expected != [expected[0]] * 6


def test_F04_a_resumed_optimizer_has_the_settings_of_the_recipe_and_the_memory_of_the_run(
    recipe_of,
):
    first = trained(recipe_of(SOLVER__OPT="SGD", SOLVER__MAX_EPOCH=1))
    changed = {"SOLVER__MOMENTUM": 0.5, "SOLVER__WEIGHT_DECAY": 0.25, "SOLVER__BASE_LR": 0.02}
    again = Trainer(recipe_of(SOLVER__OPT="SGD", SOLVER__MAX_EPOCH=2, **changed))
    again.resume_or_load()
    for group in again.optimizer.param_groups:
        assert group["momentum"] == 0.5 and group["weight_decay"] in (0.25, 0.0005)
        assert group["lr"] == 0.02
    memories = [
        {
            name: one.optimizer.state[parameter]["momentum_buffer"]
            for name, parameter in one.model.named_parameters()
        }
        for one in (first, again)
    ]
    assert len(first.optimizer.param_groups) != len(again.optimizer.param_groups)
    assert all(torch.equal(memory, memories[1][name]) for name, memory in memories[0].items())


def test_F04_what_cannot_go_on_smoothly_is_refused_by_name(recipe_of):
    from fastreid.solver import build_lr_scheduler

    class Own(Trainer):
        """Its schedules are torch's, which come back with the end they were made for."""

        @classmethod
        def build_lr_scheduler(cls, cfg, optimizer, iters_per_epoch):
            return build_lr_scheduler(cfg, optimizer, iters_per_epoch)

    cfg = recipe_of(SOLVER__MAX_EPOCH=1)
    Own(cfg).train()
    with pytest.raises(ArtefactError, match="SOLVER.MAX_EPOCH 1 -> 2"):
        Own(recipe_of(SOLVER__MAX_EPOCH=2)).resume_or_load()
    Own(cfg).resume_or_load()
    with pytest.raises(ArtefactError, match="SOLVER.OPT Adam -> SGD"):
        Trainer(recipe_of(SOLVER__OPT="SGD", SOLVER__MAX_EPOCH=2)).resume_or_load()
    state = pathlib.Path(cfg.OUTPUT_DIR) / "model_final.state.pt"
    old = torch.load(state, weights_only=True)
    del old["optimizer"]["names"], old["optimizer"]["param_groups"][0]
    torch.save(old, state)
    checkpoint_manifest.write(state.parent, "model_final", [".safetensors", ".state.pt"], {})
    with pytest.raises(ArtefactError, match="its state of optimizer does not fit this recipe"):
        Trainer(recipe_of(SOLVER__MAX_EPOCH=2)).resume_or_load()


def in_group(work):
    """Do the work in a group of processes of its own, so that it can be signalled as a whole."""

    def alone():
        os.setpgid(0, 0)
        work()

    return alone


def test_F21_sigterm_to_the_whole_group_saves_although_the_workers_hear_it_too(
    recipe_of, whole, forked
):
    cfg = recipe_of(DATALOADER__NUM_WORKERS=2)

    def ask(trainer):
        if trainer.iter == 1:
            os.killpg(0, signal.SIGTERM)
            os.killpg(0, signal.SIGTERM)  # as a launcher passes it on

    def stopped():
        with pytest.raises(StoppedError, match="stopped by SIGTERM after 2 of 6 steps"):
            trained(cfg, step=ask)

    assert forked(in_group(stopped)) == 0
    assert trained(cfg, resume=True).start_step == 2
    assert_same(cfg.OUTPUT_DIR, whole)


def test_F21_who_is_stopped_is_told_what_the_command_accepts(recipe_of):
    trainer = Trainer(recipe_of(), advice="run the same command again")
    trainer.register_hooks([])
    run = trainer.run_step

    def ask():
        os.kill(os.getpid(), signal.SIGINT)
        run()

    trainer.run_step = ask
    with pytest.raises(StoppedError, match="run the same command again") as told:
        trainer.train()
    assert "--resume" not in str(told.value) and told.value.exit_code == 75


def test_F63_a_killed_loader_worker_is_named_and_what_was_trained_is_saved(recipe_of, whole):
    cfg = recipe_of(DATALOADER__NUM_WORKERS=1)

    def shoot(trainer):
        if trainer.iter == 2:
            worker = multiprocessing.active_children()[0]
            os.kill(worker.pid, signal.SIGKILL)

    with pytest.raises(RunError) as told:
        trained(cfg, step=shoot)
    text = str(told.value)
    assert "a loader worker (pid" in text and "NUM_WORKERS" in text and "\n" not in text
    step = int(re.search(r"All (\d+) steps are saved in .*--resume", text)[1])
    assert 2 <= step < 6
    assert trained(recipe_of(), resume=True).start_step == step
    assert_same(cfg.OUTPUT_DIR, whole)


def test_F63_a_worker_that_dies_raises_where_the_next_batch_is_taken_and_nowhere_else(recipe_of):
    trainer = Trainer(recipe_of(DATALOADER__NUM_WORKERS=1))
    before = signal.getsignal(signal.SIGCHLD)
    batches = iter(trainer.data_loader)
    next(batches)
    assert signal.getsignal(signal.SIGCHLD) == before
    worker = multiprocessing.active_children()[0]
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    with pytest.raises(RunError, match="a loader worker"):
        for _ in range(9):
            next(batches)
