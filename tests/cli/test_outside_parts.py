"""Parts of others, with and without a provenance of their own making, from the search to the page."""

import re
import sys

import numpy as np
import pytest

import fastseek.rerank
from fastseek.cli._fuse import fuse_files
from fastseek.cli._report import show_files
from fastseek.cli._search import seek_files
from fastseek.enhance.l2 import L2
from fastseek.errors import RunError
from fastseek.registry import ENHANCERS, FUSERS, RERANKERS, SEARCHERS, build, load_plugins
from fastseek.structures import Embeddings, Ranking

# The example of the first version's README: it writes a provenance, and not a right one.
OLD = '''"""Mean of the scores of a photo and of the photos ranked beside it."""

import numpy as np

from fastseek.registry import RERANKERS
from fastseek.structures import Ranking


@RERANKERS.register()
class NeighbourMean:
    """Smooth every row of scores over `width` ranks on either side, and sort anew."""

    def __init__(self, width=1):
        self.kernel = np.ones(2 * width + 1) / (2 * width + 1)

    def __call__(self, ranking, queries, gallery):
        smooth = np.stack([np.convolve(row, self.kernel, mode="same") for row in ranking.scores])
        order = np.argsort(-smooth, axis=1, kind="stable")
        return Ranking(
            ranking.query_ids,
            ranking.gallery_ids,
            np.take_along_axis(ranking.indices, order, 1),
            np.take_along_axis(smooth, order, 1),
            {"rerank": "neighbour_mean", "of": dict(ranking.passport)},
        )
'''
HEAD = OLD[: OLD.index("        order = ")]
SCORES = HEAD + "        return smooth\n"
ARRAYS = (
    HEAD
    + """        order = np.argsort(-smooth, axis=1, kind="stable")
        return np.take_along_axis(ranking.indices, order, 1), np.take_along_axis(smooth, order, 1)
"""
)
FORMS = {"old": OLD, "scores": SCORES, "arrays": ARRAYS}
CALL, SECOND = "neighbour_mean(width=2)", "k_reciprocal(k1=4, k2=2)"


@pytest.fixture(autouse=True)
def registries():
    """The registries as they were before the test."""
    every = [ENHANCERS, SEARCHERS, RERANKERS, FUSERS]
    before = [dict(one) for one in every]  # with all our own parts, which load once a process
    yield
    for one, members in zip(every, before, strict=True):
        one._obj_map.clear()
        one._obj_map.update(members)


def sides():
    random = np.random.default_rng(3)
    rows = {"q": 6, "g": 40}
    return tuple(
        Embeddings(
            [f"{letter}{n:02d}" for n in range(count)],
            random.normal(size=(count, 8)).astype(np.float32),
            {"model": "m", "root": "/photos"},
        )
        for letter, count in rows.items()
    )


def load(how, text, tmp_path, monkeypatch):
    """Make the part known as a plugin of a path, as one of a module, or as a file among ours."""
    file = tmp_path / ("neighbour_mean.py" if how == "part" else f"outside_{len(text)}.py")
    file.write_text(text)
    if how == "path":
        load_plugins([str(file)])
    elif how == "module":
        monkeypatch.syspath_prepend(tmp_path)
        load_plugins([file.stem])
    else:
        file.write_text(text.replace("from fastseek.", "from .."))
        monkeypatch.setattr(fastseek.rerank, "__path__", [*fastseek.rerank.__path__, str(tmp_path)])
        monkeypatch.setattr(RERANKERS, "_complete", False)
        monkeypatch.delitem(sys.modules, "fastseek.rerank.neighbour_mean", False)


@pytest.mark.parametrize("how", ["path", "module", "part"])
@pytest.mark.parametrize("form", FORMS)
def test_F18_a_part_of_another_and_a_second_reranker_end_in_a_right_page(
    form, how, tmp_path, monkeypatch
):
    load(how, FORMS[form], tmp_path, monkeypatch)
    queries, gallery = sides()
    queries.save(tmp_path / "q")
    gallery.save(tmp_path / "g")
    lines = [f"{side.ids[n]},{n % 3}" for side in (queries, gallery) for n in range(len(side))]
    (tmp_path / "truth.csv").write_text("id,label\n" + "\n".join(lines) + "\n")
    seek_files(
        tmp_path / "q",
        tmp_path / "g",
        tmp_path / "r.npz",
        "exact(k=20)",
        ["l2()"],
        [CALL, SECOND],
    )
    provenance = Ranking.load(tmp_path / "r.npz").provenance
    second = build(SECOND, RERANKERS).call
    assert provenance["rerank"] == [CALL, second]
    assert provenance["search"] == "exact(k=20, metric='cosine')"
    assert (
        provenance["queries"]
        == provenance["gallery"]
        == {"model": "m", "root": "/photos", "enhance": ["l2()"]}
    )
    assert set(provenance) == {"search", "exact", "engine", "scan", "queries", "gallery", "rerank"}
    show_files(tmp_path / "r.npz", tmp_path / "truth.csv", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    told = re.sub(r"&#39;", "'", re.sub(r"<[^>]+>", " ", text))
    assert f"{CALL}, {second}" in told and "exact(k=20, metric='cosine')" in told


def test_all_forms_of_the_part_give_the_same_ranking(tmp_path, monkeypatch):
    queries, gallery = sides()
    ranking = build("exact(k=20)", SEARCHERS)(queries, gallery)
    made = []
    for form, text in FORMS.items():
        RERANKERS._obj_map.pop("neighbour_mean", None)
        (tmp_path / form).mkdir()
        load("path", text, tmp_path / form, monkeypatch)
        made.append(build(CALL, RERANKERS)(ranking, queries, gallery))
    for other in made[1:]:
        np.testing.assert_array_equal(made[0].indices, other.indices)
        np.testing.assert_array_equal(made[0].scores, other.scores)
        assert made[0].provenance == other.provenance


def test_an_enhancer_and_a_search_of_another_need_no_provenance(tmp_path):
    @ENHANCERS.register()
    class Halve:
        def __call__(self, queries, gallery):
            halves = [side.vectors[:] / 2 for side in (queries, gallery)]
            return halves[0], Embeddings(gallery.ids, halves[1], {"x": 1})

    @SEARCHERS.register()
    class First:
        def __init__(self, k=3):
            self.k = k

        def __call__(self, queries, gallery):
            rows = np.tile(np.arange(self.k), (len(queries), 1))
            return rows, -rows.astype(np.float32)

    queries, gallery = sides()
    queries.save(tmp_path / "q")
    gallery.save(tmp_path / "g")
    for number in range(2):
        out = tmp_path / f"r{number}.npz"
        seek_files(tmp_path / "q", tmp_path / "g", out, f"first({2 + number})", ["halve()"])
    provenance = Ranking.load(tmp_path / "r0.npz").provenance
    assert provenance["search"] == "first(k=2)"
    assert provenance["gallery"] == {"model": "m", "root": "/photos", "enhance": ["halve()"]}
    assert provenance["queries"] == provenance["gallery"]

    @FUSERS.register()
    class Front:
        def __call__(self, members):
            return members[0].indices, members[0].scores

    fuse_files([tmp_path / "r0.npz", tmp_path / "r1.npz"], "front()", tmp_path / "f.npz")
    fused = Ranking.load(tmp_path / "f.npz")
    assert fused.provenance["fuse"] == "front()" and len(fused.provenance["members"]) == 2
    assert fused.provenance["gallery"] == provenance["gallery"]


def test_what_a_part_returns_of_something_else_is_refused():
    queries, gallery = sides()
    ranking = build("exact(k=3)", SEARCHERS)(queries, gallery)

    @RERANKERS.register()
    class Stranger:
        def __init__(self, what):
            self.what = what

        def __call__(self, ranking, queries, gallery):
            other = np.array([f"x{name}" for name in gallery.ids])
            return {
                "gallery": Ranking(queries.ids, other, ranking.indices, ranking.scores),
                "shape": ranking.scores[:, :2],
                "text": "moon",
                "nan": np.full(ranking.scores.shape, np.nan),
            }[self.what]

    for what, told in (
        ("gallery", "over other gallery"),
        ("shape", r"expected scores \(6, 3\)"),
        ("text", "expected scores"),
        ("nan", "no number"),
    ):
        with pytest.raises(RunError, match=rf"stranger\(what='{what}'\).*{told}"):
            build(f"stranger({what!r})", RERANKERS)(ranking, queries, gallery)

    @ENHANCERS.register()
    class Turned:
        def __call__(self, queries, gallery):
            return queries, Embeddings(gallery.ids[::-1], gallery.vectors)

    with pytest.raises(RunError, match=r"turned\(\) returned other images"):
        build("turned()", ENHANCERS)(queries, gallery)


def test_the_provenance_of_what_was_passed_in_stays(tmp_path):
    queries, gallery = sides()
    after = L2()(queries, gallery)
    assert after[0].provenance["enhance"] == ["l2()"] and "enhance" not in queries.provenance
    ranking = build("exact(k=3)", SEARCHERS)(*after)
    before = dict(ranking.provenance)
    build("super_global()", RERANKERS)(ranking, *after)
    assert ranking.provenance == before


def test_a_step_after_a_ranking_with_a_foreign_provenance_is_listed_behind_it():
    queries, gallery = sides()
    found = build("exact(k=3)", SEARCHERS)(queries, gallery)
    foreign = Ranking(
        found.query_ids, found.gallery_ids, found.indices, found.scores, {"rerank": "mine"}
    )
    after = build("super_global()", RERANKERS)(foreign, queries, gallery)
    assert after.provenance["rerank"] == ["mine", "super_global(m=400, k=9, beta=0.15)"]
