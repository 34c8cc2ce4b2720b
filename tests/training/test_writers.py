import json
import logging

from fastseek.training.writers import JsonLines, Progress

from fastreid.utils.events import EventStorage


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
        progress = Progress(0, 10, 2, every=0)
        storage.epoch = 0
        storage.put_scalars(total_loss=3.0, loss_b=1.0, loss_a=2.0, data_time=0.5)
        storage.put_scalar("lr", 0.01, smoothing_hint=False)
        progress.write()
        progress.close()
    assert "epoch 1/2  step 1/10  eta " in caplog.text
    assert caplog.text.strip().endswith("total_loss 3  loss_a 2  loss_b 1  lr 1.00e-02  data 0.500")
