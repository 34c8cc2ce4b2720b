"""Projects in fast-reid's own form that bring a data set, an architecture or an evaluator."""

from __future__ import annotations

import math
import os
import pathlib
import shutil
from collections import OrderedDict

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import toy
from fastseek.errors import DataError, UsageError
from fastseek.training import WithParts
from fastseek.training.trainer import Trainer

from fastreid.data.datasets import DATASET_REGISTRY
from fastreid.data.datasets.bases import ImageDataset
from fastreid.engine import DefaultTrainer
from fastreid.evaluation import DatasetEvaluator
from fastreid.evaluation.rank import evaluate_rank
from fastreid.modeling.meta_arch import META_ARCH_REGISTRY
from fastreid.modeling.meta_arch.baseline import Baseline
from fastreid.utils import comm


@DATASET_REGISTRY.register()
class ToyBirds(ImageDataset):
    """As FastRetri's CUB: every test image is a query, there is no gallery and one camera."""

    def __init__(self, root="datasets", **kwargs):
        files = sorted((toy_root() / "birds").glob("*/*.png"))
        rows = [(str(one), int(one.parent.name[-2:])) for one in files]
        train = [(path, f"birds_{pid}", "0") for path, pid in rows if pid < 4]
        super().__init__(train, [(path, pid, "0") for path, pid in rows if pid >= 4], [], **kwargs)


@DATASET_REGISTRY.register()
class ToyPeople(ImageDataset):
    """As PartialReID's sets: queries and gallery, by two cameras."""

    def __init__(self, root="datasets", **kwargs):
        files = sorted((toy_root() / "birds").glob("*/*.png"))
        rows = [(str(one), int(one.parent.name[-2:]), int(one.stem[-1])) for one in files]
        train = [(path, f"people_{pid}", f"people_{cam % 2}") for path, pid, cam in rows]
        query = [(path, pid, 0) for path, pid, cam in rows if cam == 0]
        gallery = [(path, pid, 1) for path, pid, cam in rows if cam in (1, 2)]
        super().__init__(train, query, gallery, **kwargs)


def toy_root():
    return pathlib.Path(os.environ["FASTREID_DATASETS"])


@pytest.fixture(scope="module", autouse=True)
def birds(tmp_path_factory):
    """8 classes of 4 images."""
    root = tmp_path_factory.mktemp("sets")
    for name in range(8):
        folder = root / "birds" / f"class_{name:02d}"
        folder.mkdir(parents=True)
        for shot in range(4):
            toy.photo(name, shot).resize((32, 32)).save(folder / f"{shot}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTREID_DATASETS", str(root))
        yield root


class RecallEvaluator(DatasetEvaluator):
    """As FastRetri's: recall at k among all other images when there is no gallery."""

    def __init__(self, cfg, num_query, output_dir=None):
        self.cfg, self.num_query = cfg, num_query

    def reset(self):
        self.features, self.labels = [], []

    def process(self, inputs, outputs):
        self.features.append(outputs.cpu())
        self.labels.extend(inputs["targets"])

    def evaluate(self):
        if not comm.is_main_process():
            return {}
        features, labels = F.normalize(torch.cat(self.features)), np.asarray(self.labels)
        assert self.num_query == len(features)
        near = (features @ features.T).fill_diagonal_(-math.inf).argsort(dim=1, descending=True)
        hits = labels[:, None] == labels[near.numpy()]
        figures = OrderedDict((f"Recall@{k}", hits[:, :k].any(1).mean() * 100) for k in (1, 2, 4))
        figures["metric"] = figures["Recall@1"]
        return figures


@META_ARCH_REGISTRY.register()
class TwoFeatures(Baseline):
    """As PartialReID's: evaluation returns more than one tensor."""

    def forward(self, batched_inputs):
        if self.training:
            return super().forward(batched_inputs)
        maps = self.backbone(self.preprocess_image(batched_inputs))
        return self.heads(maps), F.adaptive_avg_pool2d(maps, 2).flatten(1)


class PartEvaluator(DatasetEvaluator):
    """As PartialReID's: distances of both features, ranked by fast-reid's own rule."""

    def __init__(self, cfg, num_query, output_dir=None):
        self.num_query = num_query

    def reset(self):
        self.parts, self.pids, self.camids = [], [], []

    def process(self, inputs, outputs):
        self.parts.append(torch.cat([F.normalize(one) for one in outputs], dim=1).cpu())
        self.pids.extend(inputs["targets"].cpu().numpy())
        self.camids.extend(inputs["camids"].cpu().numpy())

    def evaluate(self):
        n, features = self.num_query, torch.cat(self.parts)
        pids, camids = np.asarray(self.pids), np.asarray(self.camids)
        distance = 1 - (features[:n] @ features[n:].T).numpy() / 2
        cmc, ap, _ = evaluate_rank(
            distance, pids[:n], pids[n:], camids[:n], camids[n:], use_cython=False
        )
        return OrderedDict({"Rank-1": cmc[0], "mAP": np.mean(ap), "metric": np.mean(ap)})


def project(base, evaluator):
    """The trainer of a project, on ours or on fast-reid's own with our parts."""
    bases = (Trainer,) if base == "ours" else (WithParts, DefaultTrainer)

    def build(cls, cfg, dataset_name, output_dir=None):
        loader, num_query = cls.build_test_loader(cfg, dataset_name)
        return loader, evaluator(cfg, num_query, output_dir)

    return type("ProjectTrainer", bases, {"build_evaluator": classmethod(build)})


RETRI = {
    "DATASETS__NAMES": ("ToyBirds",),
    "DATASETS__TESTS": ("ToyBirds",),
    "SOLVER__IMS_PER_BATCH": 8,
    "SOLVER__MAX_EPOCH": 2,  # fast-reid's printer wants three steps
    "SEEK__METRICS": [],
}
PARTIAL = {
    "DATASETS__NAMES": ("ToyPeople",),
    "DATASETS__TESTS": ("ToyPeople",),
    "MODEL__META_ARCHITECTURE": "TwoFeatures",
    "MODEL__BACKBONE__NAME": "build_timm_backbone",
    "MODEL__BACKBONE__FEAT_DIM": 64,
    "MODEL__LOSSES__NAME": ("CrossEntropyLoss", "TripletLoss"),
    "SOLVER__IMS_PER_BATCH": 8,
    "SOLVER__MAX_EPOCH": 1,
    "SEEK__BRANCHES": [],
    "SEEK__LOSSES": [],
    "SEEK__METRICS": [],
}


@pytest.mark.parametrize("base", ["ours", "fast-reid's"])
def test_F23_a_project_with_its_own_evaluator_and_no_gallery_trains_and_is_judged_by_it(
    recipe_of, base
):
    trainer = project(base, RecallEvaluator)(recipe_of(**RETRI))
    figures = trainer.train()
    assert list(figures) == ["Recall@1", "Recall@2", "Recall@4", "metric"]
    twin = Trainer(recipe_of(**RETRI, SEEK__EVALUATOR="leave_one_out(recalls=(1, 2, 4))"))
    again = twin.test(twin.cfg, trainer.model)
    assert [again[f"recall({k})"] for k in (1, 2, 4)] == pytest.approx(list(figures.values())[:3])


@pytest.mark.parametrize("base", ["ours", "fast-reid's"])
def test_F23_a_project_whose_model_returns_several_features_is_judged_by_its_own_evaluator(
    recipe_of, base
):
    figures = project(base, PartEvaluator)(recipe_of(**PARTIAL)).train()
    assert set(figures) == {"Rank-1", "mAP", "metric"}
    assert all(0 <= value <= 1 for value in figures.values())


def test_F23_a_test_loader_of_the_project_is_the_one_that_is_embedded(recipe_of):
    class Batches(Trainer):
        @classmethod
        def build_test_loader(cls, cfg, dataset_name):
            loader, num_query = super().build_test_loader(cfg, dataset_name)
            batches = [
                {
                    key: value
                    for key, value in batch.items()
                    if key not in ("rows", "ids", "rejects")
                }
                for batch in loader
            ]
            return batches, num_query

    changes = {"MODEL__META_ARCHITECTURE": "Baseline", "SEEK__TEST": []}
    cfg = recipe_of(**PARTIAL | changes, INPUT__SIZE_TEST=[32, 32])
    model = Trainer.build_model(cfg)
    figures = Batches.test(cfg, model)
    assert figures == Trainer.test(cfg, model) and figures["mAP"] > 0


def test_F23_without_cameras_an_evaluator_of_others_gets_two_and_drops_no_answer(
    recipe_of, tests_on
):
    loader, num_query = Trainer.build_test_loader(recipe_of(), tests_on[0])
    camids = torch.cat([batch["camids"] for batch in loader])
    assert num_query == 6 and camids.tolist() == [0] * 6 + [1] * 36


def test_F23_what_an_evaluator_of_others_passes_over_is_refused_by_name(recipe_of):
    kind = project("ours", RecallEvaluator)
    cfg = recipe_of(**RETRI | {"SEEK__METRICS": ["map(5)"], "SEEK__RERANK": ["k_reciprocal()"]})
    told = "SEEK.RERANK, SEEK.METRICS: build_evaluator gives RecallEvaluator"
    with pytest.raises(UsageError, match=told):
        kind.test(cfg, kind.build_model(cfg))


def test_F23_an_evaluator_of_others_is_never_given_fewer_images_than_it_counts(
    recipe_of, birds, tmp_path, monkeypatch
):
    shutil.copytree(birds, tmp_path / "sets")
    (tmp_path / "sets/birds/class_05/1.png").write_bytes(b"broken")
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path / "sets"))
    kind = project("ours", RecallEvaluator)
    cfg = recipe_of(**RETRI)
    with pytest.raises(DataError, match=r"class_05/1\.png"):
        kind.test(cfg, kind.build_model(cfg))


def test_F23_a_set_without_gallery_names_the_evaluator_for_it(recipe_of):
    cfg = recipe_of(**RETRI)
    with pytest.raises(DataError, match=r"SEEK\.EVALUATOR leave_one_out\(\)"):
        Trainer.test(cfg, Trainer.build_model(cfg))


def test_a_build_evaluator_of_another_form_is_told_the_form(recipe_of):
    class Old(Trainer):
        build_evaluator = classmethod(
            lambda cls, cfg, num_query, output_dir=None: PartEvaluator(cfg, 1)
        )

    cfg = recipe_of(**RETRI)
    with pytest.raises(UsageError, match=r"expected the test loader and the evaluator"):
        Old.test(cfg, Old.build_model(cfg))
