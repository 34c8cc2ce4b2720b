import json
import os
import pickle

import numpy as np
import pytest

from fastseek.errors import DataError, UsageError
from fastseek.formats import restricted_pickle
from fastseek.formats.revisited import KINDS, read_gnd, truth
from fastseek.io.paths import locate

GND = {
    "gnd": [
        {"bbx": [1.5, 2, 30, 40], "easy": [0], "hard": [3, 1], "junk": [2]},
        {"bbx": [0, 0, 9, 9], "easy": [], "hard": [4], "junk": []},
    ],
    "imlist": ["a_0", "a_1", "a_2", "b_0", "b_1"],
    "qimlist": ["a_q", "b_q"],
}


def arrays(kind=np.int64):
    """The same with numpy arrays, as MATLAB converters leave it."""
    entries = [
        {key: np.array(value, float if key == "bbx" else kind) for key, value in entry.items()}
        for entry in GND["gnd"]
    ]
    return {
        "gnd": entries,
        "imlist": np.array(GND["imlist"]),
        "qimlist": np.array(GND["qimlist"], object),
    }


def write(path, value, protocol=3):
    if path.suffix == ".json":
        path.write_text(json.dumps(value))
    else:
        path.write_bytes(
            value if isinstance(value, bytes) else pickle.dumps(value, protocol)
        )  # bytes are a pickle
    return path


def same(found):
    assert (found.queries, found.images) == (("a_q", "b_q"), ("a_0", "a_1", "a_2", "b_0", "b_1"))
    assert found.boxes.tolist() == [[1.5, 2, 30, 40], [0, 0, 9, 9]]
    assert [[rows.tolist() for rows in getattr(found, kind)] for kind in KINDS] == [
        [[0], []],
        [[1, 3], [4]],
        [[2], []],
    ]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [GND, arrays(), arrays(np.dtype(">i4")), arrays(np.uint16)],
    ids=["lists", "arrays", "swapped", "short"],
)
def test_a_pickle_of_lists_or_arrays_of_any_protocol_is_read(tmp_path, value, protocol):
    same(read_gnd(write(tmp_path / "gnd.pkl", value, protocol)))


def test_the_same_as_json_is_read(tmp_path):
    same(read_gnd(write(tmp_path / "gnd.json", GND)))


def test_without_boxes_they_are_unknown(tmp_path):
    value = {**GND, "gnd": [{key: entry[key] for key in KINDS} for entry in GND["gnd"]]}
    assert np.isnan(read_gnd(write(tmp_path / "gnd.json", value)).boxes).all()


class Evil:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize(
    "value",
    [
        Evil(os.system, "touch {mark}"),
        Evil(eval, "open({mark!r}, 'w')"),
        Evil(getattr, "x", "upper"),
        [Evil(exec, "open({mark!r}, 'w')")],
        {"gnd": Evil(os.mkdir, "{mark}"), "imlist": [], "qimlist": []},
        Evil(np.load, "{mark}"),
        Evil(pickle.loads, b"N."),
        Evil(np.frombuffer, b"123"),
        Evil(bytearray, 10),
    ],
)
def test_no_code_in_a_pickle_is_run(tmp_path, value):
    mark = tmp_path / "mark"
    data = (
        pickle.dumps(value, 0)
        .replace(b"{mark!r}", repr(str(mark)).encode())
        .replace(b"{mark}", str(mark).encode())
    )
    with pytest.raises(DataError, match="it asks for"):
        read_gnd(write(tmp_path / "gnd.pkl", data))
    assert not mark.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a pickle",
        b"\x80\x03]",
        b"\x80\x03cos\nsystem\n.",
        b"\x80\x02Pxy\n.",
        pickle.dumps(np.array([1 + 2j])),
        pickle.dumps(np.zeros(2, "i4,f4")),
        pickle.dumps(np.array(["2020"], "M8[D]")),
        pickle.dumps({1, 2}),
        pickle.dumps(GND)[:-9],
        pickle.dumps(Evil(np.dtype, "O8,i4")),
        pickle.dumps(Evil(bytes, 10)),
    ],
)
def test_what_is_no_plain_pickle_is_refused(tmp_path, data):
    with pytest.raises(DataError, match="not a pickle of plain lists and arrays"):
        restricted_pickle.load(write(tmp_path / "gnd.pkl", data))


def test_an_array_that_claims_more_than_it_holds_is_refused(tmp_path):
    whole = pickle.dumps(np.arange(3, dtype=np.int64), 2)
    short = whole.replace(np.arange(3, dtype=np.int64).tobytes(), b"\1" * 24)
    assert restricted_pickle.load(write(tmp_path / "a.pkl", short)) == [72340172838076673] * 3
    with pytest.raises(DataError, match="an array of 200 values has 24 bytes"):
        restricted_pickle.load(write(tmp_path / "a.pkl", whole.replace(b"K\x03\x85", b"K\xc8\x85")))


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        "text",
        [b"bytes", b""],
        [1, [2.5, None]],
        {"a": (1, 2)},
        np.float64(2.5),
        np.array(3),
        np.array([[1, 2], [3, 4]], order="F"),
        np.array(["x", "yy"]),
        np.array([], int),
        np.array([True, False]),
        np.array(["x", None, 3], object),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_plain_values_come_back_as_lists(tmp_path, value, protocol):
    expected = (
        value.tolist()
        if hasattr(value, "tolist")
        else {"a": [1, 2]}
        if isinstance(value, dict)
        else value
    )
    assert restricted_pickle.load(write(tmp_path / "v.pkl", value, protocol)) == expected


def changed(**what):
    return {**GND, **what}


@pytest.mark.parametrize(
    "value, said",
    [
        ([1], "must hold gnd, imlist and qimlist"),
        ({"gnd": []}, "must hold gnd, imlist and qimlist"),
        (changed(qimlist=["a_q"]), "one entry for each of the 1 queries"),
        (changed(imlist=["a", "a", "b", "c", "d"]), "imlist names an image twice"),
        (changed(imlist=[1, 2, 3, 4, 5]), "imlist must be a list of names"),
        (
            changed(gnd=[GND["gnd"][0], {**GND["gnd"][1], "hard": [5]}]),
            "b_q: hard must be numbers of images, 0 to 4",
        ),
        (
            changed(gnd=[GND["gnd"][0], {**GND["gnd"][1], "easy": [-1]}]),
            "b_q: easy must be numbers",
        ),
        (
            changed(gnd=[GND["gnd"][0], {**GND["gnd"][1], "easy": [1.5]}]),
            "b_q: easy must be numbers",
        ),
        (
            changed(gnd=[GND["gnd"][0], {"bbx": [0, 0, 1, 1], "easy": [], "hard": []}]),
            "b_q: lacks a list junk",
        ),
        (
            changed(gnd=[GND["gnd"][0], {**GND["gnd"][1], "bbx": [5, 5, 2, 9]}]),
            "b_q: bbx must be x1, y1, x2, y2",
        ),
        (
            changed(gnd=[GND["gnd"][0], {**GND["gnd"][1], "junk": [4]}]),
            "b_q: an image is of two kinds",
        ),
    ],
)
def test_a_ground_truth_with_a_fault_is_refused(tmp_path, value, said):
    for name in ("gnd.json", "gnd.pkl"):
        with pytest.raises(DataError, match=said):
            read_gnd(write(tmp_path / name, value))


@pytest.mark.parametrize(
    "protocol, right, junk",
    [
        ("easy", [[0], []], [[1, 2, 3], [4]]),
        ("medium", [[0, 1, 3], [4]], [[2], []]),
        ("hard", [[1, 3], [4]], [[0, 2], []]),
    ],
)
def test_the_protocols_say_what_is_right_and_what_is_junk(tmp_path, protocol, right, junk):
    """landmark row 55."""
    made = truth(read_gnd(write(tmp_path / "gnd.json", GND)), protocol, ["far_1", "far_2"])
    assert made.gallery_ids.tolist() == [*GND["imlist"], "far_1", "far_2"]
    assert [made.relevant_to(query).tolist() for query in range(2)] == right
    assert [made.junk_of(query).tolist() for query in range(2)] == junk
    assert made.protocol["distractors"] == 2


def test_a_distractor_of_the_benchmark_itself_and_an_unknown_protocol_are_refused(tmp_path):
    gnd = read_gnd(write(tmp_path / "gnd.json", GND))
    for name in ("a_q", "b_1"):
        with pytest.raises(
            DataError,
            match=f"1 distractors are images of the benchmark itself, the first is '{name}'",
        ):
            truth(gnd, "easy", ["far", name])
    with pytest.raises(UsageError, match="easy, medium, hard"):
        truth(gnd, "Hard")


@pytest.mark.parametrize(
    "name, images, totals, without",
    [
        ("roxford5k", 4993, [3029, 2497, 1356], [2, 0, 0]),
        ("rparis6k", 6322, [6874, 10350, 7153], [0, 0, 0]),
    ],
)
def test_the_real_ground_truth_has_the_published_counts(name, images, totals, without):
    try:
        folder = locate("metadata/revisited")
    except DataError:
        pytest.skip("the revisited ground truth is not here")
    pair = [read_gnd(folder / f"gnd_{name}.{kind}") for kind in ("pkl", "json")]
    for gnd in pair:
        assert (len(gnd.images), len(gnd.queries)) == (images, 70)
        assert [sum(map(len, getattr(gnd, kind))) for kind in KINDS] == totals
        empty = [
            int((np.diff(truth(gnd, protocol).relevant_starts) == 0).sum())
            for protocol in ("easy", "medium", "hard")
        ]
        assert empty == without
        assert not set(gnd.queries) & set(gnd.images)
    assert pair[0].boxes.tolist() == pair[1].boxes.tolist()
