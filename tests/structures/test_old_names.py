"""Names of version 0.1 still lead to what they meant, with a warning."""

import pytest

from fastseek import structures


@pytest.mark.parametrize(("old", "new"), [("Truth", "GroundTruth"), ("Items", "ItemTable")])
def test_an_old_name_is_the_new_class(old, new):
    with pytest.warns(DeprecationWarning, match=f"{old} is called {new}"):
        assert getattr(structures, old) is getattr(structures, new)


def test_a_name_that_never_was_is_none():
    with pytest.raises(AttributeError, match="Untruth"):
        _ = structures.Untruth
