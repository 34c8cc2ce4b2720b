"""What other people's recipes and programs lean on: config keys, names of parts, their arguments, and
the Python API.

python tests/test_surface.py        writes tests/surface.json anew
"""

import inspect
import json
import pathlib

import fastseek
from fastseek import api, compat, register, registry  # noqa: F401
from fastseek.config.nested import flatten, get_value

from fastreid.config import get_cfg
from fastreid.data.datasets import DATASET_REGISTRY
from fastreid.modeling.backbones import BACKBONE_REGISTRY
from fastreid.modeling.heads import REID_HEADS_REGISTRY
from fastreid.modeling.meta_arch import META_ARCH_REGISTRY

FILE = pathlib.Path(__file__).parent / "surface.json"
THEIRS = {
    "BACKBONE": BACKBONE_REGISTRY,
    "REID_HEADS": REID_HEADS_REGISTRY,
    "META_ARCH": META_ARCH_REGISTRY,
    "DATASET": DATASET_REGISTRY,
}


def surface():
    """Our config keys with their defaults, and every part with its arguments."""
    stock, cfg = set(flatten(get_cfg())), get_cfg()
    register(cfg)
    ours = {key: get_value(cfg, key) for key in sorted(set(flatten(cfg)) - stock)}
    parts = {}
    for name, members in sorted(vars(registry).items()):
        if isinstance(members, registry.Registry):
            parts[name] = {part: arguments(members.get(part)) for part in members.names()}
    parts |= {old: parts[new] for old, new in registry.OLD_NAMES.items()}
    theirs = {
        name: sorted(
            part
            for part, made in members._obj_map.items()
            if made.__module__.startswith("fastseek.")
        )
        for name, members in THEIRS.items()
    }
    return {
        "config": ours,
        "parts": parts,
        "in fast-reid's registries": theirs,
        "python": python_api(),
    }


def python_api():
    """What `import fastseek as fs` offers: functions, classes and their own methods, with arguments."""
    made = {}
    for name in [one for one in fastseek.__all__ if one not in ("__version__", "register")]:
        offered = getattr(api, name)
        if inspect.isclass(offered) and not issubclass(offered, Exception):
            methods = {
                f"{name}.{key}": arguments(getattr(offered, key))
                for key in vars(offered)
                if not key.startswith("_") and inspect.isroutine(getattr(offered, key))
            }
            made |= {name: "class", **methods}
        else:
            made[name] = arguments(offered) if inspect.isfunction(offered) else "error"
    return made


def arguments(part):
    """The arguments a recipe can give, with their defaults; annotations may change."""
    shown = [
        parameter.replace(annotation=parameter.empty)
        for parameter in inspect.signature(part).parameters.values()
    ]
    return str(inspect.Signature(shown))


def flat(tree, prefix=""):
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    return {
        key: value
        for name, inner in tree.items()
        for key, value in flat(inner, f"{prefix}/{name}").items()
    }


def test_nothing_public_was_taken_away_or_changed():
    frozen, now = flat(json.loads(FILE.read_text())), flat(json.loads(json.dumps(surface())))
    gone = {
        key: (value, now.get(key))
        for key, value in frozen.items()
        if key in now and now[key] != value
    }
    gone |= {key: (value, "gone") for key, value in frozen.items() if key not in now}
    lists = {
        key
        for key, (old, new) in gone.items()
        if isinstance(old, list)
        and isinstance(new, list)
        and key.startswith("/in fast-reid")
        and set(old) <= set(new)
    }
    gone = {key: pair for key, pair in gone.items() if key not in lists}
    assert gone == {}, (
        "recipes of others may lean on this (frozen, now); if it must change, tell it in"
        " CHANGELOG.md and run: python tests/test_surface.py"
    )


def test_what_is_new_and_public_is_recorded():
    frozen, now = json.loads(FILE.read_text()), json.loads(json.dumps(surface()))
    new = {
        key: value for key, value in flat(now).items() if flat(frozen).get(key, "absent") != value
    }
    assert new == {}, "new names are promises: record them with: python tests/test_surface.py"


if __name__ == "__main__":
    FILE.write_text(json.dumps(surface(), indent=1, sort_keys=True) + "\n")
