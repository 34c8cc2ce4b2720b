"""Where the second picture of a photo is cut, one way a file."""

from ...registry import import_parts

import_parts(__name__, __path__)
