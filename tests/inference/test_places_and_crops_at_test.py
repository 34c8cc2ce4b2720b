"""Places and crops at the test: over views, on disk, and without them."""

import pytest
import torch
import torch.nn.functional as F

from fastseek import views  # noqa: F401
from fastseek.inference import classification, embedding
from fastseek.structures import Item
from fastseek.training.trainer import Trainer
from fastseek.views._embedding import all_views

VIEWS = ["hflip()", "five_crop(0.75)", "scale(1.0, 0.5)"]


class Told(torch.nn.Module):
    """Says what it was given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.given = []

    def forward(self, batch):
        self.given.append(batch)
        return torch.cat(
            [batch["images"].mean((2, 3)), batch["crops"].mean((2, 3)), batch["places"]], 1
        )

    def logits(self, batch):
        return self(batch)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return {
        "images": torch.rand(2, 3, 8, 8),
        "crops": torch.rand(2, 3, 8, 8),
        "places": torch.rand(2, 4),
    }


def test_every_view_keeps_its_places_and_crops(recipe_of, batch):
    """finegrained row 78: five crops x flip x scales."""
    before = {name: value.clone() for name, value in batch.items()}
    model = Told()
    found = embedding.embedder(recipe_of(SEEK__VIEWS=VIEWS), model)(batch)
    assert len(model.given) == 2 * 6 * 2
    parts = [embedding.build(call, embedding.VIEWS) for call in VIEWS]
    crops = all_views(batch["crops"], parts)
    for given, images, crop in zip(
        model.given, all_views(batch["images"], parts), crops, strict=True
    ):
        assert torch.equal(given["images"], images) and torch.equal(given["crops"], crop)
        assert given["places"] is batch["places"]
    assert torch.allclose(found.norm(dim=1), torch.ones(2))
    assert all(torch.equal(before[name], batch[name]) for name in batch)


def test_classifying_and_fast_reids_flip_keep_them_too(recipe_of, batch):
    model = Told()
    classification.classifier(recipe_of(SEEK__VIEWS=["hflip()"]), model)(batch)
    embedding.embedder(recipe_of(SEEK__METRICS=[], TEST__FLIP__ENABLED=True), model)(batch)
    assert len(model.given) == 4 and all(
        "places" in given and "crops" in given for given in model.given
    )


@pytest.fixture
def placed(photos, tmp_path):
    """A manifest of the small gallery: class n lives at latitude 10 n; the subject is in the
    middle.
    """
    rows = ["path,label,split,lat,lon,box"]
    for photo in sorted(photos.rglob("*.jpg")):
        split, label = photo.parts[-3], photo.parent.name
        rows.append(f"{photo},{label},{split},{10 * int(label[-2:])},5,0.2 0.2 0.8 0.8")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    return f"manifest('{tmp_path / 't.csv'}')"


def test_a_training_with_places_and_crops_runs_and_its_answers_depend_on_them(recipe_of, placed):
    """finegrained rows 75 and 77."""
    cfg = recipe_of(
        DATASETS__NAMES=(placed,),
        DATASETS__TESTS=(placed,),
        SOLVER__MAX_EPOCH=1,
        SEEK__CROPS="boxes()",
        SEEK__BRANCHES=['two_stream(of="geo(dim=16, hidden=16, drop=0.5)")'],
        SEEK__LOSSES=["arcface(on='two_stream')"],
        SEEK__CLASS_METRICS=["top(1)"],
        SEEK__VIEWS=["hflip()"],
    )
    trainer = Trainer(cfg)
    assert set(trainer.train()) == {"recall(1)", "map(10)", "top(1)", "metric"}
    items = [
        item
        for item in embedding.build_test_loader(cfg, list(resolved(cfg))).items
        if item.split == "query"
    ]
    _, told, _ = embedding.in_memory(cfg, trainer.model, items)
    bare = [Item(item.path, item.label, split=item.split, id=item.id) for item in items]
    _, plain, _ = embedding.in_memory(cfg, trainer.model, bare)
    likeness = F.cosine_similarity(*map(torch.from_numpy, (told, plain)))
    assert told.shape == plain.shape and (likeness < 0.99999).any()


def resolved(cfg):
    from fastseek.data.fastreid_datasets import resolve

    return resolve(cfg.DATASETS.TESTS[0])


def test_other_places_or_boxes_are_other_photos(photos):
    path = str(next(photos.rglob("*.jpg")))
    metas = (
        {},
        {"note": 1},
        {"lat": 1, "lon": 2},
        {"lat": 1, "lon": 3},
        {"box": "0 0 1 1"},
        {"date": "2020-01-01"},
    )
    assert len({embedding.source_of([Item(path, meta=meta)]) for meta in metas}) == 5


def test_the_provenance_tells_of_the_boxes(recipe_of, tmp_path):
    (tmp_path / "b.json").write_text("{}")
    call = f"boxes(file='{tmp_path / 'b.json'}')"
    plain = embedding.describe_model(recipe_of(), torch.nn.Linear(1, 1))
    told = embedding.describe_model(recipe_of(SEEK__CROPS=call), torch.nn.Linear(1, 1))
    assert told["preprocessing"] == {**plain["preprocessing"], "crops": call}
    assert len(told["boxes"]) == 64 and "boxes" not in plain
