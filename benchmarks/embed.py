"""Images a CPU second of `fastseek embed` beside plain timm, torch.compile and ONNX Runtime: the same
images, the same network, the same weights.

    python benchmarks/embed.py --images GROCERY/dataset/test --out benchmarks/results/embed.json

The three peers are written as their documentation shows: timm's own transform, batches of 32, one
process. All run in turns, so that a busy machine hinders all alike, and CPU seconds are compared,
not those of the clock. What it costs to make an engine ready (compiling, writing ONNX) is told by
itself. Memory is that of a process of its own that embeds the images once.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import timm
import torch
from measure import write
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from torch import nn

from fastseek.data.own_images import images_of
from fastseek.inference.pretrained import ModelOptions, load_model
from fastseek.inference.pretrained.embed import embed_items
from fastseek.modeling.layers import wheel_weights
from fastseek.structures import Item

BATCH = 32
OURS = ("fastseek embed", "fastseek embed --engine eager")
PEERS = ("timm eager", "timm + torch.compile", "timm + ONNX Runtime")
Network = Callable[[torch.Tensor], np.ndarray]


def timm_network() -> nn.Module:
    """timm's network with the default model's weights, without its classifier."""
    net = timm.create_model(wheel_weights.NETWORK, num_classes=0)
    tensors = wheel_weights.read_weights()
    net.load_state_dict({key: tensors[key] for key in net.state_dict() if key in tensors})
    return net.eval()


def peer(name: str) -> Network:
    """Normalized images [B, 3, H, W] to vectors."""
    net = timm_network()
    if name == "timm + ONNX Runtime":
        return onnx_network(net)
    run = torch.compile(net) if name == "timm + torch.compile" else net

    def embed(images: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            return nn.functional.normalize(run(images)).numpy()

    return embed


def onnx_network(net: nn.Module) -> Network:
    """The network in ONNX Runtime."""
    import onnxruntime

    example = torch.zeros(2, 3, 224, 224)
    batch = torch.export.Dim("batch", min=1, max=4096)
    made = torch.onnx.export(
        net, (example,), dynamo=True, dynamic_shapes=({0: batch},), verbose=False
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        made.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def embed(images: torch.Tensor) -> np.ndarray:
        found = session.run(None, {name: images.numpy()})[0]
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    return embed


def embed_as_peer(network: Network, transform: Callable, items: Sequence[Item]) -> np.ndarray:
    """Open, transform, stack, embed."""
    made = []
    for batch in batches(items):
        images = [transform(Image.open(item.path).convert("RGB")) for item in batch]
        made.append(network(torch.stack(images)))
    return np.concatenate(made)


def batches(items: Sequence[Item]) -> list[Sequence[Item]]:
    """The items, 32 at a time."""
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]


class Contest:
    """One way to embed, ready to run.

    Args:
        name: one of OURS or PEERS.
        items: the images.
        root: their folder.
    """

    def __init__(self, name: str, items: Sequence[Item], root: str) -> None:
        self.name, self.items, self.root = name, items, root
        start = time.process_time()
        if name in OURS:
            engine = "onnx" if name == OURS[0] else "eager"
            self.model = load_model("default", ModelOptions(engine=engine))
        else:
            self.network = peer(name)
            self.transform = create_transform(**resolve_model_data_config(timm_network()))
        self.only_network()  # the first batch compiles
        self.ready = time.process_time() - start

    def whole(self) -> np.ndarray:
        """Files to vectors; ours into a folder on disk, as the command does it."""
        if self.name not in OURS:
            return embed_as_peer(self.network, self.transform, self.items)
        with tempfile.TemporaryDirectory() as folder:
            return np.array(embed_items(self.model, self.items, self.root, folder).vectors)

    def only_network(self) -> None:
        """One batch of images that are tensors already."""
        random = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (BATCH, 3, 224, 224), generator=random, dtype=torch.uint8)
        if self.name in OURS:
            self.model.vectors(pixels)
        else:
            self.network((pixels.float() / 255 - 0.5) / 0.5)


def cpu_seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(options: argparse.Namespace, items: Sequence[Item], root: str) -> list[dict[str, Any]]:
    """A row a way to embed."""
    sides = [Contest(name, items, root) for name in (*OURS, *PEERS)]
    truth = sides[2].whole()
    apart = {side.name: float(np.abs(side.whole() - truth).max()) for side in sides}
    times: dict[str, list[list[float]]] = {side.name: [[], []] for side in sides}
    for _ in range(options.runs):
        for side in sides:
            times[side.name][0].append(cpu_seconds(side.whole))
            times[side.name][1].append(cpu_seconds(side.only_network))
    rows = []
    for side in sides:
        whole, network = (statistics.median(one) for one in times[side.name])
        rows.append(
            {
                "name": side.name,
                "images_per_cpu_second": round(len(items) / whole, 1),
                "without_decoding": round(BATCH / network, 1),
                "cpu_seconds_to_make_ready": round(side.ready, 1),
                "largest_difference_from_timm": float(f"{apart[side.name]:.1e}"),
                "peak_megabytes": peak_megabytes(side.name, options),
            }
        )
    return rows


def peak_megabytes(name: str, options: argparse.Namespace) -> float:
    """The largest resident memory of a process that does nothing else."""
    command = [sys.executable, __file__, "--images", options.images, "--count", str(options.count)]
    done = subprocess.run([*command, "--only", name], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["peak_megabytes"])


def own_peak_megabytes() -> float:
    """The most resident memory of this process since it was started; getrusage would count what its
    parent held when it forked.
    """
    lines = pathlib.Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1.024e-3 for line in lines if line.startswith("VmHWM"))


def add_ratios(rows: list[dict[str, Any]]) -> None:
    """Put into the rows of ours how many times they are as fast as plain timm and as the best of the
    three, with decoding and without.
    """
    for key, end in (("images_per_cpu_second", ""), ("without_decoding", "_without_decoding")):
        peers = [row[key] for row in rows if row["name"] in PEERS]
        for row in rows[: len(OURS)]:
            row[f"by_timm_eager{end}"] = round(row[key] / peers[0], 2)
            row[f"by_the_best{end}"] = round(row[key] / max(peers), 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", required=True, help="a folder of images")
    parser.add_argument("--count", type=int, default=256, help="how many of them")
    parser.add_argument("--runs", type=int, default=5, help="of each, of which the median counts")
    parser.add_argument("--only", help="run one way once and tell its memory")
    parser.add_argument("--out", help="JSON file")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    items, root = images_of(options.images)
    items = items[:: max(1, len(items) // options.count)][: options.count]
    if options.only:
        side = Contest(options.only, items, root)
        side.whole()
        told = {"ready": round(side.ready, 1), "peak_megabytes": round(own_peak_megabytes())}
        print(json.dumps(told))
        return
    with tempfile.TemporaryDirectory() as home:
        os.environ["HOME"] = home  # so that what is made ready is made ready here
        rows = compare(options, items, root)
    add_ratios(rows)
    for row in rows:
        print(json.dumps(row))
    what = f"{len(items)} images of the Grocery Store Dataset, EfficientNet-Lite0 at 224, batches of 32"
    write(options.out, what, ("torch", "timm", "onnxruntime", "pillow"), rows)


if __name__ == "__main__":
    main()
