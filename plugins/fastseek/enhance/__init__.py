"""Enhancers: (queries, gallery) -> better embeddings of the same images."""

from ..registry import import_parts

import_parts(__name__, __path__)
