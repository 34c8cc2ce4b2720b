"""ONNX: programs of torch written as such, and run by ONNX Runtime."""

from __future__ import annotations

import dataclasses
import importlib
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from ...errors import ArtefactError, RunError, UsageError, shorten

WRITING = ("onnx", "onnxscript", "onnxruntime")
RUNNING = ("onnxruntime",)
METADATA = "fastseek"  # the key under which a file of ours tells what it is


def find_missing(packages: Sequence[str]) -> str:
    """The first of the packages that cannot be imported, "" where all can."""
    for name in packages:
        try:
            importlib.import_module(name)
        except ImportError:
            return name
    return ""


def need_packages(packages: Sequence[str], what: str, instead: str) -> None:
    """Check that packages can be imported.

    Args:
        packages: their names.
        what: what needs them.
        instead: what to do without them.

    Raises:
        UsageError: one cannot.
    """
    missing = find_missing(packages)
    if missing:
        raise UsageError(
            f"{what} needs the package {missing}: pip install 'fastseek[export]', or {instead}"
        )


def write_program(program: ExportedProgram, metadata: str) -> bytes:
    """The bytes of an ONNX file with the input "images" and the output "embedding".

    Args:
        program: of one input and one output.
        metadata: kept in the file under `METADATA`.

    Raises:
        RunError: torch cannot write it.
    """
    try:
        made = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=["images"], output_names=["embedding"]
        )
    except torch.onnx.errors.OnnxExporterError as error:
        # Known of torch 2.6, which cannot translate batch normalisation once it is exported.
        raise RunError(
            f"torch {torch.__version__} cannot write this model as ONNX: take a newer torch, or"
            f" write a .pt2 file ({str(error).strip().splitlines()[0]})"
        ) from error
    if made is None:
        raise RunError("torch wrote no ONNX program: write a .pt2 file")
    proto = made.model_proto
    proto.metadata_props.add(key=METADATA, value=metadata)
    content: bytes = proto.SerializeToString()
    return content


def open_session(source: bytes | pathlib.Path, threads: int = 0) -> Any:
    """A session of ONNX Runtime on the CPU.

    Args:
        source: the bytes of a file, or a file.
        threads: that compute; 0 leaves it to the runtime.

    Raises:
        ArtefactError: it is no ONNX file that the runtime takes.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # A thread that waits by spinning takes its processor from those that decode images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    given = source if isinstance(source, bytes) else str(source)
    try:
        return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own exceptions have no common class
        name = "the ONNX program" if isinstance(source, bytes) else source
        told = shorten(" ".join(str(error).split()))
        raise ArtefactError(f"{name}: ONNX Runtime does not take it ({told})") from error


@dataclasses.dataclass(frozen=True)
class OnnxNetwork:
    """An ONNX program with one input and one output.

    Args:
        session: of ONNX Runtime.
    """

    session: Any

    def __call__(self, tensors: torch.Tensor) -> torch.Tensor:
        """Tensors [B, …] to [B, D]."""
        name = self.session.get_inputs()[0].name
        found = self.session.run(None, {name: np.ascontiguousarray(tensors.numpy())})[0]
        return torch.from_numpy(found)
