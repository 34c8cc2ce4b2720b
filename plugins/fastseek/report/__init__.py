"""Scores and rankings for people: a self-contained HTML page, a text table, results.json."""

from ..io.text_table import table
from .classified import StepsTable, classified_page
from .interval import interval
from .neighbors import NeighborsLayout, neighbors_grid, neighbors_page
from .page import PageLayout, page
from .results import row, write_results
from .thumbnails import ImageSources

__all__ = [
    "ImageSources",
    "NeighborsLayout",
    "PageLayout",
    "StepsTable",
    "classified_page",
    "interval",
    "neighbors_grid",
    "neighbors_page",
    "page",
    "row",
    "table",
    "write_results",
]
