"""Which photos stand together in a batch: one sampler a file."""

from ...registry import import_parts

import_parts(__name__, __path__)
