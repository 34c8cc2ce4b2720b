"""The page of a classifier, and pictures with a map laid over them."""

import io

import numpy as np
import pytest
from PIL import Image

from fastseek.report import StepsTable, classified_page
from fastseek.report.classified import Mistake, Pair
from fastseek.report.heat_map import overlay_heat
from fastseek.report.widgets import steps_table
from fastseek.structures import Score


def test_a_picture_is_redder_where_the_map_is_high(tmp_path):
    Image.new("RGB", (80, 40), (0, 0, 255)).save(tmp_path / "blue.png")
    heat = np.zeros((4, 8))
    heat[:, 6:] = 1
    made = Image.open(io.BytesIO(overlay_heat(tmp_path / "blue.png", heat, side=40)))
    pixels = np.asarray(made).astype(int)
    assert made.size == (40, 20)
    assert (
        np.abs(pixels[:, 2] - [0, 0, 255]).max() < 6
        and np.abs(pixels[:, -2] - [178, 45, 76]).max() < 6
    )
    assert overlay_heat(tmp_path / "absent.png", heat) is None


def test_names_are_escaped_and_the_same_input_gives_the_same_bytes(tmp_path):
    pair = Pair("<i>a</i>", "b", 2, 1, 0.25, [Mistake("x\u202ey", "<i>a</i>", "b", 0.9)])
    for name in ("one.html", "two.html"):
        classified_page(
            tmp_path / name,
            title="<h1>",
            pairs=[pair],
            scores=[Score("top(1)", 0.5, np.array([0.0, 1.0]))],
            steps=[{"name": "<s>", "metrics": {"top(1)": 0.5}}],
        )
    page = (tmp_path / "one.html").read_text()
    assert page == (tmp_path / "two.html").read_text()
    assert (
        "<i>" not in page
        and "<s>" not in page
        and "\u202e" not in page
        and "&lt;i&gt;a&lt;/i&gt; / b" in page
    )


def test_changes_may_be_since_the_first_row():
    rows = [
        {"name": str(number), "metrics": {"top(1)": value}}
        for number, value in enumerate((0.9, 0.5, 0.6))
    ]
    assert [round(line[1][0].change, 2) for line in steps_table(rows)[1][1:]] == [-0.4, 0.1]
    assert [round(line[1][0].change, 2) for line in steps_table(rows, first=True)[1][1:]] == [
        -0.4,
        -0.3,
    ]


def test_the_former_keywords_of_a_classifiers_page_work_with_a_warning(tmp_path):
    rows = [{"name": "s", "metrics": {"top(1)": 0.5}}]
    table = StepsTable(rows, "Taken badly", since_first=True)
    classified_page(tmp_path / "new.html", title="folder('/home/someone/own')", steps=table)
    with pytest.warns(DeprecationWarning, match="StepsTable"):
        classified_page(
            tmp_path / "old.html",
            title="folder('/home/someone/own')",
            steps=rows,
            steps_title="Taken badly",
            since_first=True,
        )
    text = (tmp_path / "new.html").read_text()
    assert text == (tmp_path / "old.html").read_text()
    assert "Taken badly" in text and "/home/someone" not in text
