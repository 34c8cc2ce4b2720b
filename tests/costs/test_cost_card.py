"""The cost card follows measured growth, and its bytes are those of real folders and indexes."""

import json
import math
import pathlib

import numpy as np
import pytest

from fastseek.cli import _plan, plan
from fastseek.costs.card import Job, make_card
from fastseek.costs.engines import ENGINES
from fastseek.costs.growth import (
    Measured,
    find_byte_law,
    find_query_law,
    find_time_law,
    load_growth,
)
from fastseek.errors import DataError, UsageError
from fastseek.index import Index
from fastseek.structures import Embeddings

ROOT = pathlib.Path(__file__).parents[2]
RUNS = load_growth()


def runs(cost, sizes, dims=(128,), figure="s"):
    return [
        Measured("e", size, dim, {figure: cost(size, dim)}, "x.json")
        for size in sizes
        for dim in dims
    ]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 1.9])
@pytest.mark.parametrize("dim", [64, 128, 300])
def test_seconds_that_grow_as_a_power_are_told_at_every_size(power, dim):
    law = find_time_law(
        runs(lambda size, wide: wide * 3e-4 * size**power, (1000, 5000, 90_000)), "e", "s", dim
    )
    for size in (10, 10**5, 10**9):
        assert law.at(size) == pytest.approx(dim * 3e-4 * size**power, rel=1e-6)
        if power:
            assert law.reach(law.at(size)) == pytest.approx(size)
    assert law.sizes == (1000, 5000, 90_000)
    assert math.isinf(law.reach(1e99)) == (power == 0)


def test_one_size_is_taken_to_grow_in_proportion_and_nothing_is_known_of_what_was_not_measured():
    known = runs(lambda size, dim: 7.0, (1000,))
    assert find_time_law(known, "e", "s", 128).at(5000) == pytest.approx(35)
    for engine, figure in (("e", "other"), ("other", "s")):
        assert find_time_law(known, engine, figure, 128) is None
        assert find_byte_law(known, engine, figure, 128) is None


def test_what_being_asked_alone_adds_does_not_grow_and_the_rest_does():
    def among(size, dim):
        return dim * 1e-5 * size**0.5

    known = runs(among, (1000, 9000), (128,), "query among many, cpu ms")
    alone = [
        one._replace(figures={"query cpu ms": 2 + among(one.images, one.dim)}) for one in known[:1]
    ]
    both = [known[0]._replace(figures={**known[0].figures, **alone[0].figures}), known[1]]
    law = find_query_law(both, "e", 512)
    assert law.at(10**8) == pytest.approx(2 + among(10**8, 512))
    assert law.reach(law.at(10**8)) == pytest.approx(10**8)
    assert find_query_law(alone, "e", 128).at(2000) == pytest.approx(2 * (2 + among(1000, 128)))


def test_bytes_have_a_part_for_each_image_and_one_for_each_number():
    known = runs(lambda size, dim: size * (272 + 4 * dim), (1000, 5000), (128, 256), "bytes")
    law = find_byte_law(known, "e", "bytes", 768)
    assert law.at(10**8) == pytest.approx(10**8 * (272 + 4 * 768))


def card(images=10**6, dim=256, rate=50.0, **change):
    return make_card(Job(images, dim, rate, **change), RUNS)


def test_twice_the_images_take_twice_the_hours_and_bytes_and_twice_the_machines_half_the_hours():
    one, two = card(10**7), card(2 * 10**7)
    assert two["embedding"]["hours"] == pytest.approx(2 * one["embedding"]["hours"])
    assert two["disk"]["vectors"] == 2 * one["disk"]["vectors"]
    more = card(10**7, processes=2, machines=3)
    assert more["embedding"]["hours"] == pytest.approx(one["embedding"]["hours"] / 6)


def test_more_memory_never_makes_another_engine_necessary():
    order = [engine.name for engine in ENGINES]
    for images in (10**5, 10**7, 10**8):
        places = []
        for gigabytes in (1, 16, 256, 4096):
            name = card(images, ram=1e9 * gigabytes)["choice"]["engine"]
            places.append(order.index(name) if name in order else len(order))
        assert places == sorted(places, reverse=True)


def test_an_engine_that_was_not_measured_is_never_advised_and_tells_nothing():
    known = [run for run in RUNS if run.engine != "hnsw"]
    made = make_card(Job(10**7, 128, 50.0), known)
    told = next(one for one in made["engines"] if one["engine"] == "hnsw")
    assert (told["fits"], told["ram"], told["query cpu s"], told["recall"]) == (False,) + (
        None,
    ) * 3
    assert made["choice"]["engine"] != "hnsw"


def test_where_no_engine_fits_one_machine_the_one_that_takes_the_fewest_is_advised():
    made = card(10**10, ram=1e9)
    fewest = min(one["machines"] for one in made["engines"] if one["machines"])
    assert made["choice"]["engine"].endswith(f" on {fewest} machines") and fewest > 1
    assert make_card(Job(10**6, 8, 1.0), [])["choice"]["engine"] == "none"


def test_nothing_is_foretold_to_grow_slower_than_it_must():
    told = [{one["engine"]: one for one in card(size)["engines"]} for size in (10**8, 10**9)]
    for name, power in (("exact", 1.0), ("ivf_rabitq", 0.5)):
        before, after = (one[name] for one in told)
        assert after["query cpu s"] >= before["query cpu s"] * 10**power * 0.999
        assert after["build cpu s"] >= before["build cpu s"] * 9.99


def test_what_breaks_stands_in_order_and_is_reached_where_the_images_are_as_many():
    made = card(10**8)
    sizes = [one["images"] for one in made["breaks"]]
    assert sizes == sorted(sizes)
    assert [one["reached"] for one in made["breaks"]] == [size <= 10**8 for size in sizes]
    assert json.loads(json.dumps(made, allow_nan=False)) == made


@pytest.mark.parametrize(("size", "dim"), [(3000, 96), (20_000, 200)])
def test_the_bytes_of_an_embeddings_folder_are_those_that_are_written(size, dim, tmp_path):
    vectors = np.random.default_rng(0).standard_normal((size, dim), np.float32)
    names = [f"{row % 16:x}/{row % 251:03d}/{row:018d}.jpg" for row in range(size)]
    assert len(names[0]) == 28
    Embeddings(names, vectors).save(tmp_path / "e")
    held = sum(path.stat().st_size for path in (tmp_path / "e").iterdir())
    assert card(size, dim)["disk"]["embeddings folder"] == pytest.approx(held, rel=0.03)


def test_the_memory_of_a_graph_is_that_of_its_structure(tmp_path):
    pytest.importorskip("faiss")
    size, dim = 20_000, 32  # neither the size nor the width was measured
    vectors = np.random.default_rng(0).standard_normal((size, dim), np.float32)
    names = np.array([f"{row:028d}" for row in range(size)])
    held = []
    for engine in ("flat", "hnsw"):
        index = Index.create(tmp_path / engine, engine=engine)
        index.add(names, vectors)
        held.append(sum(path.stat().st_size for path in index.folder.rglob("*") if path.is_file()))
    told = next(one for one in card(size, dim)["engines"] if one["engine"] == "hnsw")
    assert told["ram"] == pytest.approx(held[1] - held[0], rel=0.05)


def test_the_package_reckons_with_the_results_of_the_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import growth

    assert growth.gather() == json.loads(growth.SHIPPED.read_text(encoding="utf-8"))
    for run in RUNS:
        assert (ROOT / "benchmarks" / "results" / run.source).is_file()


def test_the_command_prints_the_card_and_writes_it(tmp_path, capsys):
    out = tmp_path / "card.json"
    given = ["--images", "1e8", "--dim", "384", "--rate", "120", "--ram", "64", "--out", str(out)]
    plan.main([*given, "--processes", "4", "--bytes-per-image", "1e5"])
    text, told = capsys.readouterr().out, json.loads(out.read_text(encoding="utf-8"))
    assert told["job"]["images"] == 10**8 and told["embedding"]["bytes read"] == 1e13
    assert told["embedding"]["hours"] == pytest.approx(1e8 / 480 / 3600)
    assert f"Advised: {told['choice']['engine']}" in text
    for line in told["assumptions"]:
        assert f"  - {line}" in text
    for one in told["breaks"]:
        assert f"{one['what']}: {one['remedy']}" in text
    assert "2.4 days" in text and "10.0 TB" in text


@pytest.mark.parametrize(
    "given",
    [
        ["--images", "1e6", "--rate", "5"],
        ["--images", "1e6", "--dim", "128"],
        ["--images", "1.5", "--dim", "8", "--rate", "5"],
        ["--images", "-1", "--dim", "8", "--rate", "5"],
        ["--images", "1e6", "--dim", "8", "--rate", "nan"],
        ["--images", "1e6", "--dim", "8", "--rate", "0"],
        ["--images", "1e30", "--dim", "8", "--rate", "5"],
        ["--images", "1,00", "--dim", "8", "--rate", "5"],
    ],
)
def test_what_cannot_be_reckoned_is_refused(given, capsys):
    with pytest.raises((UsageError, SystemExit)) as told:
        plan.main(given)
    assert isinstance(told.value, UsageError) or told.value.code == 2


def test_a_number_may_have_commas_between_thousands():
    assert plan.count("1,000,000") == plan.count("1e6") == 1_000_000


def test_a_card_takes_the_place_of_a_card_and_of_nothing_else(tmp_path):
    given = ["--images", "1e5", "--dim", "64", "--rate", "10", "--out"]
    card = tmp_path / "card.json"
    plan.main([*given, str(card)])
    plan.main([*given, str(card)])
    card.write_text('{"mine": 1}')
    with pytest.raises(UsageError, match="is no cost card of FastSeek"):
        plan.main([*given, str(card)])
    with pytest.raises(UsageError, match="written as JSON"):
        plan.main([*given, str(tmp_path / "card.html")])


def test_images_a_second_are_measured_with_the_model_that_will_embed():
    import torch

    from fastseek.inference.pretrained import ImageModel

    seen = []

    def network(tensors):
        seen.append(len(tensors))
        return torch.ones(len(tensors), 4)

    model = ImageModel("m", 4, {}, lambda image: torch.zeros(3, 8, 8), network)
    told = _plan.measure_rate(model, 0.05, threads=1)
    assert told["images"] == sum(seen) - model.batch_size
    assert told["images a second"] == pytest.approx(told["images"] / told["seconds"])
    assert told["bytes an image"] > 1000


def test_a_file_that_is_no_growth_is_refused_by_its_name(tmp_path):
    row = {"engine": "e", "images": 1, "dim": 1, "figures": {"s": 1}, "source": "x"}
    for page in (
        [],
        {},
        {"rows": [{}]},
        {"rows": [row | {"images": 0}]},
        {"rows": [row | {"figures": {"s": "x"}}]},
    ):
        (tmp_path / "g.json").write_text(json.dumps(page))
        with pytest.raises(DataError, match=r"g\.json"):
            load_growth(tmp_path / "g.json")
