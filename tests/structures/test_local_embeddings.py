"""Several vectors an image on disk: what is written is read, and damage is told."""

import json

import numpy as np
import pytest

from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.structures import Embeddings
from fastseek.structures.local_embeddings import LocalEmbeddings, LocalShape, Tokens
from fastseek.structures.local_embeddings_writer import LocalBatch, LocalWriter

TOLD = {"model": "m", "preprocessing": {"size": [8, 8]}}


def made_tokens(images=7, count=3, dim=10, seed=0):
    random = np.random.default_rng(seed)
    weights = np.ones((images, count), np.float32)
    weights[2, 1:] = 0
    return Tokens(
        random.normal(size=(images, count, dim)), random.random((images, count, 2)), weights
    )


@pytest.fixture
def names():
    return [f"image {n}" for n in range(7)]


@pytest.mark.parametrize("bits", ["fp16", "binary"])
def test_a_folder_in_shards_gives_what_lies_in_memory(bits, names, tmp_path):
    made = LocalEmbeddings.of_tokens(names, made_tokens(), bits, TOLD)
    made.save(tmp_path / "L", rows=3)
    found = LocalEmbeddings.load(tmp_path / "L")
    rows = np.array([5, 0, 2])
    assert found.shape == LocalShape(3, 10, bits) and found.provenance == TOLD
    assert found.find(np.array(["image 5", "gone"])).tolist() == [5, -1]
    for one, other in zip(found.read(rows), made.read(rows), strict=True):
        np.testing.assert_array_equal(one, other)


def test_vectors_have_length_one_and_empty_tokens_are_zero(names):
    made, tokens = LocalEmbeddings.of_tokens(names, made_tokens()), made_tokens()
    found = made.read(np.arange(7))
    units = tokens.vectors / np.linalg.norm(tokens.vectors, axis=2, keepdims=True)
    wanted = units * (tokens.weights > 0)[:, :, None]
    np.testing.assert_allclose(found.vectors, wanted, atol=1e-3)
    np.testing.assert_allclose(found.places, tokens.places, atol=1e-3)
    assert [len(part) for part in found.pick(2)] == [1, 1, 1]


def test_a_product_of_binary_vectors_counts_the_bits_that_differ(names):
    tokens = made_tokens()
    found = LocalEmbeddings.of_tokens(names, tokens, "binary").read(np.arange(7))
    above = tokens.vectors > tokens.vectors.mean(axis=2, keepdims=True)
    for one, other in ((0, 1), (3, 6)):
        apart = int((above[one, 0] != above[other, 2]).sum())
        product = float(found.vectors[one, 0] @ found.vectors[other, 2])
        assert product == pytest.approx(1 - 2 * apart / 10, abs=1e-6)


@pytest.mark.parametrize("bits", ["fp16", "binary"])
def test_the_bytes_of_an_image_are_those_of_the_files(bits, names, tmp_path):
    made = LocalEmbeddings.of_tokens(names, made_tokens(), bits)
    made.save(tmp_path)
    files = [np.load(tmp_path / f"000000000.{kind}.npy") for kind in ("vectors", "places")]
    assert sum(one.nbytes for one in files) == 7 * made.shape.image_bytes


def test_a_file_that_was_changed_cut_or_lost_is_told(names, tmp_path):
    LocalEmbeddings.of_tokens(names, made_tokens()).save(tmp_path)
    file = tmp_path / "000000000.vectors.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    found = LocalEmbeddings.load(tmp_path)  # nothing of it is read yet
    with pytest.raises(ArtefactError, match="not those that were written"):
        found.read(np.array([0]))
    file.write_bytes(bytes(content[:-4]))
    with pytest.raises(ArtefactError, match="the manifest says"):
        LocalEmbeddings.load(tmp_path)
    page = json.loads((tmp_path / "manifest.json").read_text())
    page["shards"][0]["vectors_file"] = "../secret.npy"
    (tmp_path / "manifest.json").write_text(json.dumps(page))
    with pytest.raises(ArtefactError, match="not a whole manifest"):
        LocalEmbeddings.load(tmp_path)


def test_vectors_are_no_local_features_and_the_other_way_round(names, tmp_path):
    Embeddings(names, np.ones((7, 4), np.float32)).save(tmp_path / "E")
    LocalEmbeddings.of_tokens(names, made_tokens()).save(tmp_path / "L")
    with pytest.raises(ArtefactError, match="not local embeddings"):
        LocalEmbeddings.load(tmp_path / "E")
    with pytest.raises(ArtefactError, match="format"):
        Embeddings.load(tmp_path / "L")
    with pytest.raises(UsageError, match="bits"):
        LocalEmbeddings.of_tokens(names, made_tokens(), "int4")
    with pytest.raises(DataError, match="stands 7 times"):
        LocalEmbeddings.of_tokens(["a"] * 7, made_tokens())
    with pytest.raises(DataError, match="fastseek embed --locals 16"):
        LocalEmbeddings.load(tmp_path / "gone")


def test_what_is_written_beside_vectors_is_of_the_images_that_have_one(names, tmp_path):
    tokens, writer = made_tokens(), LocalWriter(tmp_path, "fp16")
    vectors = np.random.default_rng(1).normal(size=(7, 4)).astype(np.float32)
    vectors[4] = 0  # `store` counts it among the rejects

    def batches(cuts):
        for start, stop in zip(cuts, cuts[1:], strict=False):
            here = slice(start, stop)
            yield LocalBatch(names[here], vectors[here], [], Tokens(*(one[here] for one in tokens)))

    handed = list(writer.split(batches([0, 2, 4, 5, 7]), [range(0, 4), range(4, 7)]))
    assert [len(one[0]) for one in handed] == [2, 2, 1, 2]
    rows = np.array([0, 1, 2, 3, 5, 6])
    found = writer.finish(Embeddings(np.array(names)[rows], vectors[rows], TOLD))
    made = LocalEmbeddings.of_tokens(names, tokens)
    for one, other in zip(found.read(np.arange(6)), made.read(rows), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ArtefactError, match="embed into another folder"):
        writer.finish(Embeddings(names, np.ones((7, 4), np.float32), TOLD))
