"""The learning rate over a training, one schedule a file."""

from ..registry import import_parts

import_parts(__name__, __path__)
