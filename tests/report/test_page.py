"""The page: what it shows, that it stands alone, and that nothing foreign gets into its bones."""

import base64
import hashlib
import html.parser
import io
import os
import re

import numpy as np
import pytest
from PIL import Image

import toy
from fastseek.errors import ArtefactError
from fastseek.report import ImageSources, PageLayout, page
from fastseek.structures import GroundTruth, Ranking, Score

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "</style><script>alert(1)</script>",
    "</title><h1>x</h1>",
    "--><b>x</b>",
    "&lt;b&gt;",
    "{{ 7 * 7 }}",
    "a\x00b",
    "tab\tnew\nline",
    "\u202egpj.exe",
    "\udcff\udcfe",
    "]]><x>",
    "`onclick=x`",
    '" autofocus onfocus="x',
    "url(https://example.org/x)",
    "\u2028x",
]
BONES = set(
    """
class id href title aria-label aria-labelledby aria-hidden role data-id data-label data-mark data-score data-rank
 data-first data-text data-find type name value checked hidden open lang charset http-equiv content
viewbox preserveaspectratio x y rx width height cx cy r d scope placeholder autocomplete spellcheck autofocus
""".split()
)


class Bones(html.parser.HTMLParser):
    """The elements of a page with the names of their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.values, self.text, self.raw = [], [], "", {"style": "", "script": ""}
        self.inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, tuple(name for name, _ in attributes)))
        self.values += [(tag, name, value or "") for name, value in attributes]
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside in self.raw:
            self.raw[self.inside] += data
        else:
            self.text += data


def small(names=None, provenance=None):
    """Four queries, six photos, two classes; query 0 right, 1 wrong, 2 with junk first, 3 without
    an answer.
    """
    names = names or [f"g{row}" for row in range(6)]
    queries = [f"q {name}" for name in names[:4]]
    labels = [f"class {name}" for name in names]
    g_labels = [labels[row] for row in (0, 0, 1, 1, 2, 2)]
    indices = np.array([[0, 2, 1], [4, 5, 3], [4, 5, 0], [1, 2, -1]])
    scores = np.array([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4], [0.95, 0.9, 0.1], [0.3, 0.2, -np.inf]])
    truth = GroundTruth(
        queries,
        names,
        [0, 2, 4, 5, 5],
        [0, 1, 2, 3, 5],
        [0, 0, 0, 1, 1],
        [4],
        [labels[0], labels[1], labels[2], ""],
        g_labels,
        {"relevant": "same label"},
    )
    ranking = Ranking(queries, names, indices, scores, provenance or {"search": "exact(k=3)"})
    ap = Score("map(3)", 0.61, np.array([5 / 6, 1 / 6, 1.0, np.nan]), {"counted": 3})
    return ranking, truth, [ap, Score("gap", 0.5)]


def made(tmp_path, *what, name="page.html", images=None, **options):
    out = tmp_path / name
    page(*what, images=images, out=out, layout=PageLayout(**options))
    return out.read_bytes().decode("utf-8")


def marks(text):
    return [
        re.findall(r'class="hit (\w+)(?: (missed))?"', case)
        for case in text.split('<li class="case"')[1:]
    ]


def test_marks_say_what_the_truth_says(tmp_path):
    worst, middle, best, open_ = marks(made(tmp_path, *small()))
    assert worst == [("wrong", ""), ("wrong", ""), ("right", ""), ("right", "missed")]
    assert middle == [("right", ""), ("wrong", ""), ("right", "")]
    assert best == [("junk", ""), ("right", ""), ("wrong", "")]
    assert open_ == [("wrong", ""), ("wrong", "")]


def test_worst_queries_stand_first_and_uncounted_ones_last(tmp_path):
    text = made(tmp_path, *small())
    assert re.findall(r'data-first="(\w+)" data-text="(?:class )?(\w*)', text) == [
        ("wrong", "g1"),
        ("right", "g0"),
        ("right", "g2"),
        ("open", ""),
    ]


def test_a_given_order_overrides_the_first_map(tmp_path):
    order = Score("recall(1)", 0.5, np.array([0.0, 1.0, 0.5, np.nan]))
    text = made(tmp_path, *small(), order=order)
    assert re.findall(r'data-text="class (\w+)', text) == ["g0", "g2", "g1"]


def test_the_page_names_recipe_model_and_search_without_telling_where_things_lie(tmp_path):
    model = "ab" * 32
    provenance = {
        "search": "exact(k=3)",
        "queries": {"root": "/home/someone/secret/photos", "model": model},
        "weights": "C:\\someone\\w.pth",
    }
    text = Bones(made(tmp_path, *small(provenance=provenance))).text
    assert "exact(k=3)" in text and "…/photos" in text and "…/w.pth" in text
    assert "someone" not in text


def test_hostile_names_and_labels_add_no_element_and_no_attribute(tmp_path):
    for start in range(len(HOSTILE)):
        names = [f"{HOSTILE[(start + row) % len(HOSTILE)]}{row}" for row in range(6)]
        steps = [{"name": names[1], "metrics": {names[2]: 1}}]
        bones = Bones(made(tmp_path, *small(names), title=names[0], steps=steps))
        tame = Bones(
            made(tmp_path, *small(), title="t", steps=[{"name": "s", "metrics": {"m": 1}}])
        )
        assert bones.tags == tame.tags
        assert bones.raw == tame.raw
        assert {name for _, name, _ in bones.values} <= BONES


def test_hostile_names_stay_readable(tmp_path):
    names = [*HOSTILE[:3], "\u202egpj.exe", "a\x00b", "\udcff"]
    text = Bones(made(tmp_path, *small(names), title="x")).text
    assert all(name in text for name in [*HOSTILE[:3], "\\u202egpj.exe", "a\\x00b", "\\udcff"])


def test_only_the_pages_own_style_and_script_may_run(tmp_path):
    text = made(tmp_path, *small())
    bones = Bones(text)
    policy = next(
        value
        for tag, name, value in bones.values
        if (tag, name) == ("meta", "content") and "-src" in value
    )
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
    for tag, body in bones.raw.items():
        wanted = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{wanted}'" in policy
    assert not [
        value for _, name, value in bones.values if name == "style" or name.startswith("on")
    ]


def test_nothing_is_fetched_from_elsewhere(tmp_path):
    toy.photo(0, 0).save(tmp_path / "p.jpg")
    text = made(tmp_path, *small(), images={"q g0": tmp_path / "p.jpg"})
    bones = Bones(text)
    assert all(
        value.startswith("#")
        for _, name, value in bones.values
        if name in ("href", "src", "action")
    )
    links = re.findall(r"url\(([^)]{0,22})", bones.raw["style"])
    assert links == ["data:image/jpeg;base64"]
    assert (
        "@import" not in bones.raw["style"]
        and "http" not in bones.raw["style"] + bones.raw["script"]
    )


def test_the_same_input_gives_the_same_bytes(tmp_path):
    for row in range(6):
        toy.photo(row, row).save(tmp_path / f"g{row}.jpg")
    first, second = (
        made(tmp_path, *small([f"g{row}.jpg" for row in range(6)]), name=name, images=tmp_path)
        for name in ("one.html", "two.html")
    )
    assert first == second and "base64" in first


def test_each_photo_is_embedded_once_and_missing_ones_are_named(tmp_path):
    for row in (1, 2, 3, 4):
        toy.photo(row, row).save(tmp_path / f"g{row}.jpg")
    text = made(tmp_path, *small([f"g{row}.jpg" for row in range(6)]), images=tmp_path)
    assert text.count("data:image/jpeg") == 4
    absent = re.findall(r'photo absent"><span>([^<]+)', text)
    assert set(absent) == {"g0.jpg", "g5.jpg", *(f"q g{row}.jpg" for row in range(4))}


def test_images_are_found_below_the_roots_of_the_provenance_where_these_are_allowed(tmp_path):
    for side in ("asked", "stored"):
        (tmp_path / side).mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "asked" / "q g0", "PNG")
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "stored" / "g0", "PNG")
    provenance = {
        "queries": {"root": str(tmp_path / "asked")},
        "gallery": {"root": str(tmp_path / "stored")},
    }
    text = made(tmp_path, *small(provenance=provenance), images=tmp_path)
    assert text.count("data:image/jpeg") == 2


def test_F66_the_roots_of_a_strangers_ranking_open_no_folder(tmp_path):
    for folder in ("secret", "mine"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8), "red").save(tmp_path / folder / "g0", "PNG")
    provenance = {
        "queries": {"root": str(tmp_path / "secret")},
        "gallery": {"root": str(tmp_path / "mine" / ".." / "secret")},
    }
    case = small(provenance=provenance)
    assert "data:image/jpeg" not in made(tmp_path, *case)
    assert made(tmp_path, *case, images=tmp_path / "mine").count("data:image/jpeg") == 1
    (tmp_path / "mine" / "g0").unlink()
    assert "data:image/jpeg" not in made(tmp_path, *case, images=tmp_path / "mine")


def colors(text):
    """Id -> color of every image that the page shows, by its thumbnail."""
    found = {}
    for number, data in re.findall(r"\.(p\d+)\{[^}]*base64,([^)]+)\)", text):
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        found[number] = "red" if image.getpixel((0, 0))[0] > 128 else "blue"
    pairs = re.findall(r'data-id="([^"]+)"[^>]*>\s*<span class="photo (p\d+)"', text)
    return {(name, found[number]) for name, number in pairs}


@pytest.mark.parametrize("given", ["both", "moved", "above", "mappings"])
def test_F05_images_of_one_name_in_two_folders_are_shown_each_on_its_side(tmp_path, given):
    for side, color in (("query", "red"), ("gallery", "blue")):
        for home in ("here", "there"):
            (tmp_path / home / side).mkdir(parents=True)
            Image.new("RGB", (8, 8), color).save(tmp_path / home / side / "i.png")
    sides = {
        part: {"root": str(tmp_path / "here" / side)}
        for part, side in (("queries", "query"), ("gallery", "gallery"))
    }
    home = tmp_path / ("there" if given == "moved" else "here")
    folders = [home / "gallery", home / "query"]
    files = ({"i.png": folders[1] / "i.png"}, {"i.png": folders[0] / "i.png"})
    images = {"above": home, "mappings": ImageSources(*files)}.get(given, folders)
    ranking = Ranking(["i.png"], ["i.png"], [[0]], [[1.0]], sides)
    truth = GroundTruth.from_labels(["i.png"], ["x"], ["i.png"], ["x"], shared=False)
    text = made(tmp_path, ranking, truth, [], images=images)
    assert colors(text) == {("i.png", "red"), ("i.png", "blue")}
    card = text.split('<li class="case"')[1]
    first = re.search(r"photo (p\d+)", card)[1]
    assert re.search(rf"\.{first}\{{[^}}]*base64,([^)]+)", text)
    asked = re.findall(r"\.(p\d+)\{[^}]*base64,([^)]+)\)", text)
    jpeg = base64.b64decode(dict(asked)[first])
    assert Image.open(io.BytesIO(jpeg)).getpixel((0, 0))[0] > 128  # the query is the red one


def test_F41_a_link_leads_to_every_query_and_to_the_classes(tmp_path):
    text = made(tmp_path, *small())
    places, links = (re.findall(rf'{name}="#?(query-\d)"', text) for name in ("id", "href"))
    assert places == links and sorted(places) == [f"query-{row}" for row in range(4)]
    # What is laid out only when it is seen moves the heading away from where a link has led.
    assert "content-visibility" not in text


def test_F41_a_heading_and_the_facts_tell_no_full_path(tmp_path):
    call = "folder('/home/someone/secret/photos', query=0.2)"
    provenance = {"search": "quantized(file='C:\\\\someone\\\\q.bin')", "queries": {"crops": call}}
    text = made(tmp_path, *small(provenance=provenance), title=f"{call}: dolg, 3/4 or a / b")
    assert "someone" not in text
    shown = Bones(text).text
    assert "folder('…/photos', query=0.2): dolg, 3/4 or a / b" in shown and "…/q.bin" in shown


def test_F41_scores_below_zero_are_explained_where_there_are_some(tmp_path):
    ranking, truth, scores = small()
    assert "below zero" not in made(tmp_path, ranking, truth, scores)
    lower = Ranking(ranking.query_ids, ranking.gallery_ids, ranking.indices, ranking.scores - 1, {})
    assert "minus the distance" in made(tmp_path, lower, truth, scores)


def test_F41_a_thumbnail_is_not_stretched_and_large_on_a_page_of_few(tmp_path):
    toy.photo(0, 0, 500).save(tmp_path / "g0", "PNG")
    text = made(tmp_path, *small(), images=tmp_path)
    assert "{--width:320px;" in text and "min(100%, var(--width))" in text


def test_the_former_keywords_of_a_page_work_with_a_warning(tmp_path):
    with pytest.warns(DeprecationWarning, match="PageLayout"):
        page(*small(), None, tmp_path / "page.html", title="Mine", depth=2)
    assert "<h1>Mine</h1>" in (tmp_path / "page.html").read_text()


def test_a_photo_whose_name_is_no_utf8_is_shown_and_its_name_escaped(tmp_path):
    odd = os.fsdecode(b"x\xff.jpg")
    Image.new("RGB", (8, 8), "red").save(tmp_path / odd, "JPEG")
    text = made(
        tmp_path,
        *small([odd, *"bcdef"], {"gallery": {"root": os.fsdecode(b"/\xfe")}}),
        images=tmp_path,
        title=odd,
    )
    assert "x\\udcff.jpg" in text and "\udcff" not in text and text.count("data:image/jpeg") == 1


def test_more_queries_than_fit_are_counted(tmp_path):
    rows = np.arange(50)
    ids = [f"q{row}" for row in rows]
    ranking = Ranking(ids, ["a", "b"], np.tile([0, 1], (50, 1)), np.tile([1.0, 0.5], (50, 1)))
    truth = GroundTruth.from_labels(ids, ["x"] * 50, ["a", "b"], ["x", "y"])
    text = made(tmp_path, ranking, truth, [Score("map(2)", 0.5, rows / 50)], queries=10)
    assert text.count('<li class="case"') == 10
    assert "10 of 50 queries" in text and "40 are not shown" in text
    assert re.findall(r'class="id" title="q(\d+)"', text) == [
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "20",
        "35",
        "49",
    ]


def test_nothing_found_and_no_scores_still_make_a_page(tmp_path):
    ranking = Ranking(["q"], ["g"], np.empty((1, 0), int), np.empty((1, 0)))
    truth = GroundTruth.from_labels(["q"], [""], ["g"], [""])
    text = made(tmp_path, ranking, truth, [])
    assert "nothing was found" in text and "The queries have no labels" in text


def test_a_truth_of_other_photos_is_refused(tmp_path):
    ranking, truth, scores = small()
    other = GroundTruth.from_labels(["q"], [""], ["g"], [""])
    with pytest.raises(ArtefactError, match="query_ids"):
        made(tmp_path, ranking, other, scores)
    with pytest.raises(ArtefactError, match="2 queries"):
        made(tmp_path, ranking, truth, [Score("map(3)", 0.5, np.zeros(2))])
    assert not (tmp_path / "page.html").exists()


def test_a_failing_page_leaves_the_old_one(tmp_path):
    (tmp_path / "page.html").write_text("old")
    ranking, truth, scores = small()
    with pytest.raises(TypeError):
        made(tmp_path, ranking, truth, scores, steps=[{"name": "a", "metrics": {"m": "no number"}}])
    assert (tmp_path / "page.html").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_steps_show_the_change_from_row_to_row(tmp_path):
    steps = [
        {"name": "before", "metrics": {"gap": 0.5}, "seconds": 20.0},
        {"name": "after", "metrics": {"gap": 0.75, "map": 0.1}, "seconds": 540.0},
    ]
    text = made(tmp_path, *small(), steps=steps)
    assert "+25.0" in text and "9.0 min" in text and "20 s" in text
    assert re.findall(r'class="number best">([\d.]+)', text) == ["75.0", "10.0"]


def test_class_table_tells_the_worst_class_first_and_what_it_is_taken_for(tmp_path):
    text = made(tmp_path, *small())
    table = text[text.index('class="classes"') :]
    assert re.findall(r'data-find="([^"]+)"', table) == ["class g1", "class g0", "class g2"]
    assert re.findall(r'class="confused">(?:<span>([^<]+)</span>)?', table) == ["class g2", "", ""]
