"""From the form its archive has to a score, for every benchmark and by one command."""

import functools
import json

import pytest

import official_copies
from fastseek.cli import call_verb
from fastseek.inference.benchmark import run
from fastseek.inference.pretrained import load_model

OPTIONS = {"veri_wild": "veri_wild({!r}, size=3000)"}
# Name -> figures and what the protocol is called in results.json.
LEAVE_ONE_OUT, CAMERAS = "leave_one_out(split='test')", "query_gallery(camera=True)"
EXPECTED = {
    "sop": ("recall(1)", LEAVE_ONE_OUT),
    "cub": ("recall(1)", LEAVE_ONE_OUT),
    "cars": ("recall(1)", LEAVE_ONE_OUT),
    "rp2k": ("recall(1)", LEAVE_ONE_OUT),
    "inshop": ("recall(1)", "in_shop()"),
    "deep_fashion2": ("cmc(1)", "query_gallery(camera=False)"),
    "products10k": ("cmc(1)", "query_gallery(camera=False)"),
    "vehicle_id": ("cmc(1)", "vehicle_id(repeats=10, seed=0)"),
    **{
        name: ("cmc(1)", CAMERAS)
        for name in "market duke cuhk03 cuhk03_np veri776 veri_wild msmt17 mars".split()
    },
}


@pytest.fixture(scope="module")
def load_once():
    """The model, loaded once for all."""
    return functools.cache(load_model)


@pytest.mark.parametrize("name", official_copies.COPIES)
def test_a_benchmark_as_downloaded_is_scored_by_one_command(
    name, load_once, tmp_path, capsys, monkeypatch
):
    if name == "cuhk03":
        pytest.importorskip("h5py")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(run, "load_model", load_once)
    root, out = tmp_path / "copy", tmp_path / "out"
    official_copies.COPIES[name](root)
    asked = OPTIONS.get(name, "{}").format(str(root))
    how = ["--model", "default", "--size", "32", "--engine", "eager", "--out", str(out)]
    call_verb("bench", [asked, *how])
    figure, protocol = EXPECTED[name]
    *_, row = json.loads((out / "results.json").read_text())["rows"]
    assert row["protocol"] == protocol and 0 <= row["metrics"][figure] <= 1
    assert figure in capsys.readouterr().out
