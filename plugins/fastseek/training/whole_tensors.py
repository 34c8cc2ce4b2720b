"""Tensors that are shared out over processes, as whole ones in a file: written block by block from
every process's rows, read by any number of processes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import IO, Any, NamedTuple

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.distributed.tensor import DTensor

from ..distributed import process_group
from ..distributed.fully_sharded import as_held
from ..errors import ArtefactError
from ..io.paths import PathLike
from ..modeling.layers.class_shard import Rows, rows_here, shards

from fastreid.utils import comm

BLOCK = 2**24  # numbers that travel together
# The names of the safetensors format, by what torch calls them.
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class SharedTensor(NamedTuple):
    """The rows a process holds of a tensor.

    Args:
        here: [rows, …], on any device.
        rows: which they are.
    """

    here: torch.Tensor
    rows: Rows

    @property
    def dtype(self) -> torch.dtype:
        """Of its numbers."""
        return self.here.dtype

    @property
    def shape(self) -> list[int]:
        """Of the whole."""
        return [self.rows.whole, *self.here.shape[1:]]

    @property
    def nbytes(self) -> int:
        """Of the whole."""
        return self.rows.whole * self.here[:1].nbytes

    def blocks(self) -> Iterator[torch.Tensor]:
        """All rows in order, on the CPU of rank 0; every process must take part, and the others get
        none.
        """
        here = self.here.detach()
        many = max(1, BLOCK // max(1, here[:1].numel()))
        sizes = process_group.collect(len(here))
        mine = comm.get_rank()
        for owner, size in enumerate(sizes):
            for start in range(0, size, many):
                stop = min(start + many, size)
                if owner == mine == 0:
                    yield here[start:stop].cpu()
                elif owner == mine:
                    dist.send(here[start:stop].contiguous(), 0)
                elif mine == 0:
                    block = torch.empty_like(here[:1]).repeat(stop - start, *[1] * (here.ndim - 1))
                    dist.recv(block, owner)
                    yield block.cpu()


class FullTensor(NamedTuple):
    """A parameter of a model that is fully shared out, or what the optimizer keeps of it.

    Args:
        here: torch's distributed tensor.
    """

    here: DTensor

    @property
    def dtype(self) -> torch.dtype:
        """Of its numbers."""
        return self.here.dtype

    @property
    def shape(self) -> list[int]:
        """Of the whole."""
        return list(self.here.shape)

    @property
    def nbytes(self) -> int:
        """Of the whole."""
        return self.here.numel() * self.here.element_size()

    def blocks(self) -> Iterator[torch.Tensor]:
        """All of it at once, on the CPU of rank 0; every process must take part."""
        with torch.no_grad():
            whole = self.here.full_tensor()
        if comm.is_main_process():
            yield whole.cpu()


Held = SharedTensor | FullTensor


class Once:
    """A shared tensor whose blocks are taken once, by whoever asks: what a writer that failed has
    left, `take_part` takes, so that no process waits for ever.

    Args:
        tensor: shared.
    """

    def __init__(self, tensor: Held) -> None:
        self.dtype, self.shape, self.nbytes = tensor.dtype, tensor.shape, tensor.nbytes
        self._blocks = tensor.blocks()

    def blocks(self) -> Iterator[torch.Tensor]:
        """Those that nobody has taken."""
        return self._blocks


Shared = Held | Once


def take_once(shared: Mapping[str, Held]) -> dict[str, Once]:
    """The tensors as `Once`."""
    return {name: Once(one) for name, one in shared.items()}


def shared_weights(model: nn.Module) -> dict[str, Held]:
    """The weights of a model that are shared out over the processes, by their names."""
    model = process_group.inner(model)
    full: dict[str, Held] = {
        name: FullTensor(value)
        for name, value in model.state_dict().items()
        if isinstance(value, DTensor)
    }
    return full | {
        name: SharedTensor(weight.detach(), shard.rows)
        for name, (shard, weight) in shards(model).items()
    }


def take_memory(state: dict[str, Any], rows: Mapping[str, Rows]) -> dict[str, Held]:
    """Take what an optimizer keeps of shared weights, number by number, out of its state.

    Args:
        state: of an `OptimizerMemory`; changed.
        rows: those here of weights that are shared out by rows, by the names of the weights.

    Returns:
        what was taken, by "name of the weight:name of the value".
    """
    taken: dict[str, Held] = {}
    left = dict(state["state"])
    for number, kept in state["state"].items():
        name = state["names"][number]
        for key, value in kept.items():
            if isinstance(value, DTensor):
                taken[f"{name}:{key}"] = FullTensor(value)
            elif name in rows and isinstance(value, torch.Tensor) and value.ndim:
                taken[f"{name}:{key}"] = SharedTensor(value, rows[name])
        left[number] = {key: one for key, one in kept.items() if f"{name}:{key}" not in taken}
    state["state"] = left
    return taken


def put_memory_back(
    state: dict[str, Any], path: PathLike, rows: Mapping[str, Rows], own: Mapping[str, torch.Tensor]
) -> None:
    """Put what an optimizer keeps of shared weights into its state, as this process holds them.

    Args:
        state: of an `OptimizerMemory`; changed.
        path: what `write` made of what was taken; "" where nothing was.
        rows: those here, by the names of the weights; a weight that is not among them is whole.
        own: the parameters, by name.

    Raises:
        ArtefactError: the file cannot be read.
    """
    numbers = {name: number for number, name in enumerate(state.get("names", [])) if name in own}
    for name, number in numbers.items():
        kept = state["state"].get(number, {})
        for key, value in kept.items():
            if name in rows and isinstance(value, torch.Tensor) and value.ndim:
                value = value[rows[name].first : rows[name].last].clone()
            kept[key] = as_held(own[name], value)
    if not path:
        return
    try:
        with safe_open(str(path), "pt") as file:
            for title in file.keys():  # noqa: SIM118 (the file is no mapping)
                name, _, key = title.rpartition(":")
                if name in numbers:
                    part = file.get_slice(title)
                    first, last, _ = rows.get(name, Rows(0, part.get_shape()[0], 0))
                    found = as_held(own[name], part[first:last].clone())
                    state["state"].setdefault(numbers[name], {})[key] = found
    except (SafetensorError, OSError) as error:
        raise ArtefactError(f"{path}: the optimizer's state cannot be read ({error})") from error


def take_part(shared: Mapping[str, Shared]) -> None:
    """In the processes that write nothing: send what is here."""
    for _, tensor in sorted(shared.items()):
        for _ in tensor.blocks():
            pass


def write(
    file: IO[bytes],
    tensors: Mapping[str, torch.Tensor],
    shared: Mapping[str, Shared],
    metadata: Mapping[str, str],
) -> None:
    """Write a .safetensors file, in rank 0, while the other processes call `take_part`.

    Of shared tensors no more than a block is held beside what this process has of them.

    Args:
        file: open for writing.
        tensors: by name, whole, on the CPU.
        shared: by name.
        metadata: of the file.
    """
    sizes = {name: (one.dtype, list(one.shape), one.nbytes) for name, one in tensors.items()}
    sizes |= {name: (one.dtype, one.shape, one.nbytes) for name, one in shared.items()}
    order = [*sorted(shared), *sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))]
    head: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in order:
        dtype, shape, size = sizes[name]
        head[name] = {"dtype": DTYPES[dtype], "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        blocks = shared[name].blocks() if name in shared else iter([tensors[name]])
        for block in blocks:
            file.write(_bytes_of(block))


def _bytes_of(tensor: torch.Tensor) -> Any:
    """The numbers of a tensor as a buffer, without a copy."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()


def rows_of(model: nn.Module) -> dict[str, Rows]:
    """Which rows of its shared weights this process holds, by their names."""
    return rows_here(process_group.inner(model))
