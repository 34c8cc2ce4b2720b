"""Protocols: what they ask, what is right, and which figures."""

import dataclasses

import numpy as np
import pytest

from fastseek.errors import ArtefactError, DataError
from fastseek.metrics import evaluate
from fastseek.metrics._paired import gain
from fastseek.protocols import protocol_of, tasks_of
from fastseek.registry import METRICS, PROTOCOLS, build, read_docstrings
from fastseek.structures import GroundTruth, Item, Ranking, Score, Task, describe_protocol

EXAMPLES = [doc.example for doc in read_docstrings(PROTOCOLS).values()]


def made_up():
    """Forty images of all splits that know all that any protocol reads."""
    splits = ["train", "query", "gallery", "test", "distractor"]
    return [
        Item(
            f"{number}.png",
            "" if number % 5 == 4 else str(number // 5 % 2),
            f"c{number // 10}",
            splits[number % 5],
            meta={"domain": "ab"[number // 5 % 2], "utm_east": float(number), "utm_north": 0.0},
        )
        for number in range(40)
    ]


@dataclasses.dataclass
class Asked:
    items: list
    protocol: str = ""


@pytest.mark.parametrize("call", EXAMPLES)
def test_every_protocol_makes_tasks_that_can_be_scored_and_changes_nothing(call):
    items, before = made_up(), made_up()
    part = build(call, PROTOCOLS)
    tasks, again = part.tasks(items), build(call, PROTOCOLS).tasks(items)
    assert items == before and tasks
    assert len({task.name for task in tasks}) == len(tasks)
    for task, same in zip(tasks, again, strict=True):
        assert isinstance(task, Task) and task.truth.protocol["definition"]
        assert task.protocol.startswith(call.partition("(")[0]) and 1 <= task.depth <= len(
            task.gallery
        )
        assert [item.id for item in task.queries] == task.truth.query_ids.tolist()
        assert [item.id for item in task.gallery] == task.truth.gallery_ids.tolist()
        assert task.truth.fingerprint() == same.truth.fingerprint()
        assert not {item.split for item in [*task.queries, *task.gallery]} & {"train"}
        for metric in task.metrics:
            build(metric, METRICS)


@pytest.mark.parametrize("call", EXAMPLES)
def test_every_protocol_refuses_images_it_can_ask_nothing_of(call):
    with pytest.raises(DataError, match="split"):
        build(call, PROTOCOLS).tasks([Item("a.png", "a"), Item("b.png", "a")])


def test_a_data_set_names_its_protocol_or_its_splits_suggest_one():
    some = [Item("a", "x", split="query"), Item("b", "x", split="gallery")]
    tests = [Item("a", "x", split="test"), Item("b", "x", split="test")]
    assert protocol_of(Asked(some)) == "query_gallery()"
    assert protocol_of(Asked(tests)) == "leave_one_out()"
    assert tasks_of(Asked(tests))[0].protocol == "leave_one_out(split='test')"
    chosen = tasks_of(Asked(some, "query_gallery(camera=False)"))[0]
    assert chosen.protocol == "query_gallery(camera=False)"
    with pytest.raises(DataError, match="its splits are query"):
        tasks_of(Asked(some[:1]))


def test_a_data_set_with_a_truth_of_its_own_makes_its_tasks():
    class Own:
        def __init__(self, names):
            self.names = names

        def tasks(self):
            made = tasks_of(Asked(made_up(), "leave_one_out()"))[0]
            return [dataclasses.replace(made, name=name) for name in self.names]

    assert [task.name for task in tasks_of(Own(["easy", "hard"]))] == ["easy", "hard"]
    with pytest.raises(DataError, match="names differ"):
        tasks_of(Own(["easy", "easy"]))


def test_junk_is_left_out_of_the_gallery_and_distractors_answer_nothing():
    items = [
        Item("q", "x", "c1", "query"),
        Item("same", "x", "c1", "gallery"),
        Item("other", "x", "c2", "gallery"),
        Item("far", "", "c3", "distractor"),
        Item("bad", "x", "c2", "gallery", meta={"junk": True}),
    ]
    task = tasks_of(Asked(items))[0]
    assert task.truth.gallery_ids.tolist() == ["same", "other", "far"]
    assert task.truth.relevant_to(0).tolist() == [1] and task.truth.junk_of(0).tolist() == [0]
    free = tasks_of(Asked(items), "query_gallery(camera=False)")[0]
    assert free.truth.relevant_to(0).tolist() == [0, 1]


def test_a_task_refuses_what_does_not_fit():
    task = tasks_of(Asked(made_up(), "leave_one_out()"))[0]
    nameless = GroundTruth.from_items(task.queries, task.gallery)
    for change, said in (
        ({"queries": task.queries[::-1]}, "order"),
        ({"gallery": task.gallery[:-1]}, "images"),
        ({"truth": nameless}, "no protocol"),
        ({"metrics": ()}, "metrics"),
        ({"averages": ("days",)}, "averages"),
    ):
        with pytest.raises(DataError, match=said):
            dataclasses.replace(task, **change)


def test_a_truth_of_lists_is_what_the_lists_say():
    from fastseek.structures.ground_truth import LabeledSide

    sides = LabeledSide(["q"], [""]), LabeledSide(list("abc"), [""] * 3)
    truth = GroundTruth.from_lists(*sides, [[2, 0]], [[1]])
    assert truth.relevant_to(0).tolist() == [0, 2] and truth.junk_of(0).tolist() == [1]
    assert not len(GroundTruth.from_lists(*sides, [np.array([1])]).junk)
    assert describe_protocol(truth.protocol) == ["right: listed; junk: listed"]


def test_scores_tell_their_protocol_and_those_of_two_refuse_to_be_compared():
    def scored(call):
        task = tasks_of(Asked(made_up(), call))[0]
        order = np.tile(np.arange(len(task.gallery)), (len(task.queries), 1))
        ids = task.truth.query_ids, task.truth.gallery_ids
        ranking = Ranking(*ids, order, -order.astype(np.float32))
        return evaluate(ranking, task.truth, ["recall(1)"])[0]

    free, camera = (scored(f"query_gallery(camera={camera})") for camera in (False, True))
    assert describe_protocol(free.protocol)[0].startswith("protocol query_gallery(camera=False): q")
    assert free.to_json()["protocol"]["protocol"] == "query_gallery(camera=False)"
    assert gain(free, free).value == 0
    with pytest.raises(ArtefactError, match=r"camera=False.*camera=True"):
        gain(free, camera)
    easy, hard = (
        Score("m", 0.5, None, {"protocol": "revisited", "task": task}) for task in ("easy", "hard")
    )
    with pytest.raises(ArtefactError, match="revisited, easy.*revisited, hard"):
        gain(easy, hard)
    assert gain(Score("m", 0.5), hard).value == 0
