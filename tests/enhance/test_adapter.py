"""The adapter as an enhancer: what it does to vectors, and whose vectors it refuses."""

import numpy as np
import pytest

from fastseek.enhance._blended_map import BlendedMap
from fastseek.enhance._fits import Fit
from fastseek.enhance.adapter import Adapter
from fastseek.errors import ArtefactError, DataError
from fastseek.registry import ENHANCERS, build
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings


def pair(seed=0, dim=8, **provenance):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(70, dim)).astype(np.float32) * 3
    told = {"model": "m", **provenance}
    return (
        Embeddings([f"q{n}" for n in range(10)], vectors[:10], told),
        Embeddings([f"g{n}" for n in range(60)], vectors[10:], told),
    )


def save(path, blend=0.5, dim=5, source=None, seed=1):
    random = np.random.default_rng(seed)
    arrays = {"mean": 0.1 * random.normal(size=8), "directions": random.normal(size=(dim, 8))}
    arrays["blend"] = np.array([blend])
    source = {"model": "m", "enhance": []} if source is None else source
    Fit("adapter", arrays, {"rows": 9, "source": source}).save(path)
    return arrays


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("blend", [0.0, 0.25, 1.0])
def test_cosines_are_the_weighted_mean_of_those_before_and_behind_the_layer(tmp_path, blend):
    arrays = save(tmp_path / "a.safetensors", blend)
    queries, gallery = pair()
    after = Adapter(str(tmp_path / "a.safetensors"))(queries, gallery)
    before = [unit(side.vectors) for side in (queries, gallery)]
    layer = [unit((side - arrays["mean"]) @ arrays["directions"].T) for side in before]
    expected = (1 - blend) * before[0] @ before[1].T + blend * layer[0] @ layer[1].T
    np.testing.assert_allclose(after[0].vectors @ after[1].vectors.T, expected, atol=1e-5)
    for side in after:
        np.testing.assert_allclose(np.linalg.norm(side.vectors, axis=1), 1, atol=1e-5)


def test_without_a_share_of_the_layer_vectors_only_get_length_1(tmp_path):
    save(tmp_path / "a.safetensors", 0.0)
    queries, gallery = pair()
    after = Adapter(str(tmp_path / "a.safetensors"))(queries, gallery)
    np.testing.assert_allclose(after[0].vectors, unit(queries.vectors), atol=1e-6)


def test_the_identity_keeps_every_cosine():
    vectors = unit(np.random.default_rng(2).normal(size=(20, 6))).astype(np.float32)
    for blend in (0.0, 0.3, 1.0):
        new = BlendedMap(np.zeros(6), np.eye(6), blend)(vectors)
        np.testing.assert_allclose(new @ new.T, vectors @ vectors.T, atol=1e-6)


def test_the_length_of_a_vector_that_is_given_tells_nothing(tmp_path):
    save(tmp_path / "a.safetensors")
    queries, gallery = pair()
    longer = Embeddings(queries.ids, queries.vectors * 7, queries.provenance)
    part = Adapter(str(tmp_path / "a.safetensors"))
    one, two = part(queries, gallery)[0], part(longer, gallery)[0]
    np.testing.assert_allclose(one.vectors, two.vectors, atol=1e-6)


def test_vectors_of_another_model_treatment_or_dimension_are_refused(tmp_path):
    save(tmp_path / "a.safetensors")
    part = build(f"adapter(file={str(tmp_path / 'a.safetensors')!r})", ENHANCERS)
    with pytest.raises(ArtefactError, match="adapter was fitted on vectors of another model"):
        part(*pair(model="other"))
    with pytest.raises(ArtefactError, match="another enhance than the queries"):
        part(*build("l2()", ENHANCERS)(*pair()))
    with pytest.raises(ArtefactError, match="8 dimensions, the queries have 9"):
        part(*pair(dim=9))
    part(*pair())


def test_vectors_of_two_adapters_do_not_meet(tmp_path):
    sides = []
    for seed in (1, 2):
        save(tmp_path / f"{seed}.safetensors", seed=seed)
        sides.append(build(f"adapter('{tmp_path}/{seed}.safetensors')", ENHANCERS)(*pair()))
    assert sides[0][0].provenance["enhance"][0].startswith("adapter()  # fit ")
    with pytest.raises(ArtefactError, match="differ in enhance"):
        Exact(k=2)(sides[0][0], sides[1][1])
    Exact(k=2)(*sides[0])


def test_files_that_are_no_adapter_are_refused_with_what_writes_one(tmp_path):
    file = tmp_path / "a.safetensors"
    queries, gallery = pair()
    with pytest.raises(DataError, match="no such file; expected a file that fastseek adapt has"):
        Adapter(str(file))(queries, gallery)
    build(f"center(save={str(file)!r})", ENHANCERS)(queries, gallery)
    with pytest.raises(DataError, match="holds center .* write it with fastseek adapt"):
        Adapter(str(file))(queries, gallery)
    save(file, blend=2.0)
    with pytest.raises(ArtefactError, match="blend must be 0 to 1"):
        Adapter(str(file))(queries, gallery)
    save(file, source="nobody")
    with pytest.raises(ArtefactError, match="not a whole fit .* fastseek adapt"):
        Adapter(str(file))(queries, gallery)
    save(file)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ArtefactError, match="not a whole .safetensors file"):
        Adapter(str(file))(queries, gallery)
