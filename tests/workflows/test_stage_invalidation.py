"""One law for plan, contest, ablation and self-training: a key that shapes the model always makes
finished work stale, and one that says how it runs never does.

Nothing is trained here: only what the records decide is looked at.
"""

import dataclasses

import pytest

from fastseek import register
from fastseek.config import keys, nested
from fastseek.io import stage_record
from fastseek.structures import Item
from fastseek.workflows.ablation import former
from fastseek.workflows.ablation import train as ablation
from fastseek.workflows.contest import members as contest_members
from fastseek.workflows.contest import run as contest
from fastseek.workflows.contest.spec import MemberSpec, read_contest
from fastseek.workflows.plan import run as plan
from fastseek.workflows.self_training import round as rounds
from fastseek.workflows.self_training.images import ImagePools
from fastseek.workflows.self_training.spec import RoundsPlan, RoundStep, StopSpec, TrainSpec

from fastreid.config import get_cfg

# Keys that name a file: its bytes count, so other tests below look at them.
BY_BYTES = ("MODEL.WEIGHTS",)


def usual():
    cfg = get_cfg()
    register(cfg)
    return cfg


NAMES = [name for name in nested.flatten(usual()) if name not in BY_BYTES]


def change(value):
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list | tuple):
        return [*value, "x"]
    return f"{value or ''}x"


def changed(name, how=change):
    """The usual recipe with another value of one key."""
    cfg = usual()
    *groups, last = name.split(".")
    node = cfg
    for group in groups:
        node = node[group]
    node[last] = how(node[last])
    return cfg


class Plan:
    """A training of a plan."""

    def __init__(self, folder):
        self.folder = folder

    def record(self, cfg, source=None):
        return plan.training_record(self.folder, cfg, source)


class Ablation:
    """An answer of an ablation."""

    def __init__(self, folder):
        self.folder = folder

    def record(self, cfg):
        inputs = ablation.answer_inputs(cfg, "images", "")
        return stage_record.StageRecord(self.folder, inputs, ablation.RECORD, former=("",))


class Contest:
    """The answer of a contest whose only member has weights of its own."""

    def __init__(self, folder):
        self.folder, self.weights = folder, folder / "weights.safetensors"
        self.weights.write_bytes(b"weights")
        path = folder / "contest.yml"
        path.write_text(
            "{TASK: digix, DATA: x, ENSEMBLE: vote(), MEMBERS: [{NAME: a, RECIPE: a.yml}]}"
        )
        self.contest = read_contest(path)

    def record(self, cfg):
        # a changed training has changed weights beside what the recipe says of embedding
        training = plan.training_record(self.folder, cfg, None).inputs
        spec = MemberSpec(name="a", recipe="a.yml")
        one = contest_members.TrainedMember(spec, self.weights, cfg, 0.0)
        answer = contest.describe_answer(self.contest, {"QUERIES": []}, [one.describe()])
        return stage_record.StageRecord(self.folder, {**answer, "trained by": training})


class SelfTraining:
    """A training of a round."""

    def __init__(self, folder):
        self.folder = folder
        images = ImagePools((Item("a.jpg", "a"),), (Item("b.jpg"),), (Item("c.jpg", "a"),), {})
        spec = TrainSpec(name="a", source="none")
        self.step = RoundStep(spec, {"NAME": "a", "DO": "train"}, (), "a.yml", "plan.yml:1")
        whole = RoundsPlan("", "", 0, None, 1, StopSpec(), (), (self.step,))
        self.round = rounds.Round(whole, images, folder, 1, {}, ())

    def record(self, cfg):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rounds.recipe, "load", lambda *args: cfg)
            return stage_record.StageRecord(
                self.folder,
                self.round._inputs(self.step),
                former=(self.round._former_digest(self.step),),
            )


KINDS = (Plan, Ablation, Contest, SelfTraining)


def finished(kind, folder):
    """A stage of some workflow that was finished with the usual recipe."""
    stage = kind(folder)
    record = stage.record(usual())
    files = [folder / name for name in record.needs]
    for file in files:
        file.write_bytes(b"made")
    record.finish(files, {})
    assert stage.record(usual()).is_finished()
    return stage


def names_of(tag):
    return [name for name in NAMES if keys.tag_of(name) == tag]


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_shapes_the_model_always_makes_a_finished_stage_stale(kind, tmp_path):
    stage = finished(kind, tmp_path)
    names = names_of(keys.SHAPES_MODEL)
    kept = [name for name in names if stage.record(changed(name)).is_finished()]
    assert len(names) > 100 and kept == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_says_how_it_runs_never_does(kind, tmp_path):
    stage = finished(kind, tmp_path)
    names = names_of(keys.RUNS)
    stale = {name: stage.record(changed(name)).refusal() for name in names}
    assert len(names) > 8 and {name: why for name, why in stale.items() if why} == {}


@pytest.mark.parametrize("kind", [Ablation, Contest])
def test_a_key_that_shapes_the_answer_makes_the_answer_stale(kind, tmp_path):
    stage = finished(kind, tmp_path)
    names = names_of(keys.SHAPES_ANSWER)
    kept = [name for name in names if stage.record(changed(name)).is_finished()]
    assert len(names) > 10 and kept == []


def test_keys_that_judge_leave_the_answer_of_an_ablation_finished(tmp_path):
    stage = finished(Ablation, tmp_path)
    names = names_of(keys.JUDGES)
    assert names and all(stage.record(changed(name)).is_finished() for name in names)


def test_a_key_nobody_knows_counts_as_one_that_shapes_the_model(tmp_path):
    assert keys.tag_of("MY.PLUGIN") == keys.SHAPES_MODEL
    stage, cfg = finished(Plan, tmp_path), usual()
    cfg.MY_PLUGIN = 3
    assert not stage.record(cfg).is_finished()


def test_of_weights_that_a_training_starts_from_the_bytes_count_and_not_the_name(tmp_path):
    first, moved, other = (tmp_path / name for name in ("a.pth", "b.pth", "c.pth"))
    first.write_bytes(b"one")
    moved.write_bytes(b"one")
    other.write_bytes(b"two")
    stage, cfg = Plan(tmp_path), usual()
    record = stage.record(cfg, first)
    for name in record.needs:
        (tmp_path / name).write_bytes(b"made")
    record.finish([], {})
    assert stage.record(changed("MODEL.WEIGHTS", lambda _: str(moved)), moved).is_finished()
    assert not stage.record(cfg, other).is_finished()


def test_weights_exchanged_under_one_name_make_an_ablation_stale(tmp_path):
    file = tmp_path / "a.pth"
    file.write_bytes(b"one")
    cfg = changed("MODEL.WEIGHTS", lambda _: str(file))
    before = ablation.training_inputs(cfg, "images", "")
    file.write_bytes(b"two")
    assert ablation.training_inputs(cfg, "images", "") != before


def test_weights_exchanged_under_one_name_make_a_contest_stale(tmp_path):
    stage = finished(Contest, tmp_path)
    stage.weights.write_bytes(b"others")
    assert not stage.record(usual()).is_finished()


@pytest.mark.parametrize("change", [{"name": "b"}, {"weight": 2.0}, {"post": ("aqe()",)}])
def test_what_a_contest_says_of_a_member_makes_its_answer_stale(tmp_path, change):
    stage = finished(Contest, tmp_path)
    spec = MemberSpec(**{"name": "a", "recipe": "a.yml", **change})
    one = contest_members.TrainedMember(spec, stage.weights, usual(), 0.0)
    record = stage.record(usual())
    answer = contest.describe_answer(stage.contest, {"QUERIES": []}, [one.describe()])
    inputs = {**record.inputs, **answer}
    assert not dataclasses.replace(record, inputs=inputs).is_finished()


def test_a_key_that_came_after_version_0_1_leaves_its_folders_known(monkeypatch):
    """Nobody lists such keys: what version 0.1 had is frozen, whatever has another name came later."""
    before = former.former_inputs(usual(), "images", "")
    new = keys.Key("SEEK.NEW", "usual", "a key of a later version", keys.SHAPES_MODEL)
    monkeypatch.setattr(former, "OURS", (*keys.OURS, new))
    cfg = usual()
    cfg.SEEK.NEW = "usual"
    assert former.former_inputs(cfg, "images", "") == before
    cfg.SEEK.NEW = "other"
    assert former.former_inputs(cfg, "images", "") is None
    told = {key.name for key in keys.OURS} | set(keys.OLD_KEYS)
    assert set(former.KEYS_THEN) <= told
