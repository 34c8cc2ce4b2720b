"""Every key has one tag, and the tag says what a changed value makes stale."""

import re

import pytest

from fastseek import registry
from fastseek.config import keys, recipe, their_keys
from fastseek.config.nested import flatten, get_value
from fastseek.config.plugins import register

from fastreid.config import get_cfg


def defaults():
    cfg = get_cfg()
    register(cfg)
    return cfg


THEIRS = list(flatten(get_cfg()))
OURS = [key.name for key in keys.OURS]


def test_the_two_tables_cover_the_whole_config_and_do_not_overlap():
    assert sorted(flatten(defaults())) == sorted([*THEIRS, *OURS])
    assert set(THEIRS) & set(OURS) == set()
    assert len(OURS) == len(set(OURS))


@pytest.mark.parametrize("name", [*THEIRS, *OURS])
def test_every_key_has_exactly_one_tag(name):
    starts = [start for start in keys.FASTREID if name.startswith(start)]
    assert (name in OURS) != bool(starts), "it stands in one of the two tables"
    assert keys.tag_of(name) in keys.TAGS
    cfg = defaults()
    selected = [tag for tag in keys.TAGS if name in keys.select_values(cfg, tag)]
    assert selected == [keys.tag_of(name)]


def test_every_key_of_fastreid_has_a_meaning_and_nothing_else_has_one():
    assert sorted(their_keys.MEANINGS) == sorted(THEIRS)
    for name, meaning in their_keys.MEANINGS.items():
        assert meaning[0].islower() or meaning.split()[0].rstrip(":") in meaning, name
        assert not meaning.endswith(".") and len(meaning) < 160, name


def test_every_beginning_in_the_table_is_of_some_key():
    idle = [start for start in keys.FASTREID if not any(k.startswith(start) for k in THEIRS)]
    assert idle == []


def test_the_defaults_are_those_of_the_table_and_no_config_shares_them():
    cfg = defaults()
    for key in keys.OURS:
        assert get_value(cfg, key.name) == key.default
    cfg.SEEK.BRANCHES.append("gem(dim=8)")
    assert defaults().SEEK.BRANCHES == []


def test_the_keys_are_added_once():
    cfg = defaults()
    cfg.SEED = 7
    keys.add_seek_config(cfg)
    assert cfg.SEED == 7


@pytest.mark.parametrize("key", keys.OURS, ids=OURS)
def test_every_key_of_ours_says_what_it_means(key):
    assert key.comment and not key.comment.endswith(".")


def test_what_trains_another_model_shapes_it_and_what_is_asked_of_it_does_not():
    shaping = keys.shaping(defaults())
    for name in ("SEED", "SOLVER.BASE_LR", "SEEK.LOSSES", "MODEL.WEIGHTS", "DATASETS.NAMES"):
        assert name in shaping
    for name in ("SEEK.SEARCH", "SEEK.METRICS", "SEEK.EXPECT", "OUTPUT_DIR", "MODEL.DEVICE"):
        assert name not in shaping


def test_exact_batch_statistics_shape_the_model_though_their_keys_stand_below_test():
    assert keys.tag_of("TEST.PRECISE_BN.ENABLED") == keys.SHAPES_MODEL


def test_a_key_of_a_plugin_counts_as_shaping_the_model():
    cfg = defaults()
    cfg.PERFUME = type(cfg)({"DROPS": 3})
    assert keys.shaping(cfg)["PERFUME.DROPS"] == 3


def test_names_are_dotted_in_order_and_an_empty_group_keeps_its_name():
    nested = {"B": {"Y": 1, "X": {"Z": [2]}}, "A": {}, "C": None}
    assert list(flatten(nested).items()) == [("B.Y", 1), ("B.X.Z", [2]), ("A", {}), ("C", None)]
    assert get_value(nested, "B.X") == {"Z": [2]}


@pytest.mark.parametrize("name", ["B.N", "B.Y.Z", "N", ""])
def test_a_name_that_is_not_there_is_told_whole(name):
    with pytest.raises(KeyError, match=re.escape(repr(name))):
        get_value({"B": {"Y": 1}}, name)


def test_a_key_by_its_old_name_is_read_with_a_warning_and_the_last_setting_holds(tmp_path):
    (tmp_path / "Base-x.yml").write_text('SEEK:\n  CLASS_METRICS: ["class_mean"]\n')
    heir = tmp_path / "Base-y.yml"
    heir.write_text('_BASE_: Base-x.yml\nSEEK:\n  FIGURES: ["top(1)"]\n')
    with pytest.warns(DeprecationWarning, match=r"SEEK.FIGURES is called SEEK.CLASS_METRICS"):
        assert recipe.load(heir).SEEK.CLASS_METRICS == ["top(1)"]
    with pytest.warns(DeprecationWarning):
        assert recipe.origins(heir, ["SEEK.FIGURES", "[]"])["SEEK.CLASS_METRICS"] == "command line"


def test_fastreids_own_reader_passes_over_a_key_by_its_old_name(tmp_path):
    (tmp_path / "old.yml").write_text("SEEK:\n  FIGURES: []\nSEED: 3\n")
    cfg = defaults()
    cfg.merge_from_file(str(tmp_path / "old.yml"))
    assert cfg.SEED == 3 and "FIGURES" not in cfg.SEEK


def test_digests_of_version_0_1_are_made_with_the_names_it_had():
    names = {"SEEK.CLASS_METRICS": ["top(1)"], "SEED": 1}
    assert keys.former_names(names) == {"SEEK.FIGURES": ["top(1)"], "SEED": 1}


def test_a_registry_by_its_old_name_is_the_same_registry():
    with pytest.warns(DeprecationWarning, match="CLASS_METRICS"):
        assert registry.FIGURES is registry.CLASS_METRICS
