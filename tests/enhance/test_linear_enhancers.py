"""l2, center, pca and whiten, and the files of what they learned."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.enhance import _moments, _sides
from fastseek.enhance._fits import Fit
from fastseek.enhance.center import Center
from fastseek.enhance.l2 import L2
from fastseek.enhance.pca import Pca
from fastseek.enhance.whiten import Whiten
from fastseek.errors import ArtefactError, DataError, RunError, UsageError
from fastseek.registry import ENHANCERS, build
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings, Shards

CALLS = (
    "l2()",
    "center()",
    "pca(dim=5)",
    "pca(dim=5, whiten=True)",
    "whiten()",
    "center(fit='queries')",
)


def pair(seed=0, queries=9, gallery=60, dim=8, provenance=None):
    random = np.random.default_rng(seed)
    mix = random.normal(size=(dim, dim)) * np.arange(1, dim + 1)
    vectors = (random.normal(size=(queries + gallery, dim)) @ mix + 3).astype(np.float32)
    provenance = {"model": "m"} if provenance is None else provenance
    return (
        Embeddings([f"q{n}" for n in range(queries)], vectors[:queries], provenance),
        Embeddings([f"g{n}" for n in range(gallery)], vectors[queries:], provenance),
    )


def principal(vectors):
    """Directions by the definition, from a singular value decomposition in float64."""
    middle = vectors.astype(np.float64).mean(axis=0)
    _, values, directions = np.linalg.svd(vectors.astype(np.float64) - middle, full_matrices=False)
    return middle, values**2 / (len(vectors) - 1), directions


def test_l2_makes_every_length_1_and_turns_nothing():
    queries, gallery = pair()
    for before, after in zip((queries, gallery), L2()(queries, gallery), strict=True):
        lengths = [sum(float(x) ** 2 for x in row) ** 0.5 for row in before.vectors]
        np.testing.assert_allclose(
            after.vectors, before.vectors / np.array(lengths)[:, None], atol=1e-6
        )
        np.testing.assert_allclose(np.linalg.norm(after.vectors, axis=1), 1, atol=1e-6)


def test_l2_twice_is_l2_once():
    once = L2()(*pair())
    for one, two in zip(once, L2()(*once), strict=True):
        np.testing.assert_allclose(one.vectors, two.vectors, atol=1e-7)


def test_center_takes_the_mean_of_the_set_that_was_named():
    queries, gallery = pair(1)
    for fit, source in (("gallery", gallery), ("queries", queries)):
        centred = dict(zip(("queries", "gallery"), Center(fit)(queries, gallery), strict=True))
        np.testing.assert_allclose(centred[fit].vectors.mean(axis=0), 0, atol=1e-4)
        middle = source.vectors.astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(centred["queries"].vectors, queries.vectors - middle, atol=1e-4)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("dim", [1, 5, 8])
def test_projections_are_those_of_a_singular_value_decomposition(whiten, dim):
    queries, gallery = pair(2)
    middle, variances, directions = principal(gallery.vectors)
    for before, after in zip((queries, gallery), Pca(dim, whiten)(queries, gallery), strict=True):
        expected = (
            (before.vectors - middle)
            @ directions[:dim].T
            / (np.sqrt(variances[:dim]) if whiten else 1)
        )
        signs = np.sign((after.vectors * expected).sum(axis=0))
        np.testing.assert_allclose(after.vectors, expected * signs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("whiten", [False, True])
def test_projections_are_those_of_scikit_learn(whiten):
    decomposition = pytest.importorskip("sklearn.decomposition")
    queries, gallery = pair(3)
    theirs = decomposition.PCA(4, whiten=whiten, svd_solver="full").fit(
        gallery.vectors.astype(np.float64)
    )
    ours = Pca(4, whiten)(queries, gallery)[0].vectors
    np.testing.assert_allclose(
        np.abs(ours), np.abs(theirs.transform(queries.vectors)), rtol=1e-3, atol=1e-3
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_all_directions_keep_all_distances(seed):
    queries, gallery = pair(seed)
    before = ((queries.vectors[:, None] - gallery.vectors) ** 2).sum(axis=2)
    turned = Pca()(queries, gallery)
    after = ((turned[0].vectors[:, None] - turned[1].vectors) ** 2).sum(axis=2)
    np.testing.assert_allclose(after, before, rtol=1e-4)


def test_whitened_vectors_have_covariance_1():
    _, gallery = Whiten()(*pair(4))
    np.testing.assert_allclose(np.cov(gallery.vectors.T.astype(np.float64)), np.eye(8), atol=1e-4)
    np.testing.assert_allclose(gallery.vectors.mean(axis=0), 0, atol=1e-4)


def test_whiten_is_pca_with_whitening():
    for one, two in zip(Whiten(3)(*pair(5)), Pca(3, True)(*pair(5)), strict=True):
        np.testing.assert_array_equal(one.vectors, two.vectors)


def test_directions_without_variance_are_left_out_or_refused():
    queries, gallery = pair(6)
    flat = [
        Embeddings(side.ids, np.concatenate([side.vectors, side.vectors[:, :2]], axis=1))
        for side in (queries, gallery)
    ]
    assert Whiten()(*flat)[0].dim == 8
    with pytest.raises(DataError, match="vary in 8 directions, not in 9"):
        Whiten(9)(*flat)
    assert Pca(10)(*flat)[0].dim == 10


def test_a_set_too_small_to_fit_on_is_refused():
    queries, gallery = pair(7, queries=1, gallery=4)
    none = Embeddings([], np.empty((0, 8), np.float32))
    with pytest.raises(DataError, match="1 vectors have no covariance"):
        Pca(1, fit="queries")(queries, gallery)
    with pytest.raises(DataError, match="no vectors to fit on"):
        Center(fit="queries")(none, gallery)
    with pytest.raises(DataError, match="vary in"):
        Whiten(5)(queries, gallery)
    same = Embeddings(["a", "b"], np.ones((2, 8), np.float32))
    for part in (Pca(1), Whiten()):
        with pytest.raises(DataError, match="all equal, they vary in 0 directions: fit on others"):
            part(same, same)


def test_more_directions_than_dimensions_are_refused():
    with pytest.raises(UsageError, match="dim=9, and the vectors have 8"):
        Pca(9)(*pair())


@pytest.mark.parametrize("call", CALLS)
def test_the_order_of_the_gallery_and_the_blocks_change_nothing(call, monkeypatch):
    queries, gallery = pair(8)
    whole = build(call, ENHANCERS)(queries, gallery)
    order = np.random.default_rng(0).permutation(len(gallery))
    for module in (_sides, _moments):
        monkeypatch.setattr(module, "ROWS", 7)
    turned = build(call, ENHANCERS)(queries, Embeddings(gallery.ids[order], gallery.vectors[order]))
    np.testing.assert_allclose(turned[0].vectors, whole[0].vectors, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(turned[1].vectors, whole[1].vectors[order], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("call", CALLS)
def test_half_precision_shards_on_disk_and_files_of_vectors_give_the_same(
    call, tmp_path, monkeypatch
):
    queries, gallery = (Embeddings(side.ids, side.vectors.astype(np.float16)) for side in pair(9))
    gallery.save(tmp_path / "g", rows=13)
    expected = build(call, ENHANCERS)(
        queries, Embeddings(gallery.ids, gallery.vectors.astype(np.float32))
    )
    monkeypatch.setattr(_sides, "IN_MEMORY", 0)
    loaded = Embeddings.load(tmp_path / "g")
    assert isinstance(loaded.vectors, Shards)
    after = build(call, ENHANCERS)(queries, loaded)
    assert isinstance(after[1].vectors, np.memmap) and after[1].vectors.dtype == np.float32
    np.testing.assert_array_equal(after[1].vectors, expected[1].vectors)
    np.testing.assert_array_equal(after[0].vectors, expected[0].vectors)


def test_a_disk_too_small_is_told_before_anything_is_written(monkeypatch):
    monkeypatch.setattr(_sides, "IN_MEMORY", 0)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_sides.os, "posix_fallocate", full)
    with pytest.raises(RunError, match=r"no room for .* set TMPDIR"):
        L2()(*pair())


@pytest.mark.parametrize(
    ("call", "again"),
    [
        ("center(save={0!r})", "center(fit={0!r})"),
        ("pca(dim=3, save={0!r})", "pca(dim=3, fit={0!r})"),
        ("pca(dim=3, save={0!r})", "pca(dim=8, whiten=True, fit={0!r})"),
        ("whiten(save={0!r})", "pca(dim=2, fit={0!r})"),
    ],
)
def test_a_saved_fit_does_to_others_what_it_did_to_its_own(call, again, tmp_path):
    file = str(tmp_path / "fit.safetensors")
    queries, gallery = pair(10)
    build(call.format(file), ENHANCERS)(queries, gallery)
    fresh = again.replace("fit={0!r}", "").rstrip(", )") + ")" if "," in again else "center()"
    expected = build(fresh, ENHANCERS)(queries, gallery)
    part = build(again.format(file), ENHANCERS)
    few = Embeddings(gallery.ids[:3], gallery.vectors[:3], gallery.provenance)
    np.testing.assert_array_equal(part(few, gallery)[0].vectors, expected[1].vectors[:3])
    for one, two in zip(part(queries, gallery), expected, strict=True):
        np.testing.assert_array_equal(one.vectors, two.vectors)
        assert one.provenance == two.provenance


def test_saving_twice_writes_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        Pca(3, save=str(tmp_path / name))(*pair(11))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_sides_treated_by_different_fits_do_not_meet():
    (queries, gallery), (_, other) = pair(1), pair(2)
    one, two = Center()(queries, gallery)[0], Center()(queries, other)[1]
    assert one.provenance["enhance"][0].startswith("center()  # fit ")
    with pytest.raises(ArtefactError, match="differ in enhance"):
        Exact(k=2)(one, two)
    with pytest.raises(ArtefactError, match="differ in"):
        Exact(k=2)(one, Embeddings(gallery.ids, gallery.vectors, {"model": "m", "enhance": []}))
    Exact(k=2)(*Center()(queries, gallery))


def test_a_fit_of_another_model_treatment_or_dimension_is_refused(tmp_path):
    file = str(tmp_path / "fit.safetensors")
    Center(save=file)(*pair(1))
    with pytest.raises(ArtefactError, match="another model than the queries"):
        Center(file)(*pair(1, provenance={"model": "other"}))
    with pytest.raises(ArtefactError, match="another enhance than the queries"):
        Center(save=file)(*L2()(*pair(1)))
        Center(file)(*pair(1, provenance={"model": "m", "enhance": []}))
    with pytest.raises(ArtefactError, match="8 dimensions, the queries have 5"):
        Center(file)(*pair(1, dim=5))
    Center(file)(*pair(1, provenance={}))


def test_files_that_are_no_fit_are_refused(tmp_path):
    from safetensors.numpy import save_file

    file = tmp_path / "fit.safetensors"
    Center(save=str(file))(*pair())
    with pytest.raises(DataError, match="holds center of format 1, expected pca"):
        Pca(2, fit=str(file))(*pair())
    with pytest.raises(DataError, match="no such file"):
        Pca(2, fit=str(tmp_path / "absent"))(*pair())
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ArtefactError, match="not a whole"):
        Center(str(file))(*pair())
    save_file({"x": np.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="holds no fit"):
        Center(str(tmp_path / "other.safetensors"))(*pair())
    save_file(
        {"x": np.zeros(3)},
        tmp_path / "later.safetensors",
        {"fastseek": json.dumps({"format": 2, "kind": "center"})},
    )
    with pytest.raises(DataError, match="of format 2"):
        Center(str(tmp_path / "later.safetensors"))(*pair())


@pytest.mark.parametrize(
    ("kind", "arrays", "told", "said"),
    [
        ("center", {}, {"passport": {"rows": 60}}, "what it was learned from"),
        ("center", {}, {"passport": {"source": {}}}, "what it was learned from"),
        ("center", {}, {"passport": [1]}, "what it was learned from"),
        ("center", {}, [1], "it tells"),
        ("center", {"mean": np.full(8, np.nan)}, {}, "mean holds what is no finite number"),
        ("center", {"mean": np.ones((8, 8))}, {}, r"mean is \(8, 8\)"),
        ("center", {"mean": None}, {}, "it lacks mean"),
        ("pca", {"directions": None}, {}, "it lacks directions"),
        ("pca", {"directions": np.eye(7)}, {}, r"directions is \(7, 7\)"),
        ("pca", {"variances": np.ones(8, int)}, {}, "variances holds what is no finite number"),
    ],
)
def test_a_fit_of_ours_that_is_not_whole_is_refused_by_its_name(kind, arrays, told, said, tmp_path):
    from safetensors.numpy import load_file, save_file

    file = tmp_path / "fit.safetensors"
    build(f"{kind}(save={str(file)!r})", ENHANCERS)(*pair())
    held = {"format": 1, "kind": kind, "passport": {"rows": 60, "source": {}}}
    held = held | told if isinstance(told, dict) else told
    kept = {name: array for name, array in (load_file(file) | arrays).items() if array is not None}
    save_file(kept, file, {"fastseek": json.dumps(held)})
    with pytest.raises(ArtefactError, match=f"fit.safetensors: not a whole .*{said}"):
        Fit.load(file, kind)


def test_a_fit_tells_what_it_was_learned_from(tmp_path):
    Center(save=str(tmp_path / "fit"))(*pair())
    fit = Fit.load(tmp_path / "fit", "center")
    assert fit.provenance == {"rows": 60, "source": {"model": "m"}} and fit.dim == 8


@pytest.mark.parametrize("call", CALLS)
def test_a_vector_that_is_not_finite_is_named(call):
    queries, gallery = pair()
    vectors = gallery.vectors.copy()
    vectors[7] = np.inf
    with pytest.raises(DataError, match="g7"):
        build(call, ENHANCERS)(queries, Embeddings(gallery.ids, vectors))


@pytest.mark.parametrize(
    "call", ["pca(dim=0)", "whiten(dim=-1)", "l2(3)", "center(mean=1)", "whiten(whiten=False)"]
)
def test_impossible_settings_are_refused(call):
    with pytest.raises(UsageError):
        build(call, ENHANCERS)
