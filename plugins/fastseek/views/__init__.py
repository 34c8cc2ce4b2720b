"""Test-time views of a photo, one a file, and `embed`, which turns them into one embedding."""

from ..registry import import_parts

import_parts(__name__, __path__)
