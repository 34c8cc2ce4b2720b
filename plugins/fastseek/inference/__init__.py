"""A trained model at work: embeddings, class probabilities, feature maps, export, evaluation."""

from .. import compat  # before anything that imports fastreid
