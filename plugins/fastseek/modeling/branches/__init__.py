"""Feature maps to embeddings, one branch a file."""

from ...registry import import_parts

import_parts(__name__, __path__)
