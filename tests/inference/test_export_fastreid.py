"""A model of ours in fast-reid's own hands."""

import pathlib

import pytest
import torch
from safetensors.torch import save_file

from fastseek.cli.export import main
from fastseek.errors import UsageError
from fastseek.inference.embed_images import load_model
from fastseek.modeling.build import build_model

from fastreid.config import get_cfg
from fastreid.modeling import build_model as fastreid_build
from fastreid.utils.checkpoint import Checkpointer


@pytest.fixture
def trained(recipe_of, tmp_path):
    """A recipe of ours for fast-reid's Baseline, its weights and classes beside it."""
    cfg = recipe_of(
        MODEL__META_ARCHITECTURE="Baseline",
        MODEL__BACKBONE__DEPTH="18x",
        MODEL__BACKBONE__FEAT_DIM=512,
        SEEK__BACKBONE="",
        SEEK__BRANCHES=[],
        SEEK__LOSSES=[],
    )
    (tmp_path / "classes.json").write_text('{"labels": ["a", "b", "c"], "counts": [1, 2, 3]}')
    sized = cfg.clone()
    sized.defrost()
    sized.MODEL.HEADS.NUM_CLASSES = 3
    torch.manual_seed(0)
    model = build_model(sized)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "recipe.yml").write_text(cfg.dump())
    return cfg, tmp_path


def export(home, *more):
    main(
        ["--config-file", str(home / "recipe.yml"), "--weights", str(home / "w.safetensors")]
        + ["--to", "fastreid", "--out", str(home / "out"), *more]
    )
    return home / "out" / "config.yaml", home / "out" / "model_final.pth"


def test_F24_fast_reids_checkpointer_loads_the_model_and_it_embeds_the_same(trained):
    cfg, home = trained
    config, weights = export(home)
    theirs = get_cfg()  # without our keys
    theirs.merge_from_file(str(config))
    assert theirs.MODEL.HEADS.NUM_CLASSES == 3 and not theirs.MODEL.BACKBONE.PRETRAIN
    model = fastreid_build(theirs)
    assert Checkpointer(model).load(str(weights)) == {}
    images = torch.rand(2, 3, 64, 32) * 255
    with torch.no_grad():
        found = model.eval()({"images": images.clone()})
        expected = load_model(cfg, home / "w.safetensors")({"images": images.clone()})
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_F24_fast_reids_distiller_takes_it_as_a_teacher(trained):
    _, home = trained
    config, weights = export(home)
    student = get_cfg()
    student.merge_from_file(str(config))
    student.MODEL.META_ARCHITECTURE = "Distiller"
    student.KD.MODEL_CONFIG, student.KD.MODEL_WEIGHTS = [str(config)], [str(weights)]
    distiller = fastreid_build(student)
    state = torch.load(weights, weights_only=True)["model"]
    for name, tensor in distiller.model_ts[0].state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=0)


def test_F24_a_model_fast_reid_cannot_build_is_refused_and_nothing_is_written(recipe_of, tmp_path):
    (tmp_path / "recipe.yml").write_text(recipe_of().dump())
    (tmp_path / "w.safetensors").touch()
    with pytest.raises(UsageError, match="MODEL.META_ARCHITECTURE 'Seeker' is not of fast-reid"):
        export(tmp_path)
    assert not pathlib.Path(tmp_path / "out").exists()
