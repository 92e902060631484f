"""Checkpoints of a training run: safetensors with JSON, whole or not at all, the one before kept. No pickle."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pocketlens.errors import OutputError
from pocketlens.types import Json
from pocketlens.whole_file import whole_file

_NAMES = ("last.safetensors", "before.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands.

    Args:
        tensors: by "part/name", for example "model/conv1.weight".
        state: what is no tensor: epoch, step, score ...
    """

    tensors: Mapping[str, Tensor]
    state: Json

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part, by their names within it."""
        return {k.removeprefix(f"{name}/"): v for k, v in self.tensors.items() if k.startswith(f"{name}/")}


class CheckpointFolder:
    """The last two checkpoints of one run.

    Args:
        folder: made when missing.
        key: of the run; a checkpoint of another run is not read.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self._key = folder, key

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; the last one becomes the one before.

        Raises: OutputError when it cannot be written; what was there stays.
        """
        # Copies, since safetensors refuses what two names share, as layers do that have one codebook.
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in checkpoint.tensors.items()}
        state = json.dumps(checkpoint.state)
        metadata = {"key": self._key, "state": state, "digest": _digest(tensors, state)}
        last, before = (self.folder / name for name in _NAMES)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(before) as part:
                save_file(tensors, part, metadata)
            # `before` now holds the newest: swap, so that a kill at any moment leaves a whole one.
            if last.exists():
                swap = last.with_suffix(".swap")
                last.replace(swap)
                before.replace(last)
                swap.replace(before)
            else:
                before.replace(last)
        except (OSError, SafetensorError) as error:
            raise OutputError(f"cannot write a checkpoint into {self.folder}: {error}; free some space") from error

    def load(self) -> tuple[Checkpoint | None, tuple[str, ...]]:
        """The newest sound checkpoint of this run, and sentences about those that were not sound."""
        notes = []
        found = []
        for path in sorted(self.folder.glob("*.s*")) if self.folder.is_dir() else ():
            if path.name.startswith("."):  # a kill came while `whole_file` wrote it
                continue
            try:
                checkpoint = self._read(path)
            except (OSError, ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as error:
                reason = " ".join(str(error).split())[:120]
                notes.append(f"the checkpoint {path.name} is corrupt ({reason}); the one before it is used")
                continue
            if checkpoint is not None:
                found.append(checkpoint)
        newest = max(found, key=lambda c: (c.state["epoch"], c.state["step"]), default=None)
        if newest is None and notes:
            notes = [note.replace("the one before it is used", "training starts anew") for note in notes]
        return newest, tuple(notes)

    def remove(self) -> None:
        """Forget the run."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, path: Path) -> Checkpoint | None:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            if metadata["key"] != self._key:
                return None
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 no mapping
        if _digest(tensors, metadata["state"]) != metadata["digest"]:
            raise ValueError("its content does not match its digest")
        return Checkpoint(tensors=tensors, state=json.loads(metadata["state"]))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer as tensors by "place.name"; the rates are not part of it, the plan gives them."""
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{place}.{name}": value if isinstance(value, Tensor) else torch.tensor(float(value))
        for place, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        place, _, name = key.partition(".")
        state.setdefault(int(place), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _digest(tensors: Mapping[str, Tensor], state: str) -> str:
    content = hashlib.blake2b(state.encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        content.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        content.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return content.hexdigest()
