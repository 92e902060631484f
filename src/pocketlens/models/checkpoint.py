"""Read weights safely and fit them to a module. Nothing in a file is ever unpickled or executed."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pocketlens.errors import WeightsError

_WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema", "ema", "net", "weights")
_PREFIXES = ("module.", "model.", "_orig_mod.", "backbone.")


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a PyTorch checkpoint (read with weights_only=True).

    Raises: WeightsError when the file is missing, corrupt, or holds anything but tensors.
    """
    if not path.is_file():
        raise WeightsError(f"no weights at {path}; give a .safetensors file or a PyTorch checkpoint")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise WeightsError(f"{path} is no sound safetensors file: {error}") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is refused: it holds more than tensors (code could run when it is read). "
            "Save its state_dict() alone, best as .safetensors"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} cannot be read as weights: {' '.join(str(error).split())[:160]}") from error
    return _tensors(loaded, path)


def fit(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load `tensors` into `module`, every one of both.

    Raises: WeightsError naming what is missing, left over, of another shape, or not finite.
    """
    tensors = _without_prefix(tensors, module)
    own = module.state_dict()
    ignored = {name for name in own if name.endswith("num_batches_tracked")}
    missing = sorted(set(own) - set(tensors) - ignored)
    extra = sorted(name for name in set(tensors) - set(own) if not name.endswith("num_batches_tracked"))
    shapes = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    problems = [
        f"{word}: {_some(names)}"
        for word, names in (("missing", missing), ("not in the model", extra), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise WeightsError(f"the weights in {path} do not fit; {'; '.join(problems)}")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise WeightsError(f"{name} in {path} holds NaN or infinity; load sound weights")
    module.load_state_dict({name: tensors[name] for name in own if name in tensors}, strict=False)


def head_outputs(tensors: Mapping[str, Tensor], names: tuple[str, ...]) -> int | None:
    """The number of classes, from the bias or weight of a classifier called one of `names`."""
    for key, tensor in tensors.items():
        for name in names:
            if key.removeprefix("module.") in (f"{name}.weight", f"{name}.bias"):
                return tensor.shape[0]
    return None


def _tensors(loaded: object, path: Path) -> dict[str, Tensor]:
    while isinstance(loaded, Mapping):
        inner = next((loaded[k] for k in _WRAPPERS if isinstance(loaded.get(k), Mapping)), None)
        if inner is None:
            break
        loaded = inner
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path} holds a {type(loaded).__name__}, not a state_dict; save model.state_dict()")
    tensors = {str(k): v for k, v in loaded.items() if isinstance(v, Tensor)}
    if not tensors:
        raise WeightsError(f"{path} holds no tensors; save model.state_dict()")
    return tensors


def _without_prefix(tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Take off a prefix that data-parallel training or a wrapper put on every name."""
    own = set(module.state_dict())
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors) and not any(name in own for name in tensors):
            return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def _some(names: list[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
