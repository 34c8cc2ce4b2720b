"""What the machine has: processors and their quota, GPUs, the build of faiss, caches, space."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Iterator

CGROUP = pathlib.Path("/sys/fs/cgroup")


def cpu_quota(root: pathlib.Path = CGROUP) -> float | None:
    """How many processors a container may keep busy; None where nothing limits it."""
    try:
        if (root / "cpu.max").is_file():  # version 2 of control groups
            quota, period = (root / "cpu.max").read_text(encoding="ascii").split()
        else:
            files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = ((root / "cpu" / name).read_text(encoding="ascii") for name in files)
        return None if quota == "max" or int(quota) < 0 else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def memory(root: pathlib.Path = CGROUP) -> float:
    """Bytes of memory of this machine, or what a container may take of it."""
    held = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in (root / "memory.max", root / "memory" / "memory.limit_in_bytes"):
        try:
            return min(held, float(file.read_text(encoding="ascii")))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return held


def describe_processors() -> str:
    """Processors that this process may use, the quota, and what limits the threads."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = cpu_quota()
    text = f"{usable} usable" if quota is None else f"{usable} usable, quota of {quota:g}"
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads:
        return f"{text}; OMP_NUM_THREADS={threads}"
    if quota is not None and quota < (usable or 1):
        return f"{text}; set OMP_NUM_THREADS={max(1, int(quota))}: more threads only wait"
    return text


def describe_gpus() -> str:
    """The GPUs that torch sees."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        return "not known without torch"
    import torch

    count = torch.cuda.device_count()
    return f"{count} x {torch.cuda.get_device_name(0)}" if count else "none"


def describe_faiss() -> str:
    """The build of faiss: for CPUs, GPUs or with cuVS, and whether it has RaBitQ of several bits."""
    try:
        import faiss
    except ImportError as error:
        return f"cannot be imported ({error})"
    options = faiss.get_compile_options().split()
    build = "cuVS" if "CUVS" in options else "GPU" if "GPU" in options else "CPU"
    gpus = f", sees {faiss.get_num_gpus()} GPUs" if build != "CPU" else ""
    has_bits = hasattr(getattr(faiss, "RaBitQuantizer", None), "nb_bits")
    rabitq = "with" if has_bits else "without"
    return f"{build} build{gpus}, {rabitq} RaBitQ"


def caches() -> Iterator[tuple[str, pathlib.Path]]:
    """The folders in which FastSeek and the libraries below it keep what they download."""
    home = pathlib.Path.home() / ".cache"
    yield "fastseek", home / "fastseek"
    yield "hugging face", pathlib.Path(os.environ.get("HF_HOME") or home / "huggingface")
    yield "torch hub", pathlib.Path(os.environ.get("TORCH_HOME") or home / "torch")


def describe_folder(folder: pathlib.Path) -> str:
    """Whether a folder is there and can be written, and how large what it holds is."""
    if not folder.exists():
        above = next(one for one in folder.parents if one.exists())
        return "not there yet" if os.access(above, os.W_OK) else f"{above} cannot be written"
    size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
    written = "writable" if os.access(folder, os.W_OK) else "cannot be written"
    return f"{size / 1e9:.1f} GB, {written}"


def free_space() -> str:
    """The room on the disk of the working folder."""
    return f"{shutil.disk_usage('.').free / 1e9:.0f} GB free"
