import json
import logging
import re
from types import SimpleNamespace

import pytest

from fastseek.training import run_setup, writers
from fastseek.training.writers import JsonLines, Progress, TensorBoard, WriterHook

from fastreid.utils.events import EventStorage, EventWriter


def written(path, start, steps, evaluation=None):
    writer = JsonLines(path, start)
    with EventStorage(start) as storage:
        storage.epoch = 0
        for storage.iter in range(start, steps):
            storage.put_scalars(total_loss=storage.iter / 10, loss_a=1.0)
            writer.write()
        if evaluation is not None:
            storage.put_scalar("metric", evaluation, smoothing_hint=False)
        writer.write()
    writer.close()
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_step_has_one_line_and_an_evaluation_one_more(tmp_path):
    lines = written(tmp_path / "m.jsonl", 0, 3, evaluation=5.0)
    assert [line["iteration"] for line in lines] == [0, 1, 2, 2]
    assert [line.get("total_loss") for line in lines] == [0.0, 0.1, 0.2, None]
    assert lines[-1] == {"iteration": 2, "epoch": 0, "metric": 5.0}


def test_a_resumed_run_replaces_the_lines_it_repeats_and_a_torn_one(tmp_path):
    path = tmp_path / "m.jsonl"
    written(path, 0, 5)
    with open(path, "a") as file:
        file.write('{"iteration": 4, "tot')
    lines = written(path, 3, 6)
    assert [line["iteration"] for line in lines] == list(range(6))


def test_what_is_no_number_is_left_out_of_the_json(tmp_path):
    writer = JsonLines(tmp_path / "m.jsonl")
    with EventStorage() as storage:
        storage.put_scalars(total_loss=float("nan"), lr=0.1)
        writer.write()
    writer.close()
    assert json.loads((tmp_path / "m.jsonl").read_text()) == {"iteration": 0, "epoch": 0, "lr": 0.1}


def test_a_pipe_gets_a_line_with_all_losses_the_rate_and_the_time_left(caplog, monkeypatch):
    log = logging.getLogger("fastreid.fastseek")
    monkeypatch.setattr(logging.getLogger("fastreid"), "propagate", True)
    with caplog.at_level(logging.INFO, logger=log.name), EventStorage() as storage:
        progress = Progress(0, 10, 2, 12, every=0)
        storage.epoch = 0
        storage.put_scalars(total_loss=3.0, loss_b=1.0, loss_a=2.0, data_time=0.5)
        storage.put_scalar("lr", 0.01, smoothing_hint=False)
        progress.write()
        progress.close()
    assert re.search(
        r"epoch 1/2  12/120 images  \d+\.\d images/s  eta .*  step 1/10  ", caplog.text
    )
    assert caplog.text.strip().endswith("total_loss 3  loss_a 2  loss_b 1  lr 1.00e-02  data 0.500")


class Full(EventWriter):
    """A writer on a full disk."""

    name = "figures.txt"

    def __init__(self):
        self.calls = 0

    def write(self):
        self.calls += 1
        raise OSError(28, "No space left on device")

    def close(self):
        raise OSError(28, "No space left on device")


@pytest.fixture
def told(monkeypatch):
    """The lines that the writers log."""
    lines = []

    def note(text, *values):
        lines.append(text % values)

    monkeypatch.setattr(writers, "logger", SimpleNamespace(info=note, warning=note))
    return lines


def test_F65_a_writer_without_room_is_named_once_and_the_training_and_the_others_go_on(
    tmp_path, told
):
    full, lines = Full(), JsonLines(tmp_path / "m.jsonl")
    hook = WriterHook(lambda: [full, lines])
    hook.trainer = SimpleNamespace(iter=0)
    with EventStorage() as storage:
        storage.epoch = 0
        hook.before_train()
        for storage.iter in range(3):
            storage.put_scalars(total_loss=1.0)
            hook.after_step()
        hook.after_train()
    assert full.calls == 1 and len((tmp_path / "m.jsonl").read_text().splitlines()) == 3
    assert len(told) == 1
    assert told[0].startswith("figures.txt: figures from step 1 on are not written (No space")


def test_F65_tensorboard_and_json_lines_fail_as_writers_do(tmp_path):
    lines, board = JsonLines(tmp_path / "m.jsonl"), TensorBoard(tmp_path / "tb")
    assert "m.jsonl" in lines.name and "TensorBoard" in board.name
    lines._file.close()
    lines._file = open("/dev/full", "w", buffering=1)
    with EventStorage() as storage:
        storage.epoch = 0
        storage.put_scalars(total_loss=1.0)
        with pytest.raises(OSError):
            lines.write()
    board.close()


def test_F65_a_log_without_room_says_so_in_one_line(tmp_path, capsys):
    run_setup.start_log(str(tmp_path / "out"))
    log = logging.getLogger("fastreid.fastseek")
    for handler in logging.getLogger("fastreid").handlers:
        if isinstance(handler, logging.StreamHandler) and hasattr(handler.stream, "name"):
            if "log.txt" in str(handler.stream.name):
                handler.stream = open("/dev/full", "w", buffering=1)
    log.info("one")
    log.info("two")
    told = capsys.readouterr().err
    assert told.count("cannot be written") == 1 and "Traceback" not in told


def test_F40_the_last_line_of_an_epoch_is_told_once(told):
    with EventStorage() as storage:
        progress = Progress(0, 4, 2, 12, every=0)
        for storage.iter in range(4):
            storage.epoch = storage.iter // 2
            storage.put_scalars(total_loss=3.0)
            progress.write()
            if storage.iter % 2:
                progress.write()  # the end of an epoch
        progress.close()
    steps = [line.split("step ")[1].split("/")[0] for line in told]
    assert steps == ["1", "2", "3", "4"]
