"""Every key FastSeek adds to fast-reid's config: its default and one comment."""

from __future__ import annotations

from typing import Any


def add_seek_config(cfg: Any) -> None:
    """Add our keys with their defaults to a fast-reid CfgNode, in place, once."""
    if "SEEK" in cfg:
        return
    node = type(cfg)
    # packages with a `register(cfg)`; train_net imports them before it reads the recipe
    cfg.PLUGINS = []
    cfg.SEED = 0  # seeds weights, order and augmentation; -1 draws one and logs it
    cfg.SEEK = seek = node()
    seek.BACKBONE = ""  # call string of BACKBONES; "" takes fast-reid's MODEL.BACKBONE
    # call strings of BLOCKS: attention and other parts put into the backbone, in order
    seek.BLOCKS = []
    seek.BRANCHES = []  # call strings of BRANCHES: feature maps -> embeddings
    seek.LOSSES = []  # call strings of LOSSES, each on one named embedding
    seek.CLASSES = (
        ""  # JSON {"labels": [...], "counts": [...]}; the trainer writes it beside the model
    )
    seek.SCHEDULE = ""  # call string of SCHEDULES; "" honours SOLVER.SCHED and its warm-up
    # parts of parameter names, or "blocks(15)": no gradient, BatchNorm statistics stay
    seek.FREEZE = []
    # "part-of-name: factor" of the learning rate, the first that fits; "layer_decay: 0.75"
    seek.RATES = []
    seek.ACCUMULATE = 1  # batches of SOLVER.IMS_PER_BATCH whose gradients make one update
    # training ends after so many epochs, its schedule as if it went on to MAX_EPOCH; 0 for never
    seek.STOP_AT = 0
    # a loss or gradient that is not finite: "stop", or "skip" that update, ten in a row at most
    seek.ON_NAN = "stop"
    seek.DROP = []  # parts of names in MODEL.WEIGHTS that are not taken over
    # MODEL.WEIGHTS must fit "all", all but "classes", "grow" (the model may have more) or "some"
    seek.FIT = "classes"
    seek.HEAD = node()
    seek.HEAD.SUBCENTERS = 3  # SubCenterArcFaceHead under fast-reid's Baseline: centres a class
    seek.HEAD.MARGIN = (
        ""  # its margin, "dynamic(0.05, 0.50)" (needs SEEK.CLASSES); "" takes MODEL.HEADS.MARGIN
    )
    seek.SAMPLER = ""  # call string of SAMPLERS; "" honours DATALOADER.SAMPLER_TRAIN
    seek.TRAIN = []  # call strings of TRANSFORMS for training; [] honours fast-reid's INPUT flags
    seek.TEST = []  # the same for embedding and evaluation
    seek.CROPS = (
        ""  # call string of CROPS: every photo is seen a second time, cut there; for two_stream
    )
    # folder that keeps what the first transforms of TRAIN and TEST give (those that draw nothing)
    seek.CACHE = ""
    seek.VIEWS = []  # call strings of VIEWS: test-time views
    seek.FOREGROUND = (
        ""  # "foreground(at='s4', threshold=0.2)": embed the part of a photo the network looks at
    )
    seek.ENHANCE = []  # call strings of ENHANCERS, before the search
    seek.SEARCH = "exact(k=100)"  # call string of SEARCHERS
    seek.RERANK = []  # call strings of RERANKERS, in order
    seek.METRICS = []  # call strings of METRICS; [] gives fast-reid's Rank-k, mAP, mINP
    seek.FIGURES = []  # call strings of FIGURES: the test photos are classified too, and scored so
    seek.VOTE = (
        "probabilities"  # what is averaged over views to classify: "probabilities" or "logits"
    )
    seek.EXPECT = []  # "map(100) 61.2 +- 0.5": a finished run outside is told as an error
    seek.ON_BAD = "skip"  # a photo that cannot be read: "skip" (named and counted) or "fail"
    seek.MAX_BAD = (
        0.001  # training stops when more than this share (and more than 10) is bad, in one process
    )
    seek.MAX_PIXELS = 64_000_000  # larger photos are refused before they are decoded
    seek.AMP_DTYPE = "fp16"  # with SOLVER.AMP.ENABLED: "fp16" (scaled) or "bf16"
    seek.CHECKPOINT_MINUTES = 10.0  # a checkpoint in the middle of an epoch at least this often
    seek.KEEP_CHECKPOINTS = 2  # how many of those stay, beside model_best and model_final
