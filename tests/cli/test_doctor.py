"""fastseek doctor: what is missing for which verb, and what the machine has."""

import pathlib
import re
import tomllib

import pytest

from fastseek import cli
from fastseek.cli import _machine, _needs, doctor
from fastseek.errors import DataError, UsageError

ROOT = pathlib.Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def hide(monkeypatch, *names):
    """Let some distributions look as if they were not installed."""
    inner = _needs.version
    monkeypatch.setattr(_needs.missing, "__defaults__", (lambda n: n not in names and inner(n),))


def lines_of(text, title):
    part = text.partition(f"{title}\n")[2].partition("\n\n")[0]
    return dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in part.splitlines())


def test_every_verb_is_told_to_work_where_all_is_installed(capsys):
    cli.call_verb("doctor", [])
    told = capsys.readouterr().out
    assert lines_of(told, "Verbs") == dict.fromkeys(cli.VERBS, "ok")
    assert lines_of(told, "Options") == dict.fromkeys(_needs.OPTION_NEEDS, "ok")
    installed = lines_of(told, "Installed")
    assert {"fastseek", "python", "numpy", "torch", "faiss", "pymilvus"} <= set(installed)
    assert re.search(r"\d  (CPU|GPU|cuVS) build.* RaBitQ", installed["faiss"])
    assert {"processors", "GPU", "disk"} == set(lines_of(told, "Machine"))


def test_training_without_torch_ends_with_3_and_searching_is_still_told_to_work(
    capsys, monkeypatch
):
    hide(monkeypatch, "torch", "fastreid", "cma")
    with pytest.raises(DataError, match=r"torch, fastreid not installed.*pip install") as error:
        cli.call_verb("doctor", [])
    assert error.value.exit_code == 3
    told = capsys.readouterr().out
    verbs = lines_of(told, "Verbs")
    assert verbs["search"] == verbs["score"] == "ok"
    remedy = "pip install 'fastseek[train]' && pip install --no-deps fastreid==1.4.0"
    assert verbs["try"] == "needs torch: pip install 'fastseek[embed]'"
    assert verbs["train"] == f"needs torch, fastreid: {remedy}"
    options = lines_of(told, "Options")
    assert options["blend --evolve"] == "needs cma: pip install 'fastseek[contest]'"


def test_what_only_an_option_needs_is_no_error(capsys, monkeypatch):
    hide(monkeypatch, "pymilvus")
    cli.call_verb("doctor", [])
    assert "needs pymilvus: pip install 'fastseek[milvus]'" in capsys.readouterr().out


def test_the_databases_of_an_index_are_told(capsys, monkeypatch):
    hide(monkeypatch, "psycopg", "milvus-lite")
    cli.call_verb("doctor", [])
    told = capsys.readouterr().out
    options = lines_of(told, "Options")
    needs = "needs psycopg: pip install 'fastseek[postgres]'"
    assert options["index: postgresql://host/database"] == needs
    needs = "needs milvus-lite: pip install 'fastseek[milvus]'"
    assert options["index: NAME.db, milvus://host:port"] == needs
    assert "psycopg" in lines_of(told, "Installed")


def test_every_verb_that_runs_a_model_says_what_it_needs():
    whole = cli.MODEL_VERBS - {"index", "plan"}  # they work without a model, too
    assert whole <= set(_needs.VERB_NEEDS) <= set(cli.VERBS)


@pytest.mark.parametrize(
    "name",
    sorted({name for needs in (*_needs.VERB_NEEDS.values(), *_needs.OPTION_NEEDS.values())
            for name in needs} - {"faiss", "fastreid"}),
)  # fmt: skip
def test_the_command_that_installs_a_library_names_an_extra_that_holds_it(name):
    _, command = _needs.missing([name], lambda _: "")
    extra = re.fullmatch(r"pip install 'fastseek\[(\w+)\]'", command)[1]
    assert any(re.match(rf"{name}\b", wanted) for wanted in EXTRAS[extra])


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "200000 100000\n"}, 2.0),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
        ({"cpu.max": "nonsense"}, None),
    ],
)
def test_the_quota_of_a_container_is_read_in_both_versions(tmp_path, files, quota):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _machine.cpu_quota(tmp_path) == quota


def test_fewer_processors_than_threads_are_told_with_what_to_set(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(_machine, "cpu_quota", lambda: 0.5)
    assert "quota of 0.5; set OMP_NUM_THREADS=1" in _machine.describe_processors()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert _machine.describe_processors().endswith("quota of 0.5; OMP_NUM_THREADS=1")


def test_a_cache_is_told_with_its_size_and_whether_it_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "weights").write_bytes(b"0" * 60_000_000)
    assert _machine.describe_folder(tmp_path) == "0.1 GB, writable"
    assert _machine.describe_folder(tmp_path / "absent") == "not there yet"
    monkeypatch.setattr(_machine.os, "access", lambda *_: False)
    assert _machine.describe_folder(tmp_path).endswith("cannot be written")
    assert _machine.describe_folder(tmp_path / "a" / "b") == f"{tmp_path} cannot be written"


def test_the_listed_distributions_are_those_of_the_package():
    wanted = " ".join(name for names in EXTRAS.values() for name in names)
    base = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    known = {*re.findall(r"[\w-]+", f"{wanted} {' '.join(base)}"), "fastreid"}
    assert {*doctor.BASE, *doctor.MORE} <= known


def test_two_builds_of_faiss_are_told_to_be_in_each_other_s_way(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda name: "1.0")
    cli.call_verb("doctor", [])
    told = lines_of(capsys.readouterr().out, "Installed")["faiss"]
    assert "faiss-cpu and faiss-gpu and" in told and "share one import name: uninstall all" in told


@pytest.mark.parametrize(
    ("told", "error"),
    [("operator torchvision::nms does not exist", UsageError), ("shapes differ", RuntimeError)],
)
def test_a_torchvision_of_another_build_than_torch_is_told_with_the_remedy(
    monkeypatch, told, error
):
    def fail(argv):
        raise RuntimeError(told)

    monkeypatch.setattr(doctor, "main", fail)
    with pytest.raises(error, match="different builds: install both from one|shapes"):
        cli.call_verb("doctor", [])
