"""Which pretrained weights the recipes of projects take."""

import pathlib
import re

import pytest

from fastseek.registry import parse

ROOT = pathlib.Path(__file__).parents[2]
FILES = [*ROOT.glob("configs/**/*.yml"), *ROOT.glob("projects/**/*.yml")]
NETWORK = re.compile(r'"((?:timm|hybrid_swin)\([^"]*\))"')
# Contests whose rules allow ImageNet's weights, and not those of larger private collections.
IMAGENET_ONLY = ("DIGIX2020", "INat2021", "SemiINat2021")


def networks():
    """(file, network, tag) of every network that fetches its weights."""
    found = []
    for path in FILES:
        for call in NETWORK.findall(path.read_text()):
            _, args, given = parse(call)
            if not given.get("pretrained"):
                continue
            parts = {"name": "weights", "cnn": "cnn_weights", "swin": "swin_weights"}
            for part, file in parts.items():
                name = given.get(part, args[0] if args and part == "name" else "")
                if name and not given.get(file):
                    found.append((path.relative_to(ROOT).as_posix(), *name.partition(".")[::2]))
    return found


NETWORKS = networks()


@pytest.mark.parametrize("file, network, tag", NETWORKS)
def test_F59_every_pretrained_network_names_its_weights(file, network, tag):
    """timm's choice for a bare name changes: `tf_efficientnet_b4` means JFT's weights today."""
    assert tag, f"{file}: say which weights of {network}"
    if any(contest in file for contest in IMAGENET_ONLY):
        assert "jft" not in tag and "ig1b" not in tag, f"{file}: against the rules"


def test_the_recipes_have_such_networks():
    assert len(NETWORKS) > 10
