"""`fastseek bench`, from images to figures, pages and published figures."""

import json

import numpy as np
import official_scenes
import pytest
from PIL import Image

import toy
from fastseek.cli import call_verb
from fastseek.cli._score import protocol_lines
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.inference.benchmark import ranking as scoring
from fastseek.inference.benchmark.listing import describe_benchmarks, read_protocols
from fastseek.inference.benchmark.open_data import open_benchmark
from fastseek.inference.benchmark.published import FILE, published_figures, published_table
from fastseek.inference.benchmark.ranking import Calls, score_task
from fastseek.protocols import tasks_of
from fastseek.registry import DATASETS
from fastseek.structures import Embeddings, Item, Ranking, Score

TOYS = """
import colorsys, pathlib
from PIL import Image
from fastseek.protocols import tasks_of
from fastseek.registry import DATASETS
from fastseek.registry import DATASETS
from fastseek.structures import Item


@DATASETS.register()
class Toys:
    '''Twelve colored images.'''

    def __init__(self, root: str, own: bool = False) -> None:
        self.root, self.protocol = root, "vehicle_id(repeats=3)"
        self.items = [Item(str(pathlib.Path(root, f"{n}.png")), str(n // 3), split="test", id=f"{n}.png") for n in range(12)]
        if own:
            self.tasks = lambda: tasks_of(self, "leave_one_out(recall=(1, 2))")
"""


@pytest.fixture
def toys(tmp_path):
    (tmp_path / "toys.py").write_text(TOYS)
    (tmp_path / "images").mkdir()
    for number in range(12):
        color = np.roll([200, 60, 10 * (number % 3)], number // 3 % 3) // (1 + number // 9)
        Image.new("RGB", (40, 40), tuple(color.tolist())).save(
            tmp_path / "images" / f"{number}.png"
        )
    return tmp_path


def bench(capsys, *words):
    call_verb("bench", [*map(str, words), "--model", "default", "--size", "64"])
    return capsys.readouterr().out


def test_a_folder_is_known_by_its_layout_scored_and_written(tmp_path, capsys, monkeypatch):
    home = toy.market(tmp_path, people=3, cameras=2, shots=1) / "Market-1501-v15.09.15"
    told = bench(capsys, home, "--out", tmp_path / "out", "--rerank", "k_reciprocal(k1=2, k2=1)")
    assert "protocol query_gallery(camera=True): queries ask a gallery for their label" in told
    assert "cmc(1)" in told and "k_reciprocal(k1=2" in told
    page = json.loads((tmp_path / "out" / "results.json").read_text())
    (row,) = page["rows"]
    assert set(row["metrics"]) == {"cmc(1)", "cmc(5)", "cmc(10)", "map"}
    assert row["protocol"] == "query_gallery(camera=True)" == page["protocol"]["protocol"]
    assert page["model"]["name"] == "default" and row["seconds"] >= 0 and "commit" in page
    assert "query_gallery(camera=True)" in (tmp_path / "out" / "report.html").read_text()
    ranking = Ranking.load(tmp_path / "out" / "ranking.npz")
    call_verb(
        "score",
        ["ranking", "--ranking", str(tmp_path / "out" / "ranking.npz"), "--metrics", "map()"]
        + ["--truth", str(tmp_path / "out" / "truth.npz")],
    )
    assert f"{row['metrics']['map']:.4f}" in capsys.readouterr().out and len(ranking.query_ids) == 6

    def refuse(*_):
        raise AssertionError("the embeddings are there")

    monkeypatch.setattr("fastseek.inference.pretrained.embed._embed_batch", refuse)
    assert "map" in bench(capsys, home, "--out", tmp_path / "out")


def test_draws_are_averaged_and_a_truth_of_its_own_is_taken(toys, capsys):
    plugin = "--plugin", toys / "toys.py", "--root", toys / "images"
    told = bench(capsys, "toys", *plugin, "--out", toys / "out")
    assert "mean over 3 tasks" in told and "between tasks" in told and "split2" in told
    rows = json.loads((toys / "out" / "results.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["split0", "split1", "split2", "mean over 3 tasks"]
    values = [row["metrics"]["map"] for row in rows]
    assert values[3] == pytest.approx(np.mean(values[:3]), abs=1e-12)
    call = f"toys({str(toys / 'images')!r}, own=True)"
    told = bench(capsys, call, *plugin[:2], "--out", toys / "out")
    assert "leave_one_out(split='test')" in told and "map_at_r" in told
    with pytest.raises(UsageError, match="leave out --root"):
        bench(capsys, call, *plugin, "--out", toys / "out")
    with pytest.raises(UsageError, match="did you mean 'toys'"):
        bench(capsys, "toyz", *plugin, "--out", toys / "out")
    with pytest.raises(UsageError, match="--model and --out"):
        call_verb("bench", ["toys"])


def planted(queries=9, gallery=30):
    """Items of two sides with vectors; the last query's class is not in the gallery."""
    random = np.random.default_rng(0)
    items = [
        Item(f"q{row}", str(row % 4) if row < queries - 1 else "none", split="query")
        for row in range(queries)
    ] + [Item(f"g{row:02d}", str(row % 4), split="gallery") for row in range(gallery)]
    vectors = random.normal(size=(queries + gallery, 8)).astype(np.float32)
    return items, Embeddings([item.id for item in items], vectors)


class Data:
    protocol = "query_gallery(camera=False)"

    def __init__(self, items):
        self.items = items


def test_blocks_of_queries_give_the_figures_of_all_at_once():
    items, embeddings = planted()
    task = tasks_of(Data(items))[0]
    whole = score_task(task, embeddings, Calls())
    blocks = score_task(task, embeddings, Calls(), most=2 * task.depth)
    assert whole.ranking is not None and blocks.ranking is None
    for one, other in zip(whole.scores, blocks.scores, strict=True):
        np.testing.assert_array_equal(one.per_query, other.per_query)
        assert one.name == other.name and abs(one.value - other.value) < 1e-12
        for key in ("queries", "counted", "skipped", "protocol", "depth"):
            assert one.protocol[key] == other.protocol[key], key


def test_a_gallery_image_without_a_vector_is_not_found_and_a_query_without_one_ends_it():
    items, embeddings = planted()
    task = tasks_of(Data(items))[0]
    kept = np.flatnonzero(embeddings.ids != "g07")
    some = Embeddings(embeddings.ids[kept], embeddings.vectors[kept])
    scored = score_task(task, some, Calls())
    assert "1 gallery images" in scored.scores[0].protocol["unreadable"]
    lost = task.truth.gallery_ids.tolist().index("g07")
    assert not (scored.ranking.indices == lost).any()
    full = score_task(task, embeddings, Calls()).scores
    assert scored.scores[-1].value < full[-1].value
    with pytest.raises(DataError, match="q0: query image cannot be read"):
        score_task(task, Embeddings(some.ids[1:], some.vectors[1:]), Calls())


def test_short_lists_are_refused_whether_all_images_have_a_vector_or_not():
    items, embeddings = planted()
    task = tasks_of(Data(items), "in_shop(recall=(1, 8))")[0]
    for kept in (embeddings.ids != "g07", np.ones(len(embeddings), bool)):
        some = Embeddings(embeddings.ids[kept], embeddings.vectors[kept])
        with pytest.raises(ArtefactError, match="recall\\(8\\) needs lists of 8"):
            score_task(task, some, Calls("exact(k=3)"))


def test_means_of_tasks_and_of_their_queries_are_told_apart():
    from fastseek.inference.benchmark.averages import average

    class Task:
        averages = ("tasks", "queries")

    scores = [
        [Score("m", 0.5, np.array([0.0, 1.0]), {"counted": 2, "queries": 2})],
        [Score("m", 1.0, np.array([1.0, np.nan]), {"counted": 1, "queries": 2})],
    ]
    (_, (tasks,)), (_, (queries,)) = average([Task(), Task()], scores)
    assert tasks.value == 0.75 and queries.value == pytest.approx(2 / 3)
    assert queries.protocol["counted"] == 3 and tasks.per_query is None
    assert list(average([Task()], scores[:1])) == []


def test_a_root_fills_in_the_folder_of_a_call_string_that_names_none(tmp_path):
    official_scenes.uned(tmp_path)
    found = open_benchmark("uned(domains=('cars', 'gldv2'))", tmp_path)
    assert found.call == f"uned(root={str(tmp_path)!r}, domains=('cars', 'gldv2'))"
    assert {item.meta["domain"] for item in found.data.items} == {"cars", "gldv2"}
    with pytest.raises(UsageError, match="leave out --root"):
        open_benchmark(found.call, tmp_path)
    scores = [Score("gap", 1.0, protocol={"relevant": "listed", "junk": "the query itself"})]
    assert protocol_lines(scores)[1:] == ["right: listed; junk: the query itself"]


def test_published_figures_name_their_source_and_what_they_are_not():
    for name in json.loads(FILE.read_text()):
        for figure in published_figures(name):
            assert 0 < figure.value < 1 and figure.source and figure.method and figure.metric
    assert published_table(published_figures("revisited")).startswith(
        "published, other model and setting:"
    )
    assert published_table(published_figures("nobody's")) == ""


def test_the_list_tells_what_is_here_and_what_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    told = describe_benchmarks(["gldv2"])
    assert str(tmp_path) in told and "gldv2: " in told and "not found: " in told
    assert read_protocols("cub") == ["leave_one_out(recall=(1, 2, 4, 8))"]
    assert read_protocols("revisited") == ["its own tasks"]
    benchmarks = {name for name in DATASETS.names() if read_protocols(name)}
    assert len(benchmarks) > 25 and not {"folder", "manifest", "webdataset"} & benchmarks
    assert set(json.loads(FILE.read_text())) <= set(DATASETS.names())


def test_a_search_that_tells_no_k_gets_what_the_figures_need():
    assert scoring.Calls().build(7).searcher.k == 7
    assert scoring.Calls("exact(k=3)").build(7).searcher.k == 3
