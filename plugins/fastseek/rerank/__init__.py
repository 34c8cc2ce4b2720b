"""Re-rankers: Ranking -> Ranking with the same images."""

from ..registry import import_parts

import_parts(__name__, __path__)
