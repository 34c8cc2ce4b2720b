"""What `embed` and `classify` take from a folder or a table."""

import pytest

from fastseek.data.own_images import images_of
from fastseek.errors import DataError

HEAD = "path,label,split,id\n"


def test_F45_a_table_that_numbers_every_split_from_0_is_refused_with_both_files(tmp_path):
    """The last one was taken: "2 of 2 images" of a table of three."""
    table = tmp_path / "t.csv"
    table.write_text(HEAD + "a.jpg,x,query,0\nb.jpg,x,gallery,0\nc.jpg,x,gallery,1\n")
    with pytest.raises(DataError, match=r"t\.csv: the id '0' names two .*a\.jpg.*b\.jpg"):
        images_of(table)


def test_F45_an_image_that_stands_in_two_splits_is_embedded_once(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text(
        HEAD + "a.jpg,x,train,0\na.jpg,x,query,0\n./b.jpg,x,train,1\nb.jpg,x,query,1\n"
    )
    items, root = images_of(table)
    assert [item.id for item in items] == ["0", "1"] and root == str(tmp_path)
