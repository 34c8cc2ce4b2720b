"""SEEK.CHANNELS_LAST: another layout in memory, the same model."""

import pathlib

import pytest
import torch
from safetensors.torch import load_file

from fastseek.config import validation
from fastseek.errors import UsageError
from fastseek.modeling.build import build_model
from fastseek.training.trainer import Trainer


def weights(folder):
    return load_file(pathlib.Path(folder) / "model_final.safetensors")


def has_layout(tensor):
    return tensor.is_contiguous(memory_format=torch.channels_last)


def test_the_model_says_the_same_in_another_layout(recipe_of):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, 40, 40, generator=generator) * 255
    made = []
    for last in (False, True):
        torch.manual_seed(0)
        made.append(build_model(recipe_of(SEEK__CHANNELS_LAST=last)).eval())
    plain, other = made
    kernels = [one for one in other.backbone.parameters() if one.dim() == 4 and one.shape[2] > 1]
    assert kernels and all(has_layout(one) for one in kernels)
    assert has_layout(other.preprocess(images)) and not has_layout(plain.preprocess(images))
    torch.testing.assert_close(plain(images), other(images), atol=1e-5, rtol=1e-4)
    assert all(
        torch.equal(a, b) for a, b in zip(plain.parameters(), other.parameters(), strict=True)
    )


def test_a_training_that_goes_on_ends_with_the_same_bits(recipe_of, tmp_path):
    class Stopped(Trainer):
        def run_step(self):
            if self.iter == 3:
                raise KeyboardInterrupt
            super().run_step()

    folders = []
    for name, kind in (("whole", Trainer), ("halves", Stopped)):
        folders.append(tmp_path / name)
        cfg = recipe_of(
            SEEK__CHANNELS_LAST=True, OUTPUT_DIR=str(folders[-1]), SOLVER__CHECKPOINT_PERIOD=1
        )
        trainer = kind(cfg)
        trainer.resume_or_load(False)
        try:
            trainer.train()
        except KeyboardInterrupt:
            again = Trainer(cfg)
            again.resume_or_load(True)
            assert again.start_step > 0
            assert all(
                has_layout(one) for one in again.model.backbone.parameters() if one.dim() == 4
            )
            again.train()
    whole, halves = map(weights, folders)
    assert whole.keys() == halves.keys()
    assert all(torch.equal(whole[key], halves[key]) for key in whole)


def test_a_model_that_would_pass_over_it_is_refused(recipe_of):
    cfg = recipe_of(SEEK__CHANNELS_LAST=True).clone()
    cfg.defrost()
    cfg.MODEL.META_ARCHITECTURE = "Baseline"
    with pytest.raises(UsageError, match="SEEK.CHANNELS_LAST is for Seeker, not for Baseline"):
        validation.check(cfg, {})
