"""`fastseek bench` on benchmarks of landmarks, objects and scenes in their official form."""

import json

import official_scenes as copies
import pytest

from fastseek.cli import call_verb

# What makes a copy -> the rows and the first figure that the command prints.
FORMS = {
    copies.revisited: (["easy", "medium", "hard"], "revisited_map"),
    copies.oxford_buildings: ([""], "map(trapezoid=True)"),
    copies.ilias: ([""], "map(1000)"),
    copies.met: ([""], "gap"),
    copies.ukbench: ([""], "n_s"),
    copies.instre: ([""], "map(trapezoid=True)"),
    copies.coco: ([""], "cmc(1)"),
}


@pytest.mark.parametrize("maker", FORMS, ids=lambda maker: maker.__name__)
def test_a_benchmark_in_its_official_form_is_scored_by_one_command(maker, tmp_path, capsys):
    names, figure = FORMS[maker]
    maker(tmp_path / "copy")
    words = [str(tmp_path / "copy"), "--out", str(tmp_path / "out"), "--size", "32"]
    call_verb("bench", [*words, "--model", "default"])
    told = capsys.readouterr().out
    page = json.loads((tmp_path / "out" / "results.json").read_text())
    assert figure in told and "protocol" in told
    assert len(page["rows"]) >= len(names)
    for row, name in zip(page["rows"], names, strict=False):
        assert name in row["name"] and row["protocol"]
        assert 0 <= row["metrics"][figure] <= 4
