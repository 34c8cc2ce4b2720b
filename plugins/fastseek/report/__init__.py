"""Scores and rankings for people: a self-contained HTML page, a text table, results.json."""

from ..io.text_table import table
from .classified import classified_page
from .interval import interval
from .page import page
from .results import row, write_results

__all__ = ["classified_page", "interval", "page", "row", "table", "write_results"]
