"""A trained model at work: embeddings, class probabilities, feature maps, export, evaluation.

What needs fast-reid imports `compat` itself, so that `pretrained` works without it.
"""
