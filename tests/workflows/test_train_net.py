"""The command itself, as a user starts it."""

import json
import os
import pathlib
import signal
import socket
import time

import pytest

import processes
from fastseek.errors import RunError, UsageError
from fastseek.training import results

RECIPE = """
PLUGINS: ["fastseek"]
MODEL: {{META_ARCHITECTURE: Seeker, DEVICE: cpu}}
DATASETS:
  NAMES: ("folder('{photos}')",)
  TESTS: ("folder('{photos}')",)
SOLVER: {{OPT: SGD, IMS_PER_BATCH: 12, MAX_EPOCH: 2, BASE_LR: 0.01, WARMUP_ITERS: 2}}
DATALOADER: {{NUM_WORKERS: 0}}
SEEK:
  BACKBONE: "timm(name='test_efficientnet', stages=(4,), bn_eval=True)"
  BRANCHES: ["gem(dim=32)"]
  LOSSES: ["cross_entropy(on='gem')"]
  TRAIN: ["resize(32)", "hflip(0.5)"]
  TEST: ["resize(32)"]
  METRICS: ["recall(1)", "map(10)"]
"""


@pytest.fixture
def recipe(tmp_path, photos):
    (tmp_path / "toy.yml").write_text(RECIPE.format(photos=photos))
    return str(tmp_path / "toy.yml")


def start(*args, **options):
    env = {name: value for name, value in os.environ.items() if name != "RANK"}
    env |= options.pop("env", {})
    return processes.start("train_net.py", *args, env=env, forks=True, **options)


def finished(process):
    process.wait(timeout=1800)
    return process.returncode, process.stdout, process.stderr


def torchrun(*args):
    """Two processes with what torchrun tells its processes; test_docs runs torchrun itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    told = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    told |= {"MASTER_PORT": port}
    return [start(*args, env={**told, "RANK": rank, "LOCAL_RANK": rank}) for rank in "01"]


def told(folder):
    return json.loads((pathlib.Path(folder) / "results.json").read_text())


@pytest.mark.slow
def test_torchrun_with_two_processes_gives_the_results_of_one(recipe, tmp_path):
    one = start("--config-file", recipe, "OUTPUT_DIR", str(tmp_path / "one"))
    assert finished(one)[0] == 0
    for process in torchrun("--config-file", recipe, "OUTPUT_DIR", str(tmp_path / "two")):
        code, _, err = finished(process)
        assert code == 0, err
    first, second = told(tmp_path / "one"), told(tmp_path / "two")
    assert first["metrics"] == pytest.approx(second["metrics"], abs=1e-4)
    assert set(first["metrics"]) == {"recall(1)", "map(10)"} and first["seed"] == 0
    log = (tmp_path / "two" / "log.txt").read_text()
    assert "process 1 of 2" in log


@pytest.mark.slow
@pytest.mark.parametrize("count", ["1", "2"])
def test_sigterm_saves_ends_with_code_75_and_one_process_can_go_on(recipe, tmp_path, count):
    out = tmp_path / "out"
    process = start(
        "--config-file",
        recipe,
        "--num-gpus",
        count,
        "OUTPUT_DIR",
        str(out),
        "SOLVER.MAX_EPOCH",
        "400",
    )
    while (
        not (out / "metrics.jsonl").exists()
        or not (out / "metrics.jsonl").read_text().count("\n") > 2
    ):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    code, _, err = finished(process)
    assert code == 75
    assert err.splitlines()[-1].startswith("error: stopped by SIGTERM")
    assert "run the same command with --resume" in err and "Traceback" not in err
    step = json.loads(
        (out / f"{(out / 'last_checkpoint').read_text().split('.')[0]}.json").read_text()
    )["step"]
    code, text, err = finished(
        start(
            "--config-file",
            recipe,
            "--resume",
            "OUTPUT_DIR",
            str(out),
            "SOLVER.MAX_EPOCH",
            str(step // 3 + 1),
        )
    )
    assert code == 0, err
    assert f" epochs, {step} steps" in text


def test_a_wrong_option_ends_with_code_2_in_one_line(recipe, tmp_path):
    code, _, err = finished(
        start("--config-file", recipe, "SOLVER.SHED", "x", "OUTPUT_DIR", str(tmp_path))
    )
    assert code == 2
    assert len(err.splitlines()) == 1 and "SOLVER.SHED" in err


def test_expectations_are_compared_in_percent_and_every_miss_is_told():
    found = {"map(100)": 61.6, "other": {"mAP": 40.0}}
    results.check(["map(100) 61.2 +- 0.5", "other/mAP 40 ± 0"], found)
    with pytest.raises(RunError) as error:
        results.check(["map(100) 61.2 +- 0.3", "recall(1, 10) 5 +- 1"], found)
    assert "map(100) is 61.60, expected 61.2 +- 0.3" in str(error.value)
    assert "recall(1, 10) was not measured" in str(error.value)
    with pytest.raises(UsageError, match=r"'map\(100\) > 3': expected"):
        results.check(["map(100) > 3"], found)


def test_a_figure_that_is_not_a_number_meets_no_expectation():
    with pytest.raises(RunError):
        results.check(["mAP 1 +- 100"], {"mAP": float("nan")})
