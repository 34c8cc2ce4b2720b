"""Pretrained models by name, without a recipe: images to vectors of unit length.

Needs torch, torchvision and timm; fast-reid only for models that were trained with it.
"""

from .embed import count_images, embed_batches, embed_images, join_parts
from .image_model import ImageModel
from .load import load_model
from .options import ModelOptions

__all__ = [
    "ImageModel",
    "ModelOptions",
    "count_images",
    "embed_batches",
    "embed_images",
    "join_parts",
    "load_model",
]
