"""A first look at images nobody has labeled: each with its nearest, on a page that grows meanwhile."""

from .look import PAGE, Look, LookOptions, look_at
from .questions import check_sources

__all__ = ["PAGE", "Look", "LookOptions", "check_sources", "look_at"]
