"""Where photos come from: one dataset a file."""

from ...registry import import_parts

import_parts(__name__, __path__)
