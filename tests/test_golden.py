"""What a user has of commit 41b35ae still opens, goes on and means the same; see golden/README.md."""

import json
import math
import pathlib
import re
import tarfile

import pytest
import test_surface
import torch
from golden import reading, run_tools

import fastseek
import processes
import toy

TESTS = pathlib.Path(__file__).resolve().parent
TOOLS = TESTS.parent / "tools"
HERE = TESTS / "golden"
STORED = ("embedded", "classified")
WEIGHTS = ("**/*.safetensors", "**/*.state.pt")
ANSWERS = ("ablation/answers/*/*.npz", "rounds/round1/*/*.csv", "rounds/round1/*/**/*.npy")


def golden(name):
    return json.loads((HERE / f"{name}.json").read_text())


CALLS, FIGURES = golden("calls"), golden("figures")


def same_libraries():
    """Whether the last digit of a training can be asked for."""
    return reading.versions() == FIGURES["made with"]


def unpacked(folder):
    """A user's folder of commit 41b35ae; its photos have the time of change that they had."""
    with tarfile.open(HERE / "home.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "home"


@pytest.fixture
def home(tmp_path):
    return unpacked(tmp_path)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """What stands in every artefact, as the code under test reads it."""
    return reading.opened(unpacked(tmp_path_factory.mktemp("opened")))


def start(*words, cwd, env):
    return processes.run(*words, cwd=cwd, env=env, began=run_tools.PINNED)


def run(calls, folder, **environ):
    """Run named command lines, which must end well."""
    ended = run_tools.run(TOOLS, list(calls.values()), folder, start, **environ)
    failed = [
        (call, one["err"]) for call, one in zip(calls.values(), ended, strict=True) if one["code"]
    ]
    assert not failed, "\n\n".join(f"{call}\n{told}" for call, told in failed)
    return dict(zip(calls, ended, strict=True))


def times_of_change(folder, patterns):
    paths = [path for pattern in patterns for path in folder.glob(pattern)]
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in paths}


def steps_of(home):
    """The steps of all finished trainings, with the times they took."""
    paths = [path for name in CALLS["finished"] for path in home.glob(f"{name}/**/metrics.jsonl")]
    return {path.relative_to(home).as_posix(): path.read_text() for path in paths}


def check_figures(found, wanted):
    """Equal to the last digit with the libraries of the golden files, else the same names."""
    if same_libraries():
        assert found == wanted
    assert reading.flat(found).keys() == reading.flat(wanted).keys()
    assert all(math.isfinite(value) for value in reading.flat(found).values())


def check_losses(found, wanted):
    if same_libraries():
        assert found == wanted
    assert reading.close(found, wanted)


@pytest.mark.parametrize("kind", ["embeddings", "rankings", "truths"])
def test_every_file_says_bit_for_bit_what_it_said(opened, kind):
    wanted = golden("opened")[kind]
    assert opened[kind].keys() == wanted.keys()
    assert {name: one for name, one in opened[kind].items() if one != wanted[name]} == {}


def as_told_then(found, wanted):
    """What was found, its protocols cut to what they told then: they may tell more since (F39)."""
    if not isinstance(found, dict) or not isinstance(wanted, dict):
        return found
    told = {name: as_told_then(one, wanted.get(name)) for name, one in found.items()}
    if "protocol" not in wanted:
        told.pop("protocol", None)  # figures were told without it
    if "protocol" in told and "protocol" in wanted:
        told["protocol"] = {name: told["protocol"].get(name) for name in wanted["protocol"]}
    return told


def test_searches_and_scores_are_those_of_old_bit_for_bit(home):
    """Fits, faiss indexes and the graph of a gallery are read, not made again."""
    (home / "again").mkdir()
    kept = times_of_change(home, ["index/*"])
    run(CALLS["searches"], home)
    scored = run(CALLS["scores"], home)
    assert times_of_change(home, ["index/*"]) == kept
    for name in CALLS["searches"]:
        found = reading.ranking_of(home / "again" / f"{name}.npz")
        wanted = golden("opened")["rankings"][f"rankings/{name}.npz"]
        if same_libraries():
            assert found | {"passport": {}} == wanted | {"passport": {}}, name
        assert found["first five"] == wanted["first five"], name
    found = {name: json.loads(one["out"]) for name, one in scored.items()}
    if same_libraries():
        assert as_told_then(found, golden("scores")) == golden("scores")
    assert found.keys() == golden("scores").keys()


def test_every_command_line_ends_with_the_exit_code_it_had(home):
    asked = [one["call"] for one in CALLS["ends"]]
    ended = run_tools.run(TOOLS, asked, home, start)
    wanted = {one["call"]: one["code"] for one in CALLS["ends"]}
    others = [
        (call, one["err"])
        for call, one in zip(asked, ended, strict=True)
        if one["code"] != wanted[call]
    ]
    assert not others, "\n\n".join(f"{call}\n{told}" for call, told in others)
    for call, one in zip(asked, ended, strict=True):
        if one["code"] > 2:
            assert re.search("^error: .", one["err"], re.MULTILINE), call
    shown = ended[asked.index("recipes.py list")]["out"].splitlines()
    assert set(golden("public")["listed"]) <= set(shown)


def test_finished_work_is_not_done_again_and_killed_work_goes_on(home):
    """Plan, contest, ablation, self-training, a run, embeddings and probabilities; trainings."""
    weights, answers = times_of_change(home, WEIGHTS), times_of_change(home, ANSWERS)
    steps = steps_of(home)
    calls = CALLS["finished"] | CALLS["stopped"]
    if not same_versions():
        # vectors of another version are refused, as they were
        calls = {name: call for name, call in calls.items() if name not in STORED}
    run(calls, home)
    after = times_of_change(home, WEIGHTS)
    assert {name: after.get(name) for name in weights} == weights, "a training began anew"
    assert steps_of(home) == steps, "a step was trained once more"
    assert times_of_change(home, ANSWERS) == answers, "a question was answered once more"
    assert {name.split("/")[0] for name in after.keys() - weights.keys()} == CALLS["stopped"].keys()
    assert list(home.rglob("*.old*")) == []
    for name, rows in FIGURES["rows"].items():
        check_figures(reading.rows(home / name / "results.json"), rows)
    for name, wanted in FIGURES["resumed"].items():
        check_losses(reading.losses(home / name / "metrics.jsonl"), wanted["losses"])
        if same_libraries():
            assert reading.weights_of(home / name / "model_final.safetensors") == wanted["weights"]


def same_versions():
    """Whether the vectors on disk are by the versions at hand, which are told beside them."""
    told = golden("opened")["embeddings"]["embedded"]["passport"]["versions"]
    return told == {"fastseek": fastseek.__version__, "torch": torch.__version__}


def test_the_quick_recipes_give_the_figures_they_gave(tmp_path):
    toy.gallery(tmp_path / "toy")
    toy.market(tmp_path, people=4)
    quick = TESTS.parent / "configs" / "quick"
    calls = {name: call.replace("QUICK", str(quick)) for name, call in CALLS["quick"].items()}
    run(calls, tmp_path, FASTREID_DATASETS=str(tmp_path))
    for name, wanted in FIGURES["quick"].items():
        found = reading.quick_figures(tmp_path / name)
        check_losses(found["losses"], wanted["losses"])
        check_figures(found["figures"], wanted["figures"])


def test_every_tool_takes_the_options_it_took(tmp_path):
    run_tools.options(TOOLS, tmp_path / "options.json")
    found = json.loads((tmp_path / "options.json").read_text())
    for tool, wanted in golden("options").items():
        check_options(found[tool], wanted, tool)


def check_options(found, wanted, where):
    """New options may come, old ones stay as they were."""
    for flag, option in wanted["options"].items():
        now = dict(found["options"][flag])
        if option["required"]:
            now["required"] = True  # an option that need not be given breaks no command line
        assert now == option, f"{where} {flag}"
    assert found["positional"] == wanted["positional"], where
    for name, inner in wanted["subcommands"].items():
        check_options(found["subcommands"][name], inner, f"{where} {name}")


def test_every_recipe_has_the_name_it_had():
    assert [
        name for name in golden("public")["recipes"] if not (TESTS.parent / name).is_file()
    ] == []


# An argument with another name, whose old name still means the same where it stands alone.
RENAMED = {"manifest": ("(path,", "(file='',")}  # test_manifest.py: path='list.csv'


def test_every_call_string_takes_what_it_took():
    """New arguments may come behind the old ones, with a default; old ones stay as they were."""
    found = test_surface.surface()["parts"]
    for kind, parts in golden("public")["calls"].items():
        assert {name: found[kind].get(name) for name in parts} == {
            name: with_new_arguments(
                wanted.replace(*RENAMED.get(name, ("", ""))), found[kind].get(name, "")
            )
            for name, wanted in parts.items()
        }, kind


def with_new_arguments(wanted, found):
    """What was taken then, and the arguments with defaults that now stand behind it; what the builder
    gives ("*, dims, counts") stays the same.
    """
    own, star, given = wanted.removesuffix(")").partition(", *, ")
    own_now, star_now, given_now = found.removesuffix(")").partition(", *, ")
    new = own_now.removeprefix(own + ", ").split(", ")
    grown = own_now.startswith(own + ", ") and all("=" in one for one in new)
    behind = given == given_now or given_now.startswith(given + ", ") or not star
    return found if grown and behind else wanted
