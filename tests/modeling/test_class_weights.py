"""What depends on the classes is told by the module that owns it, never by a name."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fastseek.errors import ArtefactError
from fastseek.inference.embedding import former_weights_hash, weights_hash
from fastseek.io.model_size import CLASS_WEIGHTS, class_names_in_file, file_bytes
from fastseek.modeling.build import build_model
from fastseek.modeling.class_weights import class_weight_names
from fastseek.modeling.weight_files import load_weights
from fastseek.modeling.weight_transfer import take_over
from fastseek.structures import Embeddings
from fastseek.structures.provenance import check_same_model
from fastseek.workflows.contest.model_size import model_size

LAST = "backbone.net.conv_head.weight"


@pytest.fixture
def make(recipe_of):
    def build(classes=3, **changes):
        torch.manual_seed(classes)
        backbone = "timm(name='mobilenetv2_035', stages=(4,), head=True)"
        return build_model(
            recipe_of(
                SEEK__BACKBONE=backbone,
                SEEK__BRANCHES=["gem(on='head')"],
                SEEK__LOSSES=["cross_entropy(on='gem')"],
                MODEL__HEADS__NUM_CLASSES=classes,
                **changes,
            )
        ).eval()

    return build


def test_F01_the_last_convolution_is_no_class_weight(make):
    assert class_weight_names(make()) == {"losses.cross_entropy.classifier.weight"}


def test_F01_other_classes_leave_every_embedding_as_it_was(make, tmp_path):
    """The last convolution was dropped while its batch norm stayed: cosine .57 before and after."""
    trained, fresh = make(3), make(5)
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    load_weights(fresh, tmp_path / "w.safetensors")
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    torch.testing.assert_close(fresh(images), trained(images), rtol=0, atol=0)


def test_F01_the_models_hash_follows_its_last_convolution(make):
    model = make()
    before = weights_hash(model)
    with torch.no_grad():
        model.get_parameter(LAST).zero_()
    assert weights_hash(model) != before


def test_F01_the_last_convolution_counts_in_the_budget_of_model_and_file(make, tmp_path):
    model = make()
    state = model.state_dict()
    own = class_weight_names(model)
    expected = sum(one.nbytes for name, one in state.items() if name not in own)
    for metadata in ({"format": "pt"}, {CLASS_WEIGHTS: json.dumps(sorted(own))}):
        save_file(state, tmp_path / "w.safetensors", metadata=metadata)
        assert file_bytes(tmp_path / "w.safetensors") == model_size(model) == expected


def test_F01_a_file_of_ours_says_which_of_its_tensors_are_class_weights(recipe_of):
    from fastseek.training.trainer import Trainer

    trainer = Trainer(recipe_of(SOLVER__MAX_EPOCH=1))
    trainer.train()
    file = next(iter(trainer.checkpointer.folder.glob("model_final.safetensors")))
    found = class_names_in_file(file, ["classifier.weight"])
    assert found == class_weight_names(trainer.model) != frozenset()


@pytest.mark.parametrize("said", ["yes", "3", '[["a"]]', '{"a": 1}', "[" * 100_000])
def test_F01_metadata_of_others_under_our_key_is_refused_by_its_file(said, tmp_path):
    file = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(2)}, file, metadata={CLASS_WEIGHTS: said})
    for read in (file_bytes, lambda path: class_names_in_file(path, ["a"])):
        with pytest.raises(ArtefactError, match="w.safetensors: class_weights in its metadata"):
            read(file)


def test_F01_a_module_of_others_says_what_it_owns():
    class Proxies(nn.Module):
        def __init__(self):
            super().__init__()
            self.proxies, self.scale = nn.Parameter(torch.rand(4, 2)), nn.Parameter(torch.ones(1))

        def class_weight_names(self):
            return ("proxies",)

    model = nn.ModuleDict({"conv_head": nn.Linear(2, 2), "loss": Proxies()})
    assert class_weight_names(model) == {"loss.proxies"}


def test_F01_embeddings_hashed_without_the_last_convolution_are_refused_by_name(make):
    model = make()
    former = former_weights_hash(model)
    assert former and former != weights_hash(model)
    old, new = (
        Embeddings(["a"], torch.ones(1, 2).numpy(), {"model": model_hash} | more)
        for model_hash, more in ((former, {}), (weights_hash(model), {"former_model": former}))
    )
    with pytest.raises(
        ArtefactError, match="gallery were embedded by version 0.1.*embed them again"
    ):
        check_same_model(new, old)
    check_same_model(new, new)


def test_a_model_without_such_a_layer_has_the_hash_it_had(recipe_of):
    assert former_weights_hash(build_model(recipe_of(MODEL__HEADS__NUM_CLASSES=3))) == ""


def test_a_damaged_list_of_classes_beside_weights_is_told_by_its_file(make, tmp_path):
    """F50: it must not be taken for the same classes."""
    model = make()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "classes.json").write_text('{"names": []}')
    (tmp_path / "mine.json").write_text('{"labels": ["a"], "counts": [1]}')
    with pytest.raises(ArtefactError, match="classes.json: expected"):
        take_over(model, tmp_path / "w.safetensors", classes=tmp_path / "mine.json")
    (tmp_path / "classes.json").unlink()
    assert take_over(model, tmp_path / "w.safetensors", classes=tmp_path / "mine.json")
