"""Checkpoints that are whole or absent: the weights, the trainer's state, and a manifest that
vouches for both.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import pickle
import shutil
from collections.abc import Container, Iterator, Mapping
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn

from ..distributed import process_group
from ..distributed.fully_sharded import here, is_fully_sharded
from ..errors import ArtefactError, RunError, UsageError
from ..io.atomic import atomic
from ..io.json_files import write_json
from ..io.model_size import CLASS_WEIGHTS
from ..modeling import weight_files, weight_transfer
from ..modeling.class_weights import class_weight_names
from ..modeling.layers.tensor_files import is_finite
from . import checkpoint_manifest, whole_tensors
from .checkpoint_manifest import MANIFEST, MEMORY, STATE, WEIGHTS
from .whole_tensors import FullTensor, Held, Once, Shared, SharedTensor

from fastreid.utils.checkpoint import Checkpointer as FastreidCheckpointer

TAG = "last_checkpoint"
GO_ON = "run the same command with --resume to go on"
SPARE = 1.2  # free space asked for, as a multiple of what will be written
KEPT = ("model_best", "model_final")


class Checkpointer(FastreidCheckpointer):
    """fast-reid's checkpointer with safe files: a kill at any moment leaves the old checkpoint or
    the new one.

    Args:
        model: perhaps wrapped for several processes.
        save_dir: the folder.
        save_to_disk: whether this process writes.
        checkpointables: objects with `state_dict` and `load_state_dict`.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        save_to_disk: bool = True,
        **checkpointables: Any,
    ) -> None:
        super().__init__(model, save_dir, save_to_disk=save_to_disk, **checkpointables)
        self.folder = pathlib.Path(save_dir)
        self.drop: list[str] = []  # of weights a run starts from, see `surgery.take_over`
        self.fit, self.classes = "classes", ""
        self.advice = GO_ON  # how a run goes on, as its user would start it again

    def save(self, name: str, **kwargs: Any) -> None:
        """Write a checkpoint that a run can go on from, and tag it as the last.

        Where class weights are shared out, every process must call it.

        Args:
            name: without suffix.
            kwargs: more state; tensors and plain values in dicts and lists.

        Raises:
            RunError: a weight is not finite, there is not enough free space, or a write failed;
                what was saved before is intact.
        """
        shared = whole_tensors.shared_weights(self.model)
        self._check_finite(name, shared)
        if not (self.save_dir and (self.save_to_disk or shared)):
            return
        state = {key: thing.state_dict() for key, thing in self.checkpointables.items()}
        memory: dict[str, Held] = {}
        if shared:
            memory = whole_tensors.take_memory(
                state["optimizer"], whole_tensors.rows_of(self.model)
            )
        weights, moments = whole_tensors.take_once(shared), whole_tensors.take_once(memory)
        with self._telling(weights, moments):
            if self.save_to_disk:
                self._write_all(name, weights, moments, state | kwargs, kwargs)

    def _write_all(
        self,
        name: str,
        shared: Mapping[str, Shared],
        memory: Mapping[str, Shared],
        state: dict[str, Any],
        told: Mapping[str, Any],
    ) -> None:
        tensors = self._tensors(name, shared)
        with self._writing(name, tensors, state, shared, memory), self._keep_spare(name):
            self._write_tensors(name, tensors, shared)
            with atomic(self.folder / f"{name}{STATE}") as file:
                torch.save(state, file)
            if memory:
                with atomic(self.folder / f"{name}{MEMORY}") as file:
                    whole_tensors.write(file, {}, memory, {"format": "pt"})
            suffixes = [WEIGHTS, STATE, MEMORY] if memory else [WEIGHTS, STATE]
            checkpoint_manifest.write(self.folder, name, suffixes, _describe(told))
            if not memory:  # of the checkpoint of the same name before
                (self.folder / f"{name}{MEMORY}").unlink(missing_ok=True)
            self.tag_last_checkpoint(f"{name}{WEIGHTS}")
        self.logger.info("saved %s", self.folder / f"{name}{WEIGHTS}")

    def save_weights(self, name: str, **told: Any) -> None:
        """Write the weights alone, for a model that is used and not trained on; every process must
        call it where class weights are shared out.

        Raises:
            RunError: as `save`.
        """
        shared = whole_tensors.shared_weights(self.model)
        self._check_finite(name, shared)
        if not (self.save_dir and (self.save_to_disk or shared)):
            return
        weights = whole_tensors.take_once(shared)
        with self._telling(weights):
            if self.save_to_disk:
                tensors = self._tensors(name, weights)
                with self._writing(name, tensors, weights):
                    self._write_tensors(name, tensors, weights)
                    checkpoint_manifest.write(self.folder, name, [WEIGHTS], _describe(told))

    def note(self, name: str, **kwargs: Any) -> None:
        """Replace plain state of a saved checkpoint, in its manifest: the tensors are not written
        again.

        Raises:
            RunError: the write failed; the checkpoint is as it was.
        """
        if self.save_dir and self.save_to_disk:
            with self._writing(name):
                checkpoint_manifest.note(self.folder, name, kwargs)

    def prune(self, keep: int, run: str) -> None:
        """Delete the checkpoints of a run but for the newest `keep`, the best and the final one."""
        if self.save_dir and self.save_to_disk:
            own = [
                name
                for name, manifest in checkpoint_manifest.newest_first(self.folder)
                if manifest.get("run") == run and name not in KEPT
            ]
            for name in own[keep:]:
                checkpoint_manifest.delete(self.folder, name)
            checkpoint_manifest.sweep(self.folder)

    def has_checkpoint(self) -> bool:
        """Whether the folder holds a checkpoint to go on from."""
        return bool(self.save_dir) and (self.folder / TAG).is_file()

    def get_all_checkpoint_files(self) -> list[str]:
        """The weight files that a manifest vouches for, the newest first."""
        return [
            str(self.folder / f"{name}{WEIGHTS}")
            for name, _ in checkpoint_manifest.newest_first(self.folder)
        ]

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Name the newest checkpoint."""
        with atomic(self.folder / TAG, "w") as file:
            file.write(last_filename_basename)

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load weights; unless `checkpointables` is empty also the state beside them.

        Returns:
            what else was saved with the state.

        Raises:
            DataError, ArtefactError, UsageError: as `surgery.take_over`.
        """
        if not path:
            self.logger.info(
                "no weights are loaded: the model starts from what its backbone brings"
            )
            return {}
        if checkpointables is not None and not checkpointables:
            lists = weight_transfer.take_over(self.model, path, self.drop, self.fit, self.classes)
            if self.save_dir and self.save_to_disk:
                write_json(self.folder / "taken_over.json", {"weights": str(path), **lists})
            return {}
        weight_files.fit_tensors(self.model, weight_files.read_tensors(path), path, strict=True)
        name = pathlib.Path(path).name.removesuffix(WEIGHTS)
        state = self._read_state(name) | checkpoint_manifest.read_notes(self.folder, name)
        self._put_memory_back(name, state.get("optimizer"))
        for key in self.checkpointables if checkpointables is None else checkpointables:
            if key in state:
                self._load_state(key, state.pop(key), path)
        return state

    def _put_memory_back(self, name: str, state: dict[str, Any] | None) -> None:
        """Let the optimizer's state have what stands in a file of its own, and of shared weights the
        rows of this process alone.
        """
        rows, own = whole_tensors.rows_of(self.model), dict(self.model.named_parameters())
        apart = checkpoint_manifest.is_listed(self.folder, name, MEMORY)
        if state is not None and (rows or apart or is_fully_sharded(self.model)):
            path = self.folder / f"{name}{MEMORY}" if apart else ""
            whole_tensors.put_memory_back(state, path, rows, own)

    def _load_state(self, key: str, state: dict[str, Any], path: str) -> None:
        try:
            self.checkpointables[key].load_state_dict(state)
        except (ValueError, KeyError, RuntimeError) as error:
            raise ArtefactError(
                f"{path}: its state of {key} does not fit this recipe ({error}): resume with the"
                " recipe of the run, or start in a new OUTPUT_DIR with MODEL.WEIGHTS set to this"
                " file"
            ) from error

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Load the newest valid checkpoint of the folder when asked to resume, else the weights at
        `path`.

        Returns:
            what else was saved with the state; empty without a checkpoint.

        Raises:
            ArtefactError: there are checkpoints, and every one is damaged or nothing names the last.
        """
        if not resume:
            return self.load(path, checkpointables=[])
        if process_group.share(self.has_checkpoint()):
            name = process_group.share(self.newest_valid() if self.save_to_disk else "")
        else:
            name = process_group.share(self.find_untagged() if self.save_to_disk else "")
        if not name:
            return self.load(path, checkpointables=[])
        return self.load(str(self.folder / f"{name}{WEIGHTS}"))

    def find_untagged(self) -> str:
        """The one checkpoint of a run that was killed before it could name it, "" without any.

        Raises:
            ArtefactError: there are several, and no file says which is the last.
        """
        names = [name for name, _ in checkpoint_manifest.newest_first(self.folder)]
        whole = [name for name in names if checkpoint_manifest.fault(self.folder, name) is None]
        if len(whole) > 1:
            raise ArtefactError(
                f"{self.save_dir} holds checkpoints ({', '.join(whole)}), but no {TAG}, which says"
                f" where to go on: write the name of one into it, such as {whole[0]}{WEIGHTS}, or"
                " start anew without --resume"
            )
        return whole[0] if whole else ""

    def newest_valid(self) -> str:
        """The name of the newest checkpoint whose files are as they were written; newer, damaged
        ones are logged.

        Raises:
            ArtefactError: there is none.
        """
        faults: dict[str, str] = {}
        for name in checkpoint_manifest.candidates(self.folder, self._read_tag()):
            why = checkpoint_manifest.fault(self.folder, name)
            if why is None:
                if faults:
                    self.logger.warning(
                        "going back to %s, the newer checkpoint is damaged: %s",
                        name,
                        _listed_files(faults),
                    )
                return name
            faults[name] = why
        raise ArtefactError(
            f"{self.save_dir}: no checkpoint can be resumed from ({_listed_files(faults)}). "
            "Start anew without --resume, or put a good checkpoint back"
        )

    def _read_tag(self) -> str:
        return (
            (self.folder / TAG)
            .read_text(encoding="utf-8", errors="replace")
            .strip()
            .removesuffix(WEIGHTS)
        )

    @contextlib.contextmanager
    def _writing(self, name: str, *things: Any) -> Iterator[None]:
        """Ask for free space before anything is touched; a failed write becomes the run's error."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            needed, free = SPARE * _bytes(things), shutil.disk_usage(self.folder).free
            if free < needed:
                raise RunError(
                    f"{self.save_dir}: {name} needs {needed / 2**20:.0f} MiB, {free / 2**20:.0f}"
                    f" are free; nothing was touched. Make room, then {self.advice}"
                )
            yield
        except (OSError, UsageError) as error:
            raise RunError(
                f"{self.save_dir}: {name} could not be written ({error}). The checkpoint before it"
                f" is intact: mend the cause, then {self.advice}"
            ) from error

    @contextlib.contextmanager
    def _telling(self, *shared: Mapping[str, Shared]) -> Iterator[None]:
        """Let all processes know when the one that writes could not: the others take part in what it
        has left, and fail as it does, where they would wait for it.

        Raises:
            RunError: of the writing, in every process where weights are shared out.
        """
        error: RunError | None = None
        try:
            yield
        except RunError as failed:
            error = failed
        if any(shared):
            for one in shared:
                whole_tensors.take_part(one)
            told = process_group.share(None if error is None else str(error))
            if error is None and told is not None:
                raise RunError(told)
        if error is not None:
            raise error

    @contextlib.contextmanager
    def _keep_spare(self, name: str) -> Iterator[None]:
        """Before a name is written again its old checkpoint gets another name, until the new one
        stands.
        """
        spare = f"{name}_before"
        if checkpoint_manifest.fault(self.folder, name) is None:
            checkpoint_manifest.copy(self.folder, name, spare)
            if self.has_checkpoint() and self._read_tag() == name:
                self.tag_last_checkpoint(f"{spare}{WEIGHTS}")
        yield
        checkpoint_manifest.delete(self.folder, spare)

    def _write_tensors(
        self, name: str, tensors: dict[str, torch.Tensor], shared: Mapping[str, Shared]
    ) -> None:
        (self.folder / f"{name}{MANIFEST}").unlink(missing_ok=True)
        of_classes = json.dumps(sorted(class_weight_names(self.model)))
        metadata = {"format": "pt", CLASS_WEIGHTS: of_classes}
        with atomic(self.folder / f"{name}{WEIGHTS}") as file:
            if shared:
                whole_tensors.write(file, tensors, shared, metadata)
            else:
                file.write(safetensors_bytes(tensors, metadata=metadata))

    def _tensors(self, name: str, left_out: Container[str] = ()) -> dict[str, torch.Tensor]:
        """The model's tensors on the CPU; safetensors wants none to share memory with another."""
        seen: set[int] = set()
        made: dict[str, torch.Tensor] = {}
        for key, tensor in self.model.state_dict().items():
            if key in left_out:
                continue
            flat = tensor.detach().cpu().contiguous()
            storage = flat.untyped_storage()
            made[key] = (
                flat.clone()
                if storage.data_ptr() in seen or storage.nbytes() != flat.nbytes
                else flat
            )
            seen.add(storage.data_ptr())
        bad = [key for key, tensor in made.items() if not is_finite(tensor)]
        if bad:
            raise _not_finite(name, bad)
        return made

    def _check_finite(self, name: str, shared: Mapping[str, Held]) -> None:
        """Refuse shared weights that are not finite, in every process alike: one alone that refuses
        leaves the others waiting.
        """
        if shared:
            bad = [key for key, one in shared.items() if not is_finite(here(one.here))]
            told = sorted({key for keys in process_group.collect(bad) for key in keys})
            if told:
                raise _not_finite(name, told)

    def _read_state(self, name: str) -> dict[str, Any]:
        path = self.folder / f"{name}{STATE}"
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            raise ArtefactError(f"{path}: the trainer's state cannot be read ({error})") from error


def _describe(values: Mapping[str, Any]) -> dict[str, Any]:
    """What of a state the manifest repeats for readers."""
    return {
        key: value
        for key, value in values.items()
        if isinstance(value, str | int | float) and key != "config"
    }


def _not_finite(name: str, bad: list[str]) -> RunError:
    return RunError(
        f"{name} was not saved: {len(bad)} tensors of the model hold NaN or infinity ({bad[0]} …)."
        " The checkpoint before it is intact; lower SOLVER.BASE_LR or clip gradients"
    )


def _listed_files(faults: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in faults.items())


def _bytes(thing: Any) -> int:
    """Bytes of all tensors in nested dicts and lists."""
    if isinstance(thing, torch.Tensor | SharedTensor | FullTensor | Once):
        return thing.nbytes
    inside = (
        thing.values()
        if isinstance(thing, Mapping)
        else thing
        if isinstance(thing, list | tuple)
        else ()
    )
    return sum(_bytes(value) for value in inside)
