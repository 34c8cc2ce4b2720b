"""FastSeek's parts in fast-reid: instance retrieval of landmarks, products and species."""

from .config import add_fastseek_config
from .trainer import Trainer

__all__ = ["Trainer", "add_fastseek_config"]
