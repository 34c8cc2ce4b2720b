"""The lists of the iNaturalist challenges."""

import json

import numpy as np
import pytest

from fastseek.data.datasets.inat import Inat
from fastseek.errors import DataError
from fastseek.registry import CROPS, build
from fastseek.structures import geolocations_of

PAGE = {
    "images": [
        {
            "id": 7,
            "file_name": "train/a/1.jpg",
            "width": 500,
            "height": 375,
            "latitude": 43.8,
            "longitude": -71.3,
            "location_uncertainty": 77,
            "date": "2014-07-02 12:00:00+00:00",
        },
        {
            "id": 3,
            "file_name": "train/b/2.jpg",
            "latitude": None,
            "longitude": None,
            "location_uncertainty": None,
            "date": None,
        },
    ],
    "annotations": [
        {"id": 0, "image_id": 3, "category_id": 12},
        {"id": 1, "image_id": 7, "category_id": 9999},
    ],
}


def test_images_have_class_place_and_date(tmp_path):
    """finegrained row 74."""
    (tmp_path / "train.json").write_text(json.dumps(PAGE))
    (tmp_path / "test.json").write_text(
        json.dumps({"images": [{"id": 1, "file_name": "test/x.jpg"}]})
    )
    found = Inat(str(tmp_path / "train.json"), str(tmp_path / "test.json")).items
    assert [(item.id, item.label, item.split) for item in found] == [
        ("train/a/1.jpg", "09999", "train"),
        ("train/b/2.jpg", "00012", "train"),
        ("test/x.jpg", "", "query"),
    ]
    assert found[0].path == str(tmp_path / "train" / "a" / "1.jpg")
    assert geolocations_of(found)[0].tolist() == pytest.approx(
        [43.8, -71.3, 182.5 / 365, 77], abs=1e-4
    )
    assert np.isnan(geolocations_of(found)[1:]).all() and found[1].meta == {}


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ([], "not a list of iNat's"),
        ({"images": [{"id": 1}]}, "file_name"),
        ({"annotations": []}, "images"),
        (
            {"images": [{"id": 1, "file_name": "a.jpg", "latitude": 99, "longitude": 0}]},
            r"a\.jpg: lat is 99",
        ),
    ],
)
def test_what_is_no_such_list_is_told(tmp_path, page, says):
    (tmp_path / "l.json").write_text(json.dumps(page))
    with pytest.raises(DataError, match=says):
        Inat(str(tmp_path / "l.json"))


def test_a_list_must_be_named():
    with pytest.raises(ValueError, match="needs a list"):
        Inat()


def test_F10_several_annotations_of_one_image_are_refused_and_a_single_box_is_kept(tmp_path):
    page = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 50}],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [10, 5, 50, 20]}],
    }
    (tmp_path / "one.json").write_text(json.dumps(page))
    (item,) = Inat(str(tmp_path / "one.json")).items
    assert item.label == "00003" and item.meta["box"] == pytest.approx((0.1, 0.1, 0.6, 0.5))
    assert build("boxes(margin=0)", CROPS)([item])[0].tolist() == pytest.approx(
        [0.1, 0.1, 0.6, 0.5]
    )
    page["annotations"].append({"image_id": 1, "category_id": 8})
    (tmp_path / "two.json").write_text(json.dumps(page))
    with pytest.raises(DataError, match="1 images have several annotations, such as image_id 1"):
        Inat(str(tmp_path / "two.json"))
