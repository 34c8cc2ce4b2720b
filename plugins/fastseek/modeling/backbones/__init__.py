"""Images to feature maps, one network family a file."""

from ...registry import import_parts

import_parts(__name__, __path__)
