"""Parts of photos are embedded as whole photos are, and searched with them."""

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

import toy
from fastseek.config import recipe
from fastseek.data.own_images import images_of
from fastseek.errors import ArtefactError, UsageError
from fastseek.inference.embed_images import load_model
from fastseek.inference.embed_parts.embed_request import EmbedRequest, embed_request
from fastseek.inference.embedding import in_memory
from fastseek.inference.feature_maps import embed_part, maps_of
from fastseek.inference.multi_object import (
    SubjectChoice,
    TrainedModel,
    parts_of,
    search_parts,
    search_subjects,
)
from fastseek.regions.attention import attention
from fastseek.regions.subjects import subjects
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings

RECIPE = """
MODEL: {META_ARCHITECTURE: Seeker, DEVICE: cpu}
DATASETS: {NAMES: ["folder('photos')"], TESTS: []}
DATALOADER: {NUM_WORKERS: 0}
TEST: {IMS_PER_BATCH: 3}
SEEK:
  BACKBONE: "timm(name='resnet10t', stages=(3, 4))"
  BRANCHES: ["gem(on='s4')"]
  TEST: ["resize(160)"]
  METRICS: ["recall(1)"]
"""


def embed_images(recipe, weights, images, out, opts=()):
    how = str(recipe), str(weights), tuple(opts)
    return embed_request(EmbedRequest(str(images), str(out), recipe=how)).line


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A gallery, three queries of two shapes each, a recipe and an untrained model, embedded and
    searched.
    """
    home = tmp_path_factory.mktemp("subjects")
    for label in range(6):
        (home / "gallery").mkdir(exist_ok=True)
        toy.photo(label, 0, 80).save(home / "gallery" / f"{label}.png")
    (home / "queries").mkdir()
    for number in range(3):
        both = Image.new("RGB", (160, 160), (128, 128, 128))
        both.paste(toy.photo(number, 5, 70), (0, 0))
        both.paste(toy.photo(number + 3, 5, 70), (90, 90))
        both.save(home / "queries" / f"{number}.png")
    (home / "recipe.yml").write_text(RECIPE)
    torch.manual_seed(0)
    model = recipe.load(home / "recipe.yml")
    from fastreid.modeling import build_model

    made = build_model(model)
    save_file(
        {name: value.contiguous() for name, value in made.state_dict().items()},
        home / "w.safetensors",
    )
    for side in ("queries", "gallery"):
        embed_images(home / "recipe.yml", home / "w.safetensors", home / side, home / f"{side}.emb")
    Exact(k=4)(*(Embeddings.load(home / f"{side}.emb") for side in ("queries", "gallery"))).save(
        home / "r.npz"
    )
    return home


@pytest.fixture(scope="module")
def loaded(home):
    cfg = recipe.load(home / "recipe.yml")
    return cfg, load_model(cfg, home / "w.safetensors"), images_of(home / "queries")[0]


def test_the_whole_map_as_a_part_embeds_as_the_photo(loaded):
    """finegrained row 47."""
    cfg, model, items = loaded
    _, vectors, _ = in_memory(cfg, model, items)
    number = 0
    for ids, maps in maps_of(cfg, model, items):
        for row in range(len(ids)):
            part = embed_part(model, maps, row, (0, 0, *maps["s4"].shape[2:]), "s4")
            np.testing.assert_allclose(part.numpy(), vectors[number], atol=1e-5)
            number += 1
    assert number == 3


def test_a_part_is_its_place_of_the_map_through_the_branch(loaded):
    """finegrained row 47: GeM over the box, length 1, no second run of the network."""
    cfg, model, items = loaded
    ids, maps = next(maps_of(cfg, model, items))
    box = (1, 2, 4, 5)
    values = maps["s4"][1, :, 1:4, 2:5].double().clamp(min=1e-6)
    exponent = float(model.branches["gem"].pool.p.detach())
    expected = F.normalize(values.pow(exponent).mean((1, 2)).pow(1 / exponent), dim=0)
    torch.testing.assert_close(
        embed_part(model, maps, 1, box, "s4").double(), expected, atol=1e-5, rtol=1e-4
    )
    finer = (2, 4, 8, 10)
    torch.testing.assert_close(
        embed_part(model, maps, 1, box, "s4"), embed_part(model, maps, 1, finer, "s3")
    )


def test_every_subject_of_every_photo_is_embedded(loaded):
    """finegrained row 46."""
    cfg, model, items = loaded
    found = parts_of(cfg, model, items, every=True)
    expected = {
        name: [subject.box for subject in subjects(attention(maps["s4"][row].numpy()))]
        for ids, maps in maps_of(cfg, model, items)
        for row, name in enumerate(ids)
    }
    for name, boxes in expected.items():
        assert (
            np.allclose(found.boxes.get(name, []), np.array(boxes) / 5)
            if boxes
            else name not in found.boxes
        )
    assert found.embeddings.ids.tolist() == [
        f"{name}#{number}"
        for name, boxes in expected.items()
        for number in range(1, len(boxes) + 1)
    ]


def search(home, out, opts=(), queries="queries", gallery="gallery.emb", **choice):
    """Search the subjects of the fixture's queries."""
    return search_subjects(
        TrainedModel(home / "recipe.yml", home / "w.safetensors", opts),
        home / "r.npz",
        home / queries,
        home / gallery,
        home / out,
        SubjectChoice(**choice),
    )


def test_the_tool_merges_and_names_its_boxes(home):
    """finegrained row 47."""
    whole = np.load(home / "r.npz")["scores"]
    told = search(home, "better.npz", every=True)
    better = np.load(home / "better.npz")["scores"]
    boxes = json.loads((home / "better.boxes.json").read_text())
    assert set(boxes) <= {"0.png", "1.png", "2.png"} and boxes and "parts searched" in told
    assert (better >= whole - 1e-7).all()  # more questions never lower a score
    assert all(0 <= edge <= 1 for found in boxes.values() for box in found for edge in box)


def test_only_the_queries_that_are_named_are_looked_at(home):
    """finegrained row 45."""
    search(home, "one.npz", every=True, only=["1.png"])
    assert set(json.loads((home / "one.boxes.json").read_text())) <= {"1.png"}
    before, after = (np.load(home / name)["scores"] for name in ("r.npz", "one.npz"))
    assert np.array_equal(before[[0, 2]], after[[0, 2]])


def test_F49_queries_of_another_set_are_an_error_and_not_a_search_of_nothing(home):
    with pytest.raises(ArtefactError, match="r.npz has no query 'elsewhere.png', nor 0 others"):
        search(home, "none.npz", only=["1.png", "elsewhere.png"])
    assert not (home / "none.npz").exists()


def test_F49_a_gallery_with_a_changed_byte_is_refused(home):
    shutil.copytree(home / "gallery.emb", home / "changed.emb")
    file = next((home / "changed.emb").glob("*.vectors.npy"))
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtefactError, match="the bytes are not those that were written"):
        search(home, "none.npz", gallery="changed.emb")


def test_F49_queries_that_cannot_be_read_are_named_and_keep_their_answers(home):
    shutil.copytree(home / "queries", home / "broken")
    (home / "broken" / "1.png").write_bytes(b"no image")
    told = search(home, "kept.npz", queries="broken", every=True)
    rejects = (home / "kept.rejects.csv").read_text()
    assert "1 could not be read" in told and "1.png" in told and "1.png" in rejects
    before, after = (np.load(home / name) for name in ("r.npz", "kept.npz"))
    assert np.array_equal(before["scores"][1], after["scores"][1])
    assert np.array_equal(before["indices"][1], after["indices"][1])
    search(home, "kept.npz", every=True)
    assert not (home / "kept.rejects.csv").exists()


def test_the_answer_is_the_maximum_over_photo_and_parts(home, loaded):
    """finegrained row 47. A slow twin: all cosines."""
    cfg, model, items = loaded
    gallery, queries = (Embeddings.load(home / f"{side}.emb") for side in ("gallery", "queries"))
    parts = parts_of(cfg, model, items, every=True)
    found = search_parts(Exact(k=6)(queries, gallery), parts, gallery)
    for row, name in enumerate(found.query_ids.tolist()):
        own = [
            queries.vectors[row],
            *(
                vector
                for part, vector in zip(parts.embeddings.ids, parts.embeddings.vectors, strict=True)
                if parts.owner[part] == name
            ),
        ]
        best = (np.stack(own) @ np.asarray(gallery.vectors[:]).T).max(axis=0)
        np.testing.assert_allclose(found.scores[row], np.sort(best)[::-1], atol=1e-5)


def test_what_does_not_belong_together_is_refused(home):
    with pytest.raises(UsageError, match="no map 's7', only s3, s4"):
        search(home, "x.npz", on="s7")
    with pytest.raises(ArtefactError, match="not over the images"):
        search(home, "x.npz", gallery="queries.emb")
    with pytest.raises(ArtefactError, match="has no image '0.png', nor 2 others"):
        search(home, "x.npz", queries="gallery/..")


def test_parts_of_another_recipe_are_not_compared(home):
    with pytest.raises(ArtefactError, match="preprocessing"):
        search(home, "x.npz", ["SEEK.TEST", '["resize(192)"]'], every=True)
