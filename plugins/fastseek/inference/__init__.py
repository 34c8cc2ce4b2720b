"""A trained model at work: embeddings, class probabilities, feature maps, export, evaluation."""

from .. import compat  # noqa: F401  (before anything that imports fastreid)
