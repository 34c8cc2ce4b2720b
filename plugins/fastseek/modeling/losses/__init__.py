"""Named embeddings to one scalar, one loss a file."""

from ...registry import import_parts

import_parts(__name__, __path__)
