"""Train or evaluate a recipe with fast-reid's trainer.

    python tools/train_net.py --config-file configs/Grocery/dolg_mobilenetv2.yml OUTPUT_DIR outputs/mine
    python tools/train_net.py --config-file F --num-gpus 2 --resume SOLVER.MAX_EPOCH 20
    python tools/train_net.py --config-file F --eval-only MODEL.WEIGHTS outputs/mine/model_final.safetensors
    torchrun --nproc-per-node 2 tools/train_net.py --config-file F
"""

import argparse

from fastseek.errors import exit_with


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE", help="the recipe")
    parser.add_argument("--resume", action="store_true", help="go on with the run in OUTPUT_DIR")
    parser.add_argument("--eval-only", action="store_true", help="evaluate MODEL.WEIGHTS and stop")
    parser.add_argument("--num-gpus", type=int, default=1, help="processes on this machine, with GPUs or without")
    parser.add_argument("--num-machines", type=int, default=1, help="how many machines")
    parser.add_argument("--machine-rank", type=int, default=0, help="which of them this is")
    parser.add_argument("--dist-url", default="auto", help="tcp://address:port of machine 0; auto for one machine")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="changes to the recipe")
    args = parser.parse_args()

    from fastseek.engine.command import start

    start(args)


if __name__ == "__main__":
    exit_with(main)
