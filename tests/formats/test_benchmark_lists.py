"""Lists of benchmarks: what is refused is named by file and line."""

import numpy as np
import pytest
from scipy.io import savemat

from fastseek.errors import DataError
from fastseek.formats import (
    cub,
    cuhk03,
    inshop,
    mars,
    msmt17,
    online_products,
    products10k,
    reid_names,
    stanford_cars,
    vehicle_id,
    veri776,
    veri_wild,
)
from fastseek.formats.listed import Listed, read_words

SOP = "image_id class_id super_class_id path\n"
INSHOP = "1\nimage_name item_id evaluation_status\n"


@pytest.mark.parametrize(
    ("read", "text", "told"),
    [
        (lambda path: online_products.read_list(path, "test"), "a b\n", r":1: expected the header"),
        (lambda path: online_products.read_list(path, "test"), f"{SOP}1 2 3\n", r":2: expected"),
        (inshop.read_partition, "", r":2: expected the header"),
        (inshop.read_partition, f"{INSHOP}a.jpg id_1 moon\n", r":3: evaluation_status .*'moon'"),
        (inshop.read_boxes, INSHOP, r":2: expected the header"),
        (lambda path: vehicle_id.read_list(path, "test"), "1 x\n", r":1: the vehicle must be"),
        (lambda path: msmt17.read_list(path, "t", "query"), "a/b.jpg 1\n", r":1: .*0303morning"),
        (veri_wild.read_cameras, "head\n1/2;x\n", r":2: expected id/image;camera"),
        (lambda path: veri_wild.read_list(path, "query", {}), "1/2.jpg\n", r":1: .*no line in"),
        (mars.read_names, "holiday.jpg\n", r":1: expected a name such as 0001C1T0001F001.jpg"),
        (veri776.read_names, "a.jpg\nb.jpg\na.jpg\n", r":3: a.jpg stands in line 1"),
        (veri776.read_labels, "<a", "not an XML file"),
        (veri776.read_labels, "<Items/>", "holds no Item"),
        (veri776.read_labels, "<Items><Item imageName='a' vehicleID='x'/></Items>", "Item 1: exp"),
        (veri776.read_labels, "<!DOCTYPE a [<!ENTITY b 'c'>]><Items/>", "declares entities"),
        (
            lambda path: products10k.read_list(path, "train"),
            "name,class\na,\n",
            ":2: a has no class",
        ),
        (
            lambda path: products10k.read_list(path, "train"),
            "name\na\n",
            ":1: the header must hold",
        ),
        (stanford_cars.read_annotations, "no matrix", "not a MATLAB file"),
        (veri776.read_names, None, "cannot be read"),
        (stanford_cars.read_annotations, None, "cannot be read"),
    ],
)
def test_what_is_wrong_in_a_list_is_named(tmp_path, read, text, told):
    path = tmp_path / "list"
    if text is not None:
        path.write_text(text, encoding="latin-1", newline="")
    with pytest.raises(DataError, match=told) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_of_matlab_7_3_is_told_from_one_of_before(tmp_path):
    path = tmp_path / "new.mat"
    path.write_bytes(b" " * 512 + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(DataError, match="MATLAB 7.3"):
        cuhk03.read_new_protocol(path)


@pytest.mark.parametrize("kind", [0, 3])
def test_a_class_that_has_no_name_is_refused(tmp_path, kind):
    fields = ("relative_im_path", "class", *stanford_cars.SIDES)
    row = dict.fromkeys(fields, 1) | {"relative_im_path": "car_ims/1.jpg", "class": kind}
    page = {"annotations": [row], "class_names": np.array([["A", "B"]], object)}
    savemat(tmp_path / "cars_annos.mat", page)
    with pytest.raises(DataError, match=f"annotation 1: class {kind} is none of 1 to 2"):
        stanford_cars.read_annotations(tmp_path / "cars_annos.mat")


def test_the_devkit_of_the_test_without_labels_is_told_by_the_field_it_lacks(tmp_path):
    savemat(tmp_path / "meta.mat", {"class_names": np.array([["A"]], object)})
    row = dict.fromkeys(stanford_cars.SIDES, 1) | {"fname": "00001.jpg"}
    savemat(tmp_path / "test.mat", {"annotations": [row]})
    with pytest.raises(DataError, match="annotation 1: expected fname, class, .*found"):
        stanford_cars.read_devkit(tmp_path / "test.mat", tmp_path / "meta.mat", "cars_test")


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("image_class_labels.txt", "image 7 has no class in"),
        ("classes.txt", "class 101 is not in"),
        ("bounding_boxes.txt", "image 7 has no box in"),
    ],
)
def test_an_image_of_cub_that_a_list_lacks_is_named(tmp_path, file, told):
    texts = {
        "images.txt": "7 101.A/b.jpg\n",
        "image_class_labels.txt": "7 101\n",
        "classes.txt": "101 101.A\n",
        "bounding_boxes.txt": "7 1.0 2.0 3.5 4.0\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    box = (1.0, 2.0, 4.5, 6.0)
    assert cub.read_lists(tmp_path, boxes=True) == [Listed("101.A/b.jpg", "101.A", "test", box=box)]
    (tmp_path / file).write_text("\n")
    with pytest.raises(DataError, match=told):
        cub.read_lists(tmp_path, boxes=True)


def test_a_class_trains_by_its_number_alone(tmp_path):
    numbers = (1, 100, 101, 200)
    rows = "\n".join(f"{number} {number:03d}.A/b.jpg" for number in numbers)
    (tmp_path / "images.txt").write_text(rows)
    (tmp_path / "classes.txt").write_text("\n".join(f"{n} {n:03d}.A" for n in numbers))
    (tmp_path / "image_class_labels.txt").write_text("\n".join(f"{n} {n}" for n in numbers))
    splits = [one.split for one in cub.read_lists(tmp_path)]
    assert splits == ["train", "train", "test", "test"]


@pytest.mark.parametrize(
    ("names", "name", "told"),
    [
        (reid_names.MARKET, "0002_c1s1_000451_03.jpg", ("2", "1")),
        (reid_names.MARKET, "-1_c6s1_000451_03.jpg", ("-1", "6")),
        (reid_names.MARKET, "0000_c3s1_000451_03.jpg", ("0", "3")),
        (reid_names.MARKET, "holiday.jpg", None),
        (reid_names.DUKE, "0005_c8_f0046985.jpg", ("5", "8")),
        (reid_names.VERI, "0776_c020_00016450_0.jpg", ("776", "20")),
        (reid_names.VERI, "IMG_0001.jpg", None),
    ],
)
def test_names_tell_identity_and_camera(names, name, told):
    assert names.read(name) == told
    assert names.read(names.example) is not None


@pytest.mark.parametrize("length", range(1, 9))
@pytest.mark.parametrize("most", [0, 1, 2, 3, 8])
def test_the_images_of_a_tracklet_are_spread_evenly(length, most):
    one = mars.Tracklets(*(np.array([value]) for value in (10, 10 + length, 1, 1)))
    found = one.frames(0, most)
    assert len(found) == (min(most, length) if most else length) == len(set(found))
    assert found == sorted(found) and 10 <= found[0] <= found[-1] < 10 + length
    # As many before the first as behind the last, to a frame.
    assert abs((found[0] - 10) - (10 + length - 1 - found[-1])) <= 1


@pytest.mark.parametrize("table", [[[1, 5, 1, 1]], [[0, 1, 1, 1]], [[3, 2, 1, 1]]])
def test_a_tracklet_that_reaches_beyond_the_names_is_refused(tmp_path, table):
    savemat(tmp_path / "t.mat", {"track_test_info": np.array(table, float)})
    with pytest.raises(DataError, match="tracklet 1 is the images"):
        mars.read_tracklets(tmp_path / "t.mat", "track_test_info", 4)


def test_words_may_be_parted_by_any_sign_and_begin_with_a_mark(tmp_path):
    (tmp_path / "list.txt").write_text("\ufeffhead\n a ; b c \n\n", encoding="utf-8")
    assert list(read_words(tmp_path / "list.txt", ("x", "y"), 1, ";")) == [(2, ["a", "b c"])]
