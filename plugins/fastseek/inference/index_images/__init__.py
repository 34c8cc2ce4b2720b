"""Images into an index, images as queries for it, and its images by another model."""

from .another_model import make_new_model
from .put import Arrival, Outcome, put_images
from .queries import embed_queries, load_model_of

__all__ = ["Arrival", "Outcome", "embed_queries", "load_model_of", "make_new_model", "put_images"]
