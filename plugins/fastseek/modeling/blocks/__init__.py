"""What is put into a backbone, one block a file."""

from ...registry import import_parts

import_parts(__name__, __path__)
