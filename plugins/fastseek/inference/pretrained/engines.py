"""What runs a network: torch as it is, torch.compile, or ONNX Runtime."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim

from ...errors import ArtefactError, DataError, FastSeekError, RunError, UsageError, shorten
from ...io.atomic import atomic
from ...io.digests import digest
from .cache import cache_folder, forget_records, read_record, write_record
from .onnx_programs import (
    WRITING,
    OnnxNetwork,
    find_missing,
    need_packages,
    open_session,
    write_program,
)

logger = logging.getLogger("fastseek")
Network = Callable[[torch.Tensor], torch.Tensor]
EAGER, COMPILE, ONNX = "eager", "compile", "onnx"
# The largest distance between the unit vectors of two engines whose embeddings count as the same,
# where the network runs in float32 and where it does not.
NEAR, ROUGHLY = 1e-3, 2e-2
# From so many images on it pays to open the ONNX file of a network, which costs what five images
# save (the default model: 0.18 CPU s, 37 ms each), and from so many to write it once (16 s).
FEW, WORTHWHILE = 8, 500
RECORDS = "engines.json"
ROUNDS = 3  # of a measurement, of which the shortest counts


def find_device(wanted: str) -> torch.device:
    """The device to run on: the wanted one; where none is named a GPU, if there is one.

    Raises:
        UsageError: there is no such device.
    """
    name = wanted or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=name)
    except Exception as error:  # each backend of torch has its own way to say that it is not there
        told = shorten(str(error).partition("\n")[0])
        raise UsageError(
            f"device {name}: there is no such device here ({told}): take cpu"
        ) from error
    return torch.device(name)


@dataclasses.dataclass(frozen=True)
class TorchNetwork:
    """A module as torch runs it, with the channels last in memory.

    Args:
        module: images [B, 3, H, W] to [B, D].
        device: where it lies.
        batch_size: smaller batches are filled up to it, so that a compiled module sees one shape; 0
            leaves them as they are.
    """

    module: Callable[[torch.Tensor], torch.Tensor]
    device: torch.device
    batch_size: int = 0

    def __call__(self, tensors: torch.Tensor) -> torch.Tensor:
        """Tensors on the CPU to float32 vectors on the CPU."""
        missing = max(0, self.batch_size - len(tensors))
        if missing:
            tensors = torch.cat([tensors, tensors[:1].expand(missing, *tensors.shape[1:])])
        with torch.inference_mode():
            seen = tensors.to(self.device, memory_format=torch.channels_last)
            found: torch.Tensor = self.module(seen)
            return found.float().cpu()[: len(found) - missing]


@dataclasses.dataclass(frozen=True)
class Engines:
    """The engines of one model.

    Args:
        module: images uint8 [B, 3, H, W] to unit vectors [B, D].
        device: where it lies.
        size: height and width of the images.
        key: tells this module from every other: hash of the weights, preprocessing and precision.
        precision: of the network.
        batch_size: of the images that will come.
    """

    module: nn.Module
    device: torch.device
    size: tuple[int, int]
    key: str
    precision: str
    batch_size: int

    def build(self, name: str) -> Network:
        """The network as an engine runs it.

        Raises:
            UsageError: the engine cannot run this model here.
            RunError: the engine cannot be made, or its vectors differ from those of plain torch.
        """
        eager = TorchNetwork(self.module, self.device)
        if name == EAGER:
            return eager
        made = self._compile() if name == COMPILE else self._open_onnx()
        self._check_agreement(name, made, eager)
        return made

    def choose(self, count: int) -> str:
        """The fastest engine for so many images, as it was measured here before; measured now where
        there are enough images for it to pay. A few images are not worth more than plain torch.
        """
        if (
            count < FEW
            or self.device.type != "cpu"
            or self.precision != "float32"
            or find_missing(WRITING)
        ):
            return EAGER
        known = _read_measured().get(self._place())
        if isinstance(known, dict) and known.get("engine") in (EAGER, ONNX):
            return str(known["engine"])
        if count < WORTHWHILE:
            return EAGER
        found = self._measure()
        write_record(RECORDS, self._place(), found)
        return str(found["engine"])

    def _measure(self) -> dict[str, object]:
        """Images a second of torch and of ONNX Runtime, in turns, and which is the faster."""
        networks = {EAGER: self.build(EAGER)}
        try:
            networks[ONNX] = self.build(ONNX)
        except FastSeekError as error:
            logger.info("ONNX Runtime cannot run this model: %s", error)
        images = self._noise(self.batch_size)
        seconds = {
            name: [_time(one, images) for _ in range(2)][1:] for name, one in networks.items()
        }
        for _ in range(ROUNDS - 1):
            for name, one in networks.items():
                seconds[name].append(_time(one, images))
        rates = {name: round(len(images) / min(times), 1) for name, times in seconds.items()}
        return {"engine": max(rates, key=rates.__getitem__), "images_per_second": rates}

    def _compile(self) -> Network:
        compiled = torch.compile(self.module, dynamic=False)
        return TorchNetwork(compiled, self.device, self.batch_size)

    def _open_onnx(self) -> Network:
        if self.device.type != "cpu" or self.precision != "float32":
            raise UsageError(
                f"engine onnx runs on the CPU in float32, not on {self.device} in"
                f" {self.precision}: take eager or compile"
            )
        need_packages(WRITING, "engine onnx", "take --engine eager")
        file = cache_folder() / "onnx" / f"{digest([self.key, torch.__version__])[:32]}.onnx"
        threads = torch.get_num_threads()
        if file.exists():
            with contextlib.suppress(ArtefactError):  # it is damaged, and written anew
                return OnnxNetwork(open_session(file, threads))
        content = self._write_onnx()
        with atomic(file) as written:
            written.write(content)
        return OnnxNetwork(open_session(file, threads))

    def _write_onnx(self) -> bytes:
        """The module as ONNX, for batches of any size.

        Raises:
            RunError: torch cannot write it.
        """
        batch = Dim("batch", min=1, max=4096)
        try:
            with torch.no_grad():
                program = torch.export.export(
                    self.module, (self._noise(2),), dynamic_shapes=({0: batch},), strict=False
                )
            return write_program(program, self.key)
        except FastSeekError:
            raise
        except Exception as error:  # both exporters raise whatever stops them
            told = shorten(" ".join(str(error).split()))
            raise RunError(f"torch cannot write this model as ONNX ({told})") from error

    def _check_agreement(self, name: str, made: Network, eager: Network) -> None:
        images = self._noise(2)
        try:
            apart = float((made(images) - eager(images)).norm(dim=1).max())
        except FastSeekError:
            raise
        except Exception as error:  # compilers raise whatever stops them
            told = shorten(" ".join(str(error).split()))
            raise RunError(f"engine {name} cannot run this model here ({told})") from error
        near = NEAR if self.precision == "float32" else ROUGHLY
        if not apart <= near:
            raise RunError(
                f"engine {name}: its vectors are {apart:.1e} from those of plain torch (accepted:"
                f" {near:.0e}): take --engine eager"
            )

    def _noise(self, count: int) -> torch.Tensor:
        """Blurred noise, the same every time: uint8 [count, 3, H, W]."""
        random = torch.Generator().manual_seed(0)
        coarse = torch.rand(count, 3, 8, 8, generator=random)
        fine = F.interpolate(coarse, size=self.size, mode="bicubic", align_corners=False)
        return (255 * fine).round().clamp(0, 255).to(torch.uint8)

    def _place(self) -> str:
        """What a measurement holds for: this module, this processor, so many threads."""
        told = [self.key, str(self.device), torch.get_num_threads(), torch.__version__]
        return digest(told)[:32]


def start_engines(engines: Engines) -> Engines:
    """The same, its module on its device, its weights with the channels last."""
    module = engines.module.to(engines.device).to(memory_format=torch.channels_last).eval()
    return dataclasses.replace(engines, module=module)


def _read_measured() -> dict[str, Any]:
    """What was measured here before; a damaged file of it is removed, and measured anew."""
    try:
        return read_record(RECORDS)
    except DataError as error:
        logger.warning("%s: what runs the models fastest is measured anew", error)
        forget_records(RECORDS)
        return {}


def _time(network: Network, images: torch.Tensor) -> float:
    start = time.perf_counter()
    network(images)
    return time.perf_counter() - start
