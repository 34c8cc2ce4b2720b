#!/usr/bin/env python
"""Train or evaluate a recipe of FastSeek with fast-reid's own trainer.

python3 projects/FastSeekPlugin/train_net.py --config-file projects/FastSeekPlugin/configs/grocery.yml
"""

import argparse
from typing import Any

from fastseekplugin import Trainer, add_fastseek_config

from fastseek.config.edits import without_pretrained
from fastseek.modeling.weight_files import load_weights

from fastreid.config import get_cfg
from fastreid.engine import default_argument_parser, default_setup, launch


def setup(args: argparse.Namespace) -> Any:
    """Create the config and perform basic setups."""
    cfg = get_cfg()
    add_fastseek_config(cfg)
    cfg.merge_from_file(args.config_file)
    cfg.merge_from_list(args.opts)
    cfg.freeze()
    default_setup(cfg, args)
    return cfg


def main(args: argparse.Namespace) -> Any:
    """Train, or evaluate MODEL.WEIGHTS."""
    cfg = setup(args)
    if args.eval_only:
        cfg = without_pretrained(cfg)
        model = Trainer.build_model(cfg)
        load_weights(model, cfg.MODEL.WEIGHTS)  # of FastSeek, of fast-reid, or a plain state dict
        return Trainer.test(cfg, model)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


if __name__ == "__main__":
    args = default_argument_parser().parse_args()
    launch(
        main,
        args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(args,),
    )
