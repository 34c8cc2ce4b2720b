"""One training step of every published landmark model, in mixed precision, from random weights.

    python benchmarks/full_forms.py --out benchmarks/results/landmark_forms.json                  (CPU, reduced size)
    python benchmarks/full_forms.py --device cuda --out benchmarks/results/landmark_forms_cuda.json     (full size)

On a CPU the nets are whole, but images, batch and number of classes are small; a Swin is given a
smaller grid with the window it has. On a GPU size, batch and classes are the published ones, with
float16 and a gradient scaler.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any, NamedTuple

import torch
from measure import write

from fastseek import register

from fastreid.config import get_cfg

LANDMARKS, FEW = 81_313, 1000
SWIN224, SWIN384 = "swin_base_patch4_window7_224", "swin_base_patch4_window12_384"


class Form(NamedTuple):
    """A published model: side and batch as published, the side on a CPU, backbone and branch as
    call strings.
    """

    side: int
    batch: int
    small: int
    backbone: str
    branch: str = "linear_neck(pool='none')"


FORMS = {
    "DOLG B5 768": Form(768, 10, 128, "timm('tf_efficientnet_b5')", "dolg(dilations=(6, 12, 18))"),
    "DOLG B6 768": Form(768, 10, 128, "timm('tf_efficientnet_b6')", "dolg()"),
    "DOLG B7 448 stride 1": Form(448, 4, 64, "timm('tf_efficientnet_b7', stem_stride=1)", "dolg()"),
    "B3-Swin224 896": Form(896, 12, 224, f"hybrid_swin('tf_efficientnet_b3', 3, '{SWIN224}')"),
    "B5-Swin224 448 stride 1": Form(
        448, 8, 112, f"hybrid_swin('tf_efficientnet_b5', 3, '{SWIN224}', 1)"
    ),
    "B6-Swin384 384 stride 1": Form(
        384, 16, 96, f"hybrid_swin('tf_efficientnet_b6', 2, '{SWIN384}', 1)"
    ),
}


def model_of(form: Form, device: str) -> torch.nn.Module:
    """The model with its loss."""
    from fastseek.modeling.build import build_model

    backbone = form.backbone
    if device == "cpu" and backbone.startswith("hybrid"):
        options = {
            "img_size": (224 if SWIN224 in backbone else 384) * form.small // form.side,
            "window_size": 7 if SWIN224 in backbone else 12,
        }
        backbone = f"{backbone[:-1]}, kwargs={options!r})"
    cfg = get_cfg()
    register(cfg)
    branch = form.branch.split("(")[0]
    cfg.merge_from_list(
        [
            "MODEL.META_ARCHITECTURE",
            "Seeker",
            "MODEL.DEVICE",
            device,
            "SEEK.BACKBONE",
            backbone,
            "SEEK.BRANCHES",
            [form.branch],
            "MODEL.HEADS.NUM_CLASSES",
            FEW if device == "cpu" else LANDMARKS,
            "SEEK.LOSSES",
            [f"subcenter_arcface('{branch}', k=3, s=45, margin=0.3)"],
        ]
    )
    return build_model(cfg).train()


def child(name: str, device: str, steps: int) -> None:
    """Measure one form and print what was found."""
    form = FORMS[name]
    torch.manual_seed(0)
    model = model_of(form, device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    side, rows = (form.small, 2) if device == "cpu" else (form.side, form.batch)
    classes = FEW if device == "cpu" else LANDMARKS
    batch = {
        "images": torch.rand(rows, 3, side, side, device=device) * 255,
        "targets": torch.randint(classes, (rows,), device=device),
    }
    scaler = torch.amp.GradScaler(device, enabled=device == "cuda")
    dtype = torch.float16 if device == "cuda" else torch.bfloat16
    taken = []
    for _ in range(steps):
        started = time.perf_counter()
        with torch.autocast(device, dtype=dtype):
            loss = sum(model(batch).values())
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
        finite = all(one is not None and bool(one.isfinite().all()) for one in gradients)
        scaler.step(optimizer)
        scaler.update()
        taken.append(time.perf_counter() - started)  # reading `finite` has waited for the device
    peak = (
        torch.cuda.max_memory_allocated()
        if device == "cuda"
        else 1000 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    print(
        json.dumps(
            {
                "parameters M, without classes": round(
                    sum(
                        one.numel()
                        for key, one in model.named_parameters()
                        if not key.startswith("losses.")
                    )
                    / 1e6,
                    2,
                ),
                "published side": form.side,
                "side": side,
                "batch": rows,
                "classes": classes,
                "device": device,
                "precision": str(dtype).removeprefix("torch."),
                "loss": round(loss.item(), 3),
                "loss is finite": bool(loss.isfinite()),
                "every gradient is there and finite": finite,
                "step s": round(min(taken), 2),
                "images/s": round(rows / min(taken), 2),
                "peak memory MB": round(peak / 1e6),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--steps", type=int, help="of which the fastest counts; 1 on a CPU, 4 on a GPU"
    )
    parser.add_argument("--out", help="JSON file")
    parser.add_argument("--form", help=argparse.SUPPRESS)
    args = parser.parse_args()
    steps = args.steps or (1 if args.device == "cpu" else 4)
    if args.form:
        child(args.form, args.device, steps)
        return
    rows: list[dict[str, Any]] = []
    for name in FORMS:
        command = [
            sys.executable,
            __file__,
            "--form",
            name,
            "--device",
            args.device,
            "--steps",
            str(steps),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr}")
        rows.append({"form": name, **json.loads(done.stdout.splitlines()[-1])})
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    told = (
        "at full size"
        if args.device == "cuda"
        else "at reduced size on the CPU; no GPU run was made"
    )
    write(
        args.out,
        f"one training step of every published landmark model from random weights, {told}",
        ("torch", "timm"),
        rows,
    )


if __name__ == "__main__":
    main()
