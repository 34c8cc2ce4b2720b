"""A scan may lose a little of every score, and never more than it says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.errors import UsageError
from fastseek.knn import scan as scans
from fastseek.knn.scan import choice
from fastseek.knn.scan.codes import Codes, set_cells

NAMES = ["float32", "bfloat16", "int8"]
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 70), st.integers(1, 130))


def vectors(random, count, dim, kind):
    """Blocks of several kinds, most of them unkind."""
    block = random.normal(size=(count, dim)).astype(np.float32)
    if kind == "sparse":
        block *= random.random((count, dim)) < 0.1
    if kind == "outliers":
        block[:, 0] *= 1000
    if kind == "lengths":
        block *= (10.0 ** random.uniform(-12, 8, (count, 1))).astype(np.float32)
    if kind == "tiny":
        block *= np.float32(1e-30)
    if kind == "whole":
        block = random.integers(-2, 3, (count, dim)).astype(np.float32)
    return block


def coded(scan, block):
    codes = scan.empty(*block.shape)
    scan.encode(block, codes)
    return codes


def true_scores(q, g, metric):
    q, g = q.astype(np.float64), g.astype(np.float64)
    return -((q[:, None] - g) ** 2).sum(axis=2) if metric == "l2" else q @ g.T


def tile_of(scan, q, g):
    cells = len(q) * len(g)
    return scan.product(q, g, scan.workspace(cells + 3))


def slack_of(scan, dim, q, g):
    """[q, g]: how far every single score may be off."""
    tall = Codes(None, *(column[:, None] for column in q[1:]))
    return scan.slack(dim, tall, g).astype(np.float64)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=SHAPES,
    metric=st.sampled_from(["ip", "l2"]),
    kind=st.sampled_from(["plain", "sparse", "outliers", "lengths", "tiny", "whole"]),
)
def test_no_score_is_farther_off_than_its_slack(name, seed, shape, metric, kind):
    random, (q_rows, g_rows, dim) = np.random.default_rng(seed), shape
    q, g = (vectors(random, rows, dim, kind) for rows in (q_rows, g_rows))
    scan = scans.choose(name, metric)
    q_codes, g_codes = coded(scan, q), coded(scan, g)
    scores = scan.scores(tile_of(scan, q_codes, g_codes), q_codes, g_codes).astype(np.float64)
    off = np.abs(scores - true_scores(q, g, metric))
    assert (off <= slack_of(scan, dim, q_codes, g_codes) + scan.rounding * np.abs(scores)).all()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=SHAPES,
    metric=st.sampled_from(["ip", "l2"]),
    kind=st.sampled_from(["plain", "outliers", "lengths", "whole"]),
    shift=st.sampled_from([-2, -1, 0, 1, 2]),
)
def test_the_mask_leaves_out_no_score_that_reaches_the_floor(
    name, seed, shape, metric, kind, shift
):
    random, (q_rows, g_rows, dim) = np.random.default_rng(seed), shape
    scan = scans.choose(name, metric)
    q, g = (coded(scan, vectors(random, rows, dim, kind)) for rows in (q_rows, g_rows))
    tile = tile_of(scan, q, g)
    scores = scan.scores(tile, q, g)
    floor = (np.median(scores, axis=1) + shift * scores.std(axis=1)).astype(np.float32)
    mask = np.zeros(scores.shape, bool)
    scan.reaching(tile, q, g, floor, mask)
    assert mask[scores >= floor[:, None]].all()
    rows, cols = np.nonzero(mask)
    np.testing.assert_allclose(scan.at(tile, q, g, rows, cols), scores[rows, cols], rtol=2.0**-20)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=SHAPES,
    metric=st.sampled_from(["ip", "l2"]),
    shift=st.sampled_from([0, 9]),
)
def test_the_lowest_of_a_tile_is_the_lowest_of_its_scores(name, seed, shape, metric, shift):
    random, (q_rows, g_rows, dim) = np.random.default_rng(seed), shape
    scan = scans.choose(name, metric)
    q, g = (
        coded(scan, vectors(random, rows, dim, "plain") + np.float32(shift))
        for rows in (q_rows, g_rows)
    )
    tile = tile_of(scan, q, g)
    np.testing.assert_array_equal(scan.lowest(tile, q, g), scan.scores(tile, q, g).min(axis=1))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(0, 9), st.integers(0, 40), st.sampled_from([0.0, 0.1, 0.9])
)
def test_set_cells_are_those_a_look_at_every_cell_finds(seed, rows, cols, share):
    mask = np.random.default_rng(seed).random((rows, cols)) < share
    np.testing.assert_array_equal(set_cells(mask), np.flatnonzero(mask))


@pytest.mark.parametrize("name", NAMES)
def test_a_floor_of_minus_infinity_lets_everything_pass(name):
    scan = scans.choose(name, "ip")
    q, g = (coded(scan, np.ones((rows, 5), np.float32)) for rows in (2, 3))
    mask = np.zeros((2, 3), bool)
    scan.reaching(tile_of(scan, q, g), q, g, np.full(2, -np.inf, np.float32), mask)
    assert mask.all()


@pytest.mark.parametrize("name", NAMES)
def test_codes_take_the_memory_they_promise(name):
    scan = scans.choose(name, "cosine")
    held = scan.empty(100, 64).held
    size = held.itemsize if isinstance(held, np.ndarray) else held.element_size()
    assert size == {"float32": 4, "bfloat16": 2, "int8": 1}[name]


def test_encoding_leaves_the_block_as_it_was():
    block = np.random.default_rng(0).normal(size=(9, 33)).astype(np.float32)
    before = block.copy()
    for name in NAMES:
        coded(scans.choose(name, "ip"), block)
    np.testing.assert_array_equal(block, before)


def test_an_unknown_scan_is_refused_and_the_known_are_listed():
    with pytest.raises(UsageError, match="int8, cuda, got 'float8'"):
        scans.choose("float8", "ip")


def test_without_torch_auto_is_float32_and_the_others_say_what_to_install(monkeypatch):
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None)
    choice.quicker.cache_clear()
    try:
        assert scans.choose("auto", "ip", 10**15).name == "float32"
        with pytest.raises(UsageError, match="pip install torch"):
            scans.choose("int8", "ip")
    finally:
        choice.quicker.cache_clear()


def test_without_a_gpu_cuda_is_refused_and_with_one_auto_takes_it(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="needs a GPU"):
        scans.choose("cuda", "ip")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert scans.choose("auto", "ip", 10**15).name == "cuda"


def test_small_work_does_not_load_torch():
    assert scans.choose("auto", "cosine", 10**6).name == "float32"
