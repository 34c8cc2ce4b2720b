"""What happens to one photo before it stands in a batch: one transform a file."""

from ...registry import import_parts

import_parts(__name__, __path__)
