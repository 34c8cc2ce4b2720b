"""Options of the verbs that take a pretrained model by name."""

from __future__ import annotations

import argparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..inference.pretrained import ModelOptions

MODEL_OPTIONS = ("pooling", "size", "device", "precision", "engine", "threads")


def add_named_model_options(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Let the parser take `--model` and how the model is run.

    Args:
        parser: gets the options.
        default: the model where none is named.
    """
    told = f" (default: {default})" if default else ""
    parser.add_argument(
        "--model",
        metavar="NAME",
        default=default,
        help="a pretrained model: default, timm:NETWORK, timm:NETWORK@FILE, a run's folder, a"
        f" recipe@weights.pth, or a file .onnx{told}",
    )
    parser.add_argument(
        "--pooling",
        choices=("cls", "mean", "gem", "head"),
        default="",
        help="how features become one vector (default: the network's own, head)",
    )
    parser.add_argument(
        "--size", type=int, default=0, help="side of the images (default: the model's own)"
    )
    parser.add_argument(
        "--device", default="", help="cpu or cuda (default: a GPU where there is one)"
    )
    parser.add_argument(
        "--precision", choices=("float32", "bf16", "fp16"), default="", help="default: float32"
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "eager", "compile", "onnx"),
        default="",
        help="what runs the network (default: auto, the fastest that is at hand)",
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="that read images (default: one a processor)"
    )


def read_model_options(args: argparse.Namespace) -> ModelOptions:
    """What the arguments say of how the model is run.

    Raises:
        UsageError: a value makes no sense.
    """
    from ..inference.pretrained import ModelOptions  # help is shown without torch

    return ModelOptions(
        pooling=args.pooling,
        size=args.size,
        device=args.device,
        precision=args.precision,
        engine="" if args.engine == "auto" else args.engine,
    )
