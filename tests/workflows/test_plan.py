"""Step-wise training."""

import json
import os
import pathlib
import signal

import pytest
import torch
from safetensors.torch import load_file

import processes
from fastseek.errors import DataError, RunError, UsageError
from fastseek.training.trainer import Trainer
from fastseek.workflows import check_recipe
from fastseek.workflows.plan import run as plans
from fastseek.workflows.plan import spec as plan_file

ROOT = pathlib.Path(__file__).parents[2]
RECIPE = """
PLUGINS: ["fastseek"]
MODEL: {{META_ARCHITECTURE: Seeker, DEVICE: cpu}}
DATASETS:
  NAMES: ("folder('{photos}')",)
  TESTS: []
SOLVER: {{OPT: SGD, IMS_PER_BATCH: 6, MAX_EPOCH: 2, BASE_LR: 0.01, WARMUP_ITERS: 0}}
DATALOADER: {{NUM_WORKERS: 0}}
SEEK:
  BACKBONE: "timm(name='test_efficientnet', stages=(4,))"
  BRANCHES: ["gem(dim=16)"]
  LOSSES: ["cross_entropy(on='gem')"]
  TRAIN: ["resize(32)", "hflip(0.5)"]
  TEST: ["resize(32)"]
  METRICS: ["recall(1)"]
"""
PLAN = """
NAME: toy
RECIPE: toy.yml
STEPS:
  - NAME: small
    SET: {SOLVER.MAX_EPOCH: 1}
    NOTE: as published
  - NAME: large
    SET:
      SOLVER: {BASE_LR: 0.002, MAX_EPOCH: 3}
      SEEK: {TRAIN: ["resize(40)"], ACCUMULATE: 2, STOP_AT: 2, FREEZE: ["blocks(0)"]}
"""


@pytest.fixture
def home(tmp_path, photos):
    """A folder with a recipe and a plan of two steps."""
    (tmp_path / "toy.yml").write_text(RECIPE.format(photos=photos))
    (tmp_path / "plan.yml").write_text(PLAN)
    return tmp_path


def run(home, out="out", opts=(), plan="plan.yml"):
    return plans.run_plan(home / plan, home / out, opts)


def book(home, out="out"):
    return json.loads((home / out / "plan.json").read_text())


def weights(home, step, out="out", name="model_final"):
    # copied, because what safetensors gives is mapped from a file that a test may write to
    return {
        key: value.clone()
        for key, value in load_file(home / out / step / f"{name}.safetensors").items()
    }


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def losses(home, step, out="out"):
    lines = [
        json.loads(line) for line in (home / out / step / "metrics.jsonl").read_text().splitlines()
    ]
    return [
        (line["iteration"], line["total_loss"], line["lr"])
        for line in lines
        if "total_loss" in line
    ]


def test_steps_run_in_order_each_from_the_weights_of_the_one_before(home):
    """landmark row 34."""
    made = run(home)
    folder = home / "out" / "large"
    assert made == plans.Trained(folder / "model_final.safetensors", folder / "config.yaml")
    first, last = weights(home, "small"), weights(home, "large")
    frozen = [
        name
        for name in first
        if name.startswith(("backbone.net.conv_stem", "backbone.net.bn1", "backbone.net.blocks.0."))
    ]
    assert frozen and all(torch.equal(first[name], last[name]) for name in frozen)
    moved = [
        name for name in first if name not in frozen and not torch.equal(first[name], last[name])
    ]
    assert any(name.startswith("branches.") for name in moved) and any(
        name.startswith("losses.") for name in moved
    )
    config = made.config.read_text()
    assert "resize(40)" in config and "BASE_LR: 0.002" in config and "ACCUMULATE: 2" in config
    assert len(losses(home, "small")) == 6 and len(losses(home, "large")) == 12, (
        "stopped after 2 of 3 epochs"
    )
    told = book(home)
    assert [(one["name"], one["state"]) for one in told["steps"]] == [
        ("small", "done"),
        ("large", "done"),
    ]
    assert (
        told["steps"][1]["from"] == told["steps"][0]["weights"] and told["steps"][0]["from"] == ""
    )


def test_finished_steps_are_skipped(home, monkeypatch):
    first = run(home)
    before = {
        path: path.stat().st_mtime_ns for path in (home / "out").glob("*/model_final.safetensors")
    }
    monkeypatch.setattr(plans, "_train", None)
    assert run(home) == first
    assert {path: path.stat().st_mtime_ns for path in before} == before and len(before) == 2


def test_keys_that_only_judge_or_shape_the_answer_train_no_step_anew(home, photos, monkeypatch):
    run(home)
    before, trained = weights(home, "large"), book(home)["steps"][1]["seconds"]
    monkeypatch.setattr(plans, "_train", None)
    tests = ["DATASETS.TESTS", f"(\"folder('{photos}')\",)"]
    run(home, opts=tests)
    results = home / "out" / "large" / "results.json"
    assert set(json.loads(results.read_text())["metrics"]) == {"recall(1)"}
    for opts, wanted in (
        ([*tests, "SEEK.METRICS", "['map(5)']"], {"map(5)"}),
        ([*tests, "SEEK.TEST", "['resize(40)']"], {"recall(1)"}),
    ):
        run(home, opts=opts)
        assert set(json.loads(results.read_text())["metrics"]) == wanted
        assert set(book(home)["steps"][1]["metrics"]) - {"metric"} == wanted
    assert same(before, weights(home, "large"))
    assert book(home)["steps"][1]["seconds"] == trained
    assert "resize(40)" in (home / "out" / "small" / "config.yaml").read_text()
    monkeypatch.setattr(plans, "_judge", None)
    run(home, opts=opts)  # nothing is left to do


def test_a_step_whose_best_is_taken_is_trained_anew_by_other_metrics(tmp_path):
    """They choose which checkpoint is the best."""
    cfg, other = plans.get_cfg(), plans.get_cfg()
    for one, metrics in ((cfg, []), (other, ["map(5)"])):
        plans.register(one)
        one.SEEK.METRICS = metrics
    for best in (False, True):
        kept = plans.training_record(tmp_path, cfg, None, best).inputs
        assert (kept == plans.training_record(tmp_path, other, None, best).inputs) is not best


def test_a_record_that_counts_keys_which_count_no_more_leaves_its_step_finished(home, monkeypatch):
    first = run(home)
    written = book(home)
    for entry in written["steps"]:
        recorded = home / "out" / entry["name"] / "recipe.yml"
        recorded.write_text(recorded.read_text() + "SOLVER.CHECKPOINT_PERIOD: 3\n")
        entry["recipe"] = "of an earlier version"
        (recorded.parent / "training.json").unlink()  # which that version did not write
    (home / "out" / "plan.json").write_text(json.dumps(written))
    with monkeypatch.context() as patch:
        patch.setattr(plans, "_train", None)
        assert run(home) == first
    recorded.write_text(recorded.read_text() + "SOLVER.GAMMA: 0.3\n")
    (recorded.parent / "training.json").unlink()
    run(home)
    assert (home / "out" / "large.old1").is_dir() and not (home / "out" / "small.old1").exists()


@pytest.mark.parametrize("step, number", [("small", 3), ("large", 7)])
def test_a_killed_plan_goes_on_inside_its_step_as_if_nothing_had_happened(
    home, forked, monkeypatch, step, number
):
    """landmark row 36."""
    run(home, "whole")
    real = Trainer.run_step

    def die(trainer):
        if trainer.cfg.OUTPUT_DIR.endswith(step) and trainer.iter == number:
            os.kill(os.getpid(), signal.SIGKILL)
        real(trainer)

    opts = ["SEEK.CHECKPOINT_MINUTES", "1e-9"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_step", die)
        assert forked(lambda: run(home, opts=opts)) == -signal.SIGKILL
    seen = []
    monkeypatch.setattr(
        Trainer, "run_step", lambda trainer: (seen.append(trainer.iter), real(trainer))
    )
    run(home, opts=opts)
    assert seen[0] == (number if step == "small" else 6), (
        "large makes updates of two steps, and 7 is inside one"
    )
    assert len(seen) == (15 if step == "small" else 6)
    for name in ("small", "large"):
        assert same(weights(home, name), weights(home, name, "whole"))
        assert losses(home, name) == losses(home, name, "whole")


def test_a_step_that_has_changed_is_trained_anew_with_those_after_it_and_its_old_folder_stays(
    home, capfd
):
    run(home)
    old = [weights(home, step) for step in ("small", "large")]
    (home / "plan.yml").write_text(
        PLAN.replace("MAX_EPOCH: 1}", "MAX_EPOCH: 1, SOLVER.BASE_LR: 0.02}")
    )
    run(home)
    log = (home / "out" / "log.txt").read_text()
    assert "small is trained anew" in log and "SOLVER.BASE_LR: 0.01 -> 0.02" in log
    assert "large is trained anew" in log and "the weights it starts from are others" in log
    assert same(load_file(home / "out" / "small.old1" / "model_final.safetensors"), old[0])
    assert not same(weights(home, "small"), old[0]) and not same(weights(home, "large"), old[1])
    run(home, "fresh")
    assert same(weights(home, "large"), weights(home, "large", "fresh"))


def test_a_change_in_the_last_step_leaves_the_first_alone_and_how_it_runs_is_no_change(home):
    run(home)
    before = (home / "out" / "small" / "model_final.safetensors").stat().st_mtime_ns
    (home / "plan.yml").write_text(PLAN.replace("BASE_LR: 0.002", "BASE_LR: 0.003"))
    run(
        home,
        opts=["SEEK.KEEP_CHECKPOINTS", "1", "MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0"],
    )
    assert (home / "out" / "small" / "model_final.safetensors").stat().st_mtime_ns == before
    assert (home / "out" / "large.old1").is_dir() and not (home / "out" / "small.old1").exists()


@pytest.mark.parametrize("period", ["1", "100"])
def test_damaged_weights_of_a_finished_step_are_noticed_and_made_again(home, period):
    opts = ["SOLVER.CHECKPOINT_PERIOD", period]
    run(home, opts=opts)
    whole = weights(home, "large")
    path = home / "out" / "large" / "model_final.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    run(home, opts=opts)
    assert same(weights(home, "large"), whole)
    assert (home / "out" / "large.old1").exists() == (period == "100"), (
        "else it goes on from the first epoch"
    )
    assert "not as it was" in (home / "out" / "log.txt").read_text()


def test_pairs_of_the_command_line_hold_in_every_step(home):
    run(home, opts=["SOLVER.MAX_EPOCH", "2", "SEEK.STOP_AT", "1", "SEED", "7"])
    for step in ("small", "large"):
        assert (
            "SEED: 7" in (home / "out" / step / "config.yaml").read_text()
            and len(losses(home, step)) == 6
        )


def test_classes_that_change_between_steps_drop_the_class_weights_and_other_shapes_are_listed(
    home, tmp_path_factory
):
    """landmark row 34: full GLDv2 has 203,094 classes, the next step 81,313."""
    import toy

    more = toy.gallery(tmp_path_factory.mktemp("more"), classes=9, train=4, query=1, size=40)
    (home / "plan.yml").write_text(
        f"""
RECIPE: toy.yml
STEPS:
  - NAME: full
    SET: {{SOLVER.MAX_EPOCH: 1, DATASETS.NAMES: ["folder('{more}')"]}}
  - NAME: clean
    DROP: ["losses."]
    SET: {{SOLVER.MAX_EPOCH: 0}}
  - NAME: listed
    FROM: full
    SET: {{SOLVER.MAX_EPOCH: 1, SEEK.BRANCHES: ["gem(dim=8)"], SEEK.FREEZE: ["backbone"]}}
""".replace("SET: {SOLVER.MAX_EPOCH: 0}", "SET: {SOLVER.MAX_EPOCH: 1, SEEK.FREEZE: [backbone]}")
    )
    run(home)
    told = {
        step: json.loads((home / "out" / step / "taken_over.json").read_text())
        for step in ("clean", "listed")
    }
    assert told["clean"]["dropped"] and all(
        name.startswith("losses.") for name in told["clean"]["dropped"]
    )
    assert (
        told["clean"]["of another shape"] == []
        and told["clean"]["not in the file"] == told["clean"]["dropped"]
    )
    assert any(
        name.startswith("branches.gem") and "(16, " in name and "(8, " in name
        for name in told["listed"]["of another shape"]
    )
    first, last = weights(home, "full"), weights(home, "listed")
    backbone = [
        name for name in first if name.startswith("backbone.") and "num_batches" not in name
    ]
    assert all(torch.equal(first[name], last[name]) for name in backbone)


def test_a_second_stage_trains_a_fresh_classifier_on_balanced_batches_over_a_frozen_backbone(home):
    """finegrained row 87."""
    (home / "plan.yml").write_text("""
RECIPE: toy.yml
SET: {SOLVER.MAX_EPOCH: 1}
STEPS:
  - {NAME: natural, SET: {SEEK.FREEZE: [norms]}}
  - NAME: balanced
    DROP: [losses.]
    SET: {SEEK.FREEZE: [backbone, branches], SEEK.SAMPLER: imbalanced(), SOLVER.BASE_LR: 0.001}
""")
    run(home)
    first, last = weights(home, "natural"), weights(home, "balanced")
    assert {name for name in first if not torch.equal(first[name], last[name])} == {
        name for name in first if name.startswith("losses.")
    }


def test_recipes_check_runs_every_step_of_a_plan_on_made_up_photos(home):
    (home / "plan.yml").write_text(PLAN.replace("NAME: large", "NAME: large\n    STRICT: true"))
    (home / "wrong.yml").write_text(PLAN.replace("NAME: large", "NAME: large\n    DROP: [heads.]"))
    good, bad = check_recipe.check([home / "plan.yml", home / "wrong.yml"])
    assert not good.failed and good.summary == "2 steps: small, large"
    assert bad.failed and "'heads.' is in no name" in bad.summary


@pytest.mark.parametrize(
    "flag, changes, told",
    [
        ("STRICT: true", 'SEEK.BRANCHES: ["gem(dim=8)"]', "does not fit the model"),
        (
            "GROW: true",
            "SEEK.BACKBONE: \"timm(name='test_efficientnet', stages=(3,))\", "
            "SEEK.BRANCHES: [\"gem(on='s3', dim=16)\"]",
            "not in the model",
        ),
        ('DROP: ["heads."]', "SOLVER.BASE_LR: 0.1", "'heads.' is in no name"),
    ],
)
def test_what_must_fit_and_does_not_stops_the_plan_at_that_step(home, flag, changes, told):
    (home / "plan.yml").write_text(f"""
RECIPE: toy.yml
STEPS:
  - {{NAME: one, SET: {{SOLVER.MAX_EPOCH: 1}}}}
  - NAME: two
    {flag}
    SET: {{{changes}}}
""")
    with pytest.raises(Exception, match=told):
        run(home)
    assert book(home)["steps"][0]["state"] == "done"


def test_a_grown_model_keeps_the_weights_it_shares_bit_identical(home):
    """landmark row 23: a stage is added, all else goes on."""
    recipe = (home / "toy.yml").read_text().replace("test_efficientnet", "mobilenetv2_050")
    (home / "toy.yml").write_text(recipe)
    (home / "plan.yml").write_text("""
RECIPE: toy.yml
STEPS:
  - NAME: short
    SET: {SOLVER.MAX_EPOCH: 1, SEEK.BACKBONE: "timm(name='mobilenetv2_050', stages=(3,))",
          SEEK.BRANCHES: ["gem(on='s3', dim=16)"]}
  - NAME: long
    GROW: true
    DROP: [branches., losses.]
    SET: {SOLVER.MAX_EPOCH: 1, SEEK.FREEZE: [blocks(12)]}
""")
    run(home)
    first, last = weights(home, "short"), weights(home, "long")
    shared = [name for name in first if name.startswith("backbone.")]
    assert len(shared) < len([name for name in last if name.startswith("backbone.")])
    kept = [
        name
        for name in shared
        if not name.startswith("backbone.net.blocks.5.")
        and not name.startswith("backbone.net.blocks.4.2")
    ]
    assert kept and all(torch.equal(first[name], last[name]) for name in kept)
    told = json.loads((home / "out" / "long" / "taken_over.json").read_text())
    assert any(name.startswith("backbone.net.blocks.6.") for name in told["not in the file"])


def test_the_best_weights_of_a_step_and_weights_of_a_file_can_be_taken(home, photos):
    run(home)
    (home / "other.yml").write_text(f"""
RECIPE: toy.yml
STEPS:
  - NAME: first
    FROM: out/large/model_final.safetensors
    SET: {{DATASETS.TESTS: ["folder('{photos}')"], TEST.EVAL_PERIOD: 1}}
  - {{NAME: second, TAKE: best, STRICT: true, SET: {{SOLVER.MAX_EPOCH: 1}}}}
""")
    run(home, "best", plan="other.yml")
    one, two = book(home, "best")["steps"]
    manifest = json.loads((home / "best" / "first" / "model_best.json").read_text())
    assert two["from"] == manifest["files"]["model_best.safetensors"]["sha256"]
    assert one["from"] == book(home)["steps"][1]["weights"] and set(one["metrics"]) >= {"recall(1)"}


def test_a_figure_that_is_not_as_expected_is_told_after_the_plan_and_again_on_a_restart(
    home, photos
):
    text = PLAN.replace(
        "{SOLVER.MAX_EPOCH: 1}",
        f"""
      SOLVER.MAX_EPOCH: 1
      DATASETS.TESTS: ["folder('{photos}')"]
      SEEK.EXPECT: ["recall(1) 300 +- 1"]""",
    )
    (home / "plan.yml").write_text(text)
    for _ in range(2):
        with pytest.raises(RunError, match="expected 300"):
            run(home)
    assert [one["state"] for one in book(home)["steps"]] == ["done", "done"]


@pytest.mark.parametrize(
    "text, told",
    [
        ("STEPS: []", "STEPS is missing or empty"),
        ("NAME: a/b\nSTEPS: [{NAME: x}]", ":1: NAME 'a/b'"),
        ("RECIPE: toy.yml\nSTEPS: [{NAME: x, FORM: none}]", ":2: there is no key STEPS.0..FORM"),
        ("RECIPE: toy.yml\nSTEPS:\n  - NAME: x\n  - NAME: x", ":4: NAME 'x'"),
        ("RECIPE: toy.yml\nSTEPS:\n  - {NAME: x, FROM: previous}", ":3: FROM previous"),
        ("RECIPE: toy.yml\nSTEPS:\n  - {NAME: x, FROM: y}", "no earlier step"),
        ("RECIPE: no.yml\nSTEPS:\n  - {NAME: x}", ":1: RECIPE 'no.yml'"),
        (
            "RECIPE: toy.yml\nSTEPS:\n  - NAME: x\n    SET:\n      SOLVER.BASE_LRR: 1",
            ":5: there is no key SOLVER.BASE_LRR",
        ),
        ("RECIPE: toy.yml\nSET: {SEEK.STOP_AT: 9}\nSTEPS: [{NAME: x}]", ":2: SEEK.STOP_AT is 9"),
        (
            "RECIPE: toy.yml\nSET: {OUTPUT_DIR: x}\nSTEPS: [{NAME: x}]",
            ":2: OUTPUT_DIR is the plan's own",
        ),
        (
            "RECIPE: toy.yml\nSTEPS: [{NAME: x, TAKE: last}]",
            r":2: STEPS.0..TAKE must be one of best, final, got 'last'",
        ),
        ("RECIPE: toy.yml\nSTEPS: [{NAME: x, STRICT: true, GROW: true}]", "exclude each other"),
        ("RECIPE: toy.yml\nSTEPS: [{NAME: x, DROP: heads}]", "DROP must be a list"),
        ("RECIPE: toy.yml\nSTEPS: [{NAME: x}, {NAME: y, TAKE: best}]", "has no DATASETS.TESTS"),
        ("RECIPE: toy.yml\nSTEPS: [x]", "a step is a mapping"),
        ('RECIPE: toy.yml\nSET: {SEEK.LOSSES: ["arc(1)"]}\nSTEPS: [{NAME: x}]', ":2: SEEK.LOSSES"),
    ],
)
def test_a_wrong_plan_is_told_with_its_line_before_anything_starts(home, text, told):
    (home / "plan.yml").write_text(text)
    with pytest.raises(UsageError, match=told):
        run(home)
    assert not (home / "out").exists()


def test_a_folder_that_is_no_plans_is_left_alone(home):
    (home / "out").mkdir()
    (home / "out" / "plan.json").write_text("[1]")
    with pytest.raises(DataError, match="not the record of a plan"):
        run(home)
    with pytest.raises(UsageError, match="--out"):
        run(home, opts=["OUTPUT_DIR", "x"])


def test_the_steps_are_told_without_training(home):
    told = plan_file.describe_plan(plan_file.read_plan(home / "plan.yml")).splitlines()
    assert told[0].startswith("toy (") and told[1].split()[:6] == [
        "step",
        "from",
        "size",
        "batch",
        "lr",
        "epochs",
    ]
    assert told[2].split()[:6] == ["small", "none", "resize(32)", "6", "0.01", "1"]
    assert told[3].split()[:10] == [
        "large",
        "small",
        "resize(40)",
        "6",
        "x",
        "2",
        "0.002",
        "2",
        "of",
        "3",
    ]
    assert told[4] == "small: as published"


def command(*args):
    return processes.run("train_net.py", *args, forks=True, timeout=1800)


@pytest.mark.slow
def test_two_processes_train_a_plan_and_one_finds_it_finished(home):
    args = ("--plan", home / "plan.yml", "--out", home / "out")
    done = command(*args, "--num-gpus", "2")
    assert done.returncode == 0, done.stderr
    assert [one["state"] for one in book(home)["steps"]] == ["done", "done"]
    again = command(*args)
    assert again.returncode == 0 and again.stdout.count("is done") == 2, again.stdout + again.stderr


def test_the_command_checks_a_plan_and_refuses_what_belongs_to_recipes(home):
    told = command("--plan", home / "plan.yml", "--check")
    assert told.returncode == 0 and "resize(40)" in told.stdout
    wrong = command("--plan", home / "plan.yml", "--resume")
    assert wrong.returncode == 2 and "goes on by itself" in wrong.stderr
