"""`fastseek try`: what it prints, where it writes, and when it opens a browser."""

import re
import shlex
import shutil
import sys

import pytest
import torch
from PIL import Image

import toy
from fastseek.cli import call_verb
from fastseek.data.datasets._rendered_objects import FAMILY, draw_view
from fastseek.errors import DataError, UsageError
from fastseek.inference import pretrained
from fastseek.inference.pretrained import ImageModel, in_memory
from fastseek.report import browser


def to_tensor(image):
    pixels = torch.tensor(list(image.resize((4, 4)).tobytes()), dtype=torch.float32)
    return pixels + 1


def load(name, options):
    provenance = {"name": name, "model": name, "preprocessing": {}, "views": []}
    return ImageModel(name, 48, provenance, to_tensor, torch.nn.functional.normalize, 4)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Six images in the working folder, below `mine`, and a model that is quick."""
    monkeypatch.setattr(pretrained, "load_model", load)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for row in range(6):
        toy.photo(row // 2, row).save(tmp_path / "mine" / f"{row}.jpg")
    return tmp_path


@pytest.fixture
def opened(monkeypatch):
    """Pages that a browser was asked to show."""
    pages = []
    monkeypatch.setattr("webbrowser.open", lambda page: pages.append(page) or True)
    return pages


def test_one_command_makes_the_page_in_the_working_folder_and_says_what_to_do_next(
    home, opened, capsys
):
    call_verb("try", ["mine"])
    page = home / "fastseek-try" / "mine" / "answers.html"
    assert len(re.findall('<li class="case', page.read_text())) == 6
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("page: fastseek-try/mine/answers.html (")
    assert lines[1].startswith("6 of 6 images have a vector (6 new, model default)")
    assert lines[2] == "next:" and len(lines) == 6
    assert all("fastseek " in line for line in lines[3:])
    assert not opened  # nobody sits before a terminal


@pytest.mark.parametrize("folders", [False, True])
def test_the_commands_it_suggests_are_understood(home, capsys, folders):
    if folders:
        for row in range(6):
            (home / "mine" / f"class {row % 2}").mkdir(exist_ok=True)
            (home / "mine" / f"{row}.jpg").rename(home / "mine" / f"class {row % 2}" / f"{row}.jpg")
    call_verb("try", ["mine", "--out", "a folder"])
    told = capsys.readouterr().out
    assert ("--labels folders" in told) == folders
    suggested = re.findall(r"fastseek [^&\n]+", told.partition("next:")[2])
    assert len(suggested) >= 3 and "fastseek run" in told
    for command in suggested:
        verb, *words = shlex.split(command)[1:]
        subcommand = words[:1] if verb == "index" else []
        with pytest.raises(SystemExit):
            call_verb(verb, [*subcommand, "--help"])
        known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
        assert {word for word in words if word.startswith("--")} <= known


def test_the_gallery_that_it_suggests_takes_one_more_image_later(home, capsys, monkeypatch):
    monkeypatch.setattr(in_memory, "load_kept", load)
    call_verb("try", ["mine", "--pooling", "mean"])
    told = re.search("gallery that grows: (.*)", capsys.readouterr().out)[1]
    assert (
        "--model default" in told
        and "--images mine --embeddings" in told
        and told.endswith("--pooling mean")
    )
    create, add = ([*shlex.split(one)][2:] for one in told.split(" && "))
    call_verb("index", create)
    call_verb("index", add)
    assert "6 images put in with vectors of fastseek-try/mine/" in capsys.readouterr().out
    toy.photo(0, 9).save(home / "mine" / "new.jpg")
    call_verb("index", add)
    assert "1 image embedded and put in; 6 were there already" in capsys.readouterr().out


def test_neighbors_queries_and_k_reach_the_page(home):
    call_verb("try", ["mine", "--query", "mine/3.jpg", "mine/5.jpg", "-k", "2", "--out", "look"])
    text = (home / "look" / "answers.html").read_text()
    cards = text.split('<li class="case')[1:]
    assert [card.count('class="hit"') for card in cards] == [2, 2]
    call_verb("try", ["mine", "--queries", "4", "--out", "look"])
    assert "4 of 6 images stand here" in (home / "look" / "answers.html").read_text()


def test_unreadable_images_are_told_and_do_not_end_it(home, capsys):
    (home / "mine" / "bad.jpg").write_text("x")
    call_verb("try", ["mine"])
    told = capsys.readouterr().out
    assert "6 of 7 images" in told
    assert "1 image could not be read: bad.jpg; see fastseek-try/mine/rejects.csv" in told


def test_formats_that_are_asked_for_are_embedded_and_shown(home, monkeypatch, capsys):
    monkeypatch.setenv("FASTSEEK_FORMATS", "")
    toy.photo(0, 9).save(home / "mine" / "x.tiff")
    call_verb("try", ["mine"])
    assert "6 of 6 images" in capsys.readouterr().out
    call_verb("try", ["mine", "--formats", "tiff"])
    assert "7 of 7 images have a vector (1 new" in capsys.readouterr().out
    text = (home / "fastseek-try" / "mine" / "answers.html").read_text()
    assert 'data-id="x.tiff"' in text and "absent" not in text.partition("<body")[2]


@pytest.mark.parametrize("name", ["answers.html", "ranking.npz", "rejects.csv"])
def test_files_of_others_are_not_replaced_and_its_own_are(home, name):
    (home / "look").mkdir()
    (home / "look" / name).write_text("mine")
    with pytest.raises(UsageError, match=f"look is there and holds '{name}', which no run"):
        call_verb("try", ["mine", "--out", "look"])
    assert [path.name for path in (home / "look").iterdir()] == [name]
    assert (home / "look" / name).read_text() == "mine"
    call_verb("try", ["mine", "--out", "look", "--force"])
    assert "rejects" in name or (home / "look" / name).read_bytes() != b"mine"
    (home / "look" / name).unlink(missing_ok=True)
    (home / "mine" / "bad.jpg").write_text("x")
    for _ in range(2):
        call_verb("try", ["mine", "--out", "look"])
    assert (home / "look" / name).exists()


def test_two_folders_of_one_name_have_a_page_each(home, capsys):
    (home / "b").mkdir()
    shutil.copytree(home / "mine", home / "b" / "mine")
    for images in ("mine", "b/mine", "b/mine", "mine"):
        call_verb("try", [images])
    told = capsys.readouterr().out
    assert told.count(f"fastseek-try/mine belongs to {home / 'mine'}: these images go to") == 2
    assert told.count("(6 new,") == 2 and told.count("(0 new,") == 2
    assert len(list((home / "fastseek-try").iterdir())) == 2


def test_a_folder_without_images_is_refused(home):
    (home / "none").mkdir()
    with pytest.raises(DataError, match="no image found"):
        call_verb("try", ["none"])
    assert not (home / "fastseek-try").exists()


@pytest.mark.parametrize("given", [["nowhere"], ["mine", "--query", "nowhere"]])
def test_a_name_that_leads_nowhere_is_told_before_a_model_is_loaded(home, monkeypatch, given):
    monkeypatch.setattr(pretrained, "load_model", None)
    with pytest.raises(DataError, match="nowhere: there is no such file or folder"):
        call_verb("try", given)
    assert not (home / "fastseek-try").exists()


def test_the_page_opens_on_a_terminal_with_a_display_unless_told_not_to(home, opened, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(browser, "has_display", lambda: True)
    call_verb("try", ["mine"])
    assert len(opened) == 1 and opened[0].endswith("/fastseek-try/mine/answers.html")
    call_verb("try", ["mine", "--no-open"])
    assert len(opened) == 1


@pytest.mark.parametrize("error", [OSError("no"), browser.webbrowser.Error("none")])
def test_a_browser_that_fails_does_not_end_the_work(tmp_path, monkeypatch, error):
    def fail(page):
        raise error

    monkeypatch.setattr("webbrowser.open", fail)
    monkeypatch.setattr(browser, "has_display", lambda: True)
    assert browser.open_page(tmp_path / "x.html") is False


def test_without_a_display_no_browser_is_started(tmp_path, monkeypatch, opened):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert browser.open_page(tmp_path / "x.html") is False and not opened
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert browser.open_page(tmp_path / "x.html") is True and len(opened) == 1


def test_the_default_model_finds_the_image_that_another_was_cut_from(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for row in range(3):
        (tmp_path / "mine" / f"{row}a.jpg").write_bytes(draw_view(row * FAMILY, 0, 128))
        image = Image.open(tmp_path / "mine" / f"{row}a.jpg")
        image.crop((8, 12, 116, 120)).save(tmp_path / "mine" / f"{row}b.jpg")
    call_verb("try", ["mine", "-k", "1"])
    page = (tmp_path / "fastseek-try" / "mine" / "answers.html").read_text()
    pairs = [
        re.findall(r'data-id="(\d)[ab]\.jpg"', card) for card in page.split('<li class="case')[1:]
    ]
    assert len(pairs) == 6 and all(one == other for one, other in pairs)
