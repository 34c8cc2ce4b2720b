"""What a person may have meant, told by one function."""

import pathlib

import fastseek
from fastseek.suggestions import did_you_mean, near_names


def test_the_nearest_name_is_told_and_a_far_one_is_not():
    assert did_you_mean("mapp", ["map", "gap", "recall"]) == "; did you mean map?"
    assert did_you_mean("mapp", {"map": 1}, quoted=True) == "; did you mean 'map'?"
    assert near_names("mAP", ["map", "gap"]) == ["map"]
    assert did_you_mean("xyz", ["map"]) == "" and near_names("map", []) == []


def test_names_are_compared_in_one_place_only():
    package = pathlib.Path(fastseek.__file__).parent
    users = [path.name for path in package.rglob("*.py") if "import difflib" in path.read_text()]
    assert users == ["suggestions.py"]
