import json

import pytest

from fastseek.errors import ArtefactError, DataError
from fastseek.modeling.layers.classes import class_counts


def counts_of(cfg):
    return class_counts(cfg.SEEK.CLASSES, cfg.MODEL.HEADS.NUM_CLASSES)


def test_counts_come_from_the_file(config, classes):
    cfg = config("SEEK.CLASSES", classes([3, 0, 7]), "MODEL.HEADS.NUM_CLASSES", 0)
    assert counts_of(cfg).tolist() == [3, 0, 7]


def test_without_a_file_the_sizes_are_unknown(config):
    assert counts_of(config()).tolist() == [0, 0, 0, 0]
    assert counts_of(config("MODEL.HEADS.NUM_CLASSES", 0)) is None


def test_a_file_of_another_number_of_classes_is_named_with_both_numbers_and_what_to_do(
    config, classes
):
    file = classes([3, 0, 7])
    with pytest.raises(
        ArtefactError, match="3 classes.*NUM_CLASSES is 4.*NUM_CLASSES to 0.*SEEK.CLASSES to"
    ) as told:
        counts_of(config("SEEK.CLASSES", file))
    assert str(told.value).startswith(str(file))


@pytest.mark.parametrize("content", [[], {}, {"counts": 3}, {"counts": [1.5]}, {"counts": [-1]}])
def test_a_file_without_counts_is_an_artefact_error(config, tmp_path, content):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ArtefactError, match="counts"):
        counts_of(config("SEEK.CLASSES", str(path)))


def test_a_missing_file_is_a_data_error(config):
    with pytest.raises(DataError, match="nowhere.json"):
        counts_of(config("SEEK.CLASSES", "nowhere.json"))
