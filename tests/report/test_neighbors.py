"""The page of answers that nobody has judged: what it shows, and what it tells nobody."""

import os
import re

import numpy as np
import pytest
from PIL import Image
from test_page import BONES, HOSTILE, Bones

import toy
from fastseek.report import NeighborsLayout, neighbors_page
from fastseek.structures import Ranking


def small(names=None, provenance=None):
    """Three images, each searched among all three: itself first, then the next, then the last."""
    names = names or ["a.jpg", "b.jpg", "c.jpg"]
    indices = (np.arange(3)[:, None] + np.arange(3)) % 3
    scores = np.array([[1.0, 0.9, 0.1], [1.0, 0.3, 0.2], [1.0, 0.6, 0.5]])
    return Ranking(names, names, indices, scores, provenance or {"search": "exact(k=3)"})


def made(folder, ranking, images=None, known=None, **layout):
    out = folder / "page.html"
    neighbors_page(ranking, images, out, NeighborsLayout(**layout), known)
    return out.read_bytes().decode("utf-8")


def answers(text):
    """Query -> [(id, score)] of the page."""
    found = {}
    for card in text.split('<li class="case')[1:]:
        asked, *ids = re.findall(r'data-id="([^"]+)"', card)
        found[asked] = list(zip(ids, re.findall(r'data-score="([^"]+)"', card), strict=True))
    return found


def test_every_query_has_its_answers_in_order_and_never_itself(tmp_path):
    assert answers(made(tmp_path, small())) == {
        "a.jpg": [("b.jpg", "0.900"), ("c.jpg", "0.100")],
        "b.jpg": [("c.jpg", "0.300"), ("a.jpg", "0.200")],
        "c.jpg": [("a.jpg", "0.600"), ("b.jpg", "0.500")],
    }


def test_an_image_of_the_same_name_in_another_folder_is_an_answer(tmp_path):
    provenance = {"queries": {"root": "/home/someone/x"}, "gallery": {"root": "/home/someone/y"}}
    found = answers(made(tmp_path, small(provenance=provenance)))
    assert [name for name, _ in found["a.jpg"]] == ["a.jpg", "b.jpg", "c.jpg"]


def test_no_answer_is_marked_right_or_wrong_and_no_figure_is_told(tmp_path):
    text = made(tmp_path, small())
    assert set(re.findall(r'data-mark="(\w*)"', text)) == {""}
    shown = Bones(text).text
    assert "%" not in shown and "right" not in shown.split("Nobody told")[0]


def test_more_queries_than_the_page_may_hold_are_spread_evenly_and_counted(tmp_path):
    names = [f"{row:03d}.jpg" for row in range(101)]
    indices = ((np.arange(101)[:, None] + 1 + np.arange(2)) % 101).astype(np.int64)
    ranking = Ranking(names, names, indices, np.tile([0.5, 0.4], (101, 1)), {})
    text = made(tmp_path, ranking, queries=5)
    assert list(answers(text)) == ["000.jpg", "025.jpg", "050.jpg", "075.jpg", "100.jpg"]
    assert "5 of 101 queries are on this page" in text and "96 are not shown" in text


def test_only_a_page_that_is_still_growing_renews_itself(tmp_path):
    growing, whole = made(tmp_path, small(), renew=4, until=9), made(tmp_path, small())
    assert 'data-renew="4" data-until="9"' in growing and "data-renew" not in whole
    # A browser without scripts would load it for ever, also after its process was killed.
    assert 'http-equiv="refresh' not in growing
    assert "<noscript>" in growing and 'id="stopped" hidden' in growing
    assert "<noscript>" not in whole and 'id="stopped"' not in whole


def test_labels_stand_with_the_answers_and_with_queries_of_the_gallery_only(tmp_path):
    labels = {"a.jpg": "<hat>", "b.jpg": "shoe"}
    same = made(tmp_path, small(), labels=labels)
    assert "<b>&lt;hat&gt;</b> a.jpg" in same and "<b>shoe</b> b.jpg" in same
    assert "</b> c.jpg" not in same and "<b></b>" not in same
    assert re.findall(r'data-text="([^"]+)"', same) == ["a.jpg &lt;hat&gt;", "b.jpg shoe", "c.jpg"]
    provenance = {"queries": {"root": "/x"}, "gallery": {"root": "/y"}}
    other = made(tmp_path, small(provenance=provenance), labels=labels)
    assert re.findall(r'data-text="([^"]+)"', other) == ["a.jpg", "b.jpg", "c.jpg"]
    assert other.count('data-label="shoe"') == 3


def test_heading_and_notes_tell_no_full_path(tmp_path):
    layout = {"title": "/home/someone/secret/mine", "notes": ["in /home/someone/secret/x.jpg"]}
    provenance = {"queries": {"root": "/home/someone/secret"}}
    text = made(tmp_path, small(provenance=provenance), **layout)
    assert "someone" not in text and "<h1>…/mine</h1>" in text and "in …/x.jpg" in text


def test_links_to_the_files_are_relative_and_only_where_asked_for(tmp_path):
    home = tmp_path / "my images"
    home.mkdir()
    for name in ("a.jpg", "b.jpg"):
        toy.photo(0, 0).save(home / name)
    (tmp_path / "out").mkdir()
    assert "data-link" not in made(tmp_path / "out", small(), images=home)
    text = made(tmp_path / "out", small(), images=home, links=True)
    links = set(re.findall(r'data-link="([^"]+)"', text))
    assert links == {"../my%20images/a.jpg", "../my%20images/b.jpg"}
    assert str(tmp_path) not in text


@pytest.mark.parametrize(
    "name", ["javascript:alert(1).jpg", "a b%2f.jpg", os.fsdecode(b"\xff.jpg")]
)
def test_a_link_to_an_odd_name_beside_the_page_leads_to_that_file(tmp_path, name):
    Image.new("RGB", (8, 8), "red").save(tmp_path / name, "JPEG")
    text = made(tmp_path, small([name, "b", "c"]), images=tmp_path, links=True)
    link = re.search(r'data-link="([^"]+)"', text)[1]
    assert link.startswith("./") and re.fullmatch(r"[\w.~/%()-]+", link), link


def test_hostile_names_add_no_element_and_no_attribute(tmp_path):
    for start in range(0, len(HOSTILE), 3):
        names = [f"{HOSTILE[(start + row) % len(HOSTILE)]}{row}" for row in range(3)]
        bones = Bones(made(tmp_path, small(names), title=names[0], notes=names[:1]))
        tame = Bones(made(tmp_path, small(), title="t", notes=["n"]))
        assert bones.tags == tame.tags and bones.raw == tame.raw
        assert {name for _, name, _ in bones.values} <= BONES | {"data-top", "data-link"}


def test_thumbnails_made_for_an_earlier_page_are_not_made_again(tmp_path, monkeypatch):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        toy.photo(0, 0).save(tmp_path / name)
    known = {}
    first = made(tmp_path, small(), images=tmp_path, known=known)
    monkeypatch.setattr("fastseek.report.thumbnails.thumbnail", None)
    assert made(tmp_path, small(), images=tmp_path, known=known) == first
    assert first.count("data:image/jpeg") == 3
