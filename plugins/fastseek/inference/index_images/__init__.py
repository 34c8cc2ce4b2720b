"""Images into an index, and images as queries for it."""

from .put import Arrival, Outcome, put_images
from .queries import embed_queries, load_model_of

__all__ = ["Arrival", "Outcome", "embed_queries", "load_model_of", "put_images"]
