"""Which models there are, which of them are here, and whether their weights are what they should be."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ...errors import ArtefactError, DataError, UsageError
from ...modeling.layers import wheel_weights
from .catalog import list_names
from .hub_weights import WeightFile, fetch_weights, find_known_pin, known_repos
from .load import DEFAULT
from .preprocessing import read_preprocessing
from .timm_models import find_repo
from .timm_networks import check_network_name, count_parameters, empty_network, find_config

HERE, AWAY = "here", "to fetch"


@dataclasses.dataclass(frozen=True)
class Listed:
    """A model of the list.

    Args:
        name: by which it is loaded.
        state: `HERE` or `AWAY`.
        about: what it is.
    """

    name: str
    state: str
    about: str


def list_models() -> list[Listed]:
    """The models worth trying, and those that were fetched here; the network is not asked."""
    shown = list_names()
    repos = {find_repo(name.partition(":")[2])[0] for name in shown if name != DEFAULT}
    fetched = {
        f"timm:{repo.partition('/')[2]}": "fetched here"
        for repo in known_repos()
        if repo not in repos and repo.startswith("timm/")
    }
    return [Listed(name, _state_of(name), about) for name, about in {**shown, **fetched}.items()]


def _state_of(name: str) -> str:
    try:
        find_file(name)
    except DataError:
        return AWAY
    return HERE


def find_file(name: str, fetch: bool = False) -> WeightFile:
    """The weight file of a model by name, checked against its SHA-256 where one is known.

    Args:
        name: "default" or "timm:NETWORK".
        fetch: the network may be asked.

    Raises:
        UsageError: the name is none of these. DataError: the file is not here.
        ArtefactError: it is another than the one that is pinned.
    """
    if name == DEFAULT:
        file = wheel_weights.find_weights()
        wheel_weights.check_weights(file)
        return WeightFile(file, wheel_weights.SHA256)
    return fetch_weights(*find_repo(_network_of(name)), local_only=not fetch)


def _network_of(name: str) -> str:
    """The network that "timm:NETWORK" names.

    Raises:
        UsageError: timm knows no such network, or the name is of another kind.
    """
    kind, _, network = name.partition(":")
    if kind != "timm" or "@" in network:
        raise UsageError(
            f"{name!r}: expected {DEFAULT}, or timm:NETWORK with weights of the hub: `models` knows"
            " these names only, no files and no folders"
        )
    check_network_name(network)
    return network


def describe_model(name: str) -> list[tuple[str, str]]:
    """What is known of a model without its weights: (what, value) in order.

    Raises:
        UsageError: no model is called so.
    """
    network = wheel_weights.NETWORK if name == DEFAULT else _network_of(name)
    config, net = find_config(network), empty_network(network)
    preprocessing = read_preprocessing(config, network)
    rows = [
        ("name", name),
        ("about", list_names().get(name, "")),
        ("network", f"{network}, {count_parameters(net) / 1e6:.1f} million parameters"),
        ("numbers of a vector", str(net.num_features)),
        ("size", " x ".join(map(str, preprocessing.size))),
        ("mean, std", f"{preprocessing.mean}, {preprocessing.std}"),
        ("license", str(config.get("license") or "not told by timm")),
    ]
    return [*(row for row in rows if row[1]), *_describe_weights(name)]


def _describe_weights(name: str) -> list[tuple[str, str]]:
    """Where the weights come from, whether they are here, and which they are."""
    source = (
        f"package {wheel_weights.PACKAGE} {wheel_weights.VERSION}"
        if name == DEFAULT
        else f"hub {find_repo(_network_of(name))[0]}"
    )
    try:
        file = find_file(name)
    except DataError:
        return [("weights", source), ("state", f"{AWAY}: fastseek models fetch {name}")]
    except ArtefactError as error:
        return [("weights", source), ("state", str(error))]
    rows = [("weights", source), ("state", HERE), ("file", str(file.path))]
    rows += [("revision", file.revision)] if file.revision else []
    return [*rows, ("SHA-256", file.sha256)]


def verify_models(names: Sequence[str] = ()) -> list[str]:
    """Check the bytes of weights against their SHA-256.

    Args:
        names: models; all that are here when none is named.

    Returns:
        a line for each.

    Raises:
        ArtefactError: a file is not what it should be; names all such.
        DataError: a model that was named is not here.
    """
    chosen = list(names) or [one.name for one in list_models() if one.state == HERE]
    told, bad = [], []
    for name in chosen:
        try:
            file = find_file(name)
        except ArtefactError as error:
            bad.append(str(error))
            continue
        known = name == DEFAULT or bool(find_known_pin(file.repo))
        told.append(f"{name}: {'as pinned' if known else 'no pin'}, SHA-256 {file.sha256}")
    if bad:
        raise ArtefactError("; ".join(bad))
    return told
