"""Images to feature maps, one network family a file.

`build_timm_backbone` stands in fast-reid's own registry, as soon as this package is imported.
"""

from .build_timm_backbone import build_timm_backbone

__all__ = ["build_timm_backbone"]
