"""Where models come from: packaged weights, timm, torchvision, one's own factory, a stored graph."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from pocketlens.errors import ModelError, UnknownNameError, UnsupportedModelError, WeightsError
from pocketlens.models import store
from pocketlens.models.canonical import canonicalise
from pocketlens.models.packaged import cifar_resnet, efficientnet_lite
from pocketlens.models.zoo import Loaded, from_factory, from_timm, from_torchvision
from pocketlens.types import Model

Source = Callable[[str, Path | None], Loaded]
"""(what the user named, a checkpoint or None) -> the module with its weights, and its spec."""

SOURCES: dict[str, Source] = {
    "efficientnet_lite0": efficientnet_lite,
    "efficientnet_lite1": efficientnet_lite,
    "efficientnet_lite2": efficientnet_lite,
    "resnet20_cifar": cifar_resnet,
    "resnet56_cifar": cifar_resnet,
}
"""Whole names."""

PREFIXES: dict[str, Source] = {"timm": from_timm, "torchvision": from_torchvision}
"""What stands before a colon."""


def load(name: str, *, weights: Path | None = None, classes: Sequence[str] | None = None) -> Model:
    """Bring a model in as a canonical graph.

    Args:
        name: a key of SOURCES, `timm:NAME`, `torchvision:NAME`, `package.module:factory`, or a stored graph's folder.
        weights: a .safetensors file or a checkpoint; Path("random") leaves them as initialised; None takes what the
            source carries.
        classes: class names in output order, where the source does not know them.
    Raises: UnknownNameError, WeightsError, UnsupportedModelError, ModelError.
    """
    path = Path(name)
    if path.suffix in (".onnx", ".pt2"):
        raise UnsupportedModelError(
            f"{name}: models that come as {path.suffix} are not read yet; give the PyTorch model"
        )
    if path.suffix == ".graph" or (path / "graph.json").is_file():
        if weights is not None:
            raise WeightsError(f"{name} is a stored graph with weights of its own; leave --weights out")
        return _named(store.load(path), classes)
    if path.suffix == ".lens":
        raise ModelError(f"{name} is a finished bundle; squeeze takes the model it was made from")
    module, spec = _source(name)(name, weights)
    return _named(canonicalise(module, spec), classes)


def outputs_of(model: Model) -> int:
    """How many classes a classifier has."""
    with torch.inference_mode():
        return model.graph(torch.zeros(1, *model.spec.input_shape)).shape[-1]


def _source(name: str) -> Source:
    if name in SOURCES:
        return SOURCES[name]
    prefix, colon, rest = name.partition(":")
    if colon and prefix in PREFIXES:
        return PREFIXES[prefix]
    if colon and rest.isidentifier() and all(part.isidentifier() for part in prefix.split(".")):
        return from_factory
    raise UnknownNameError("model", name, [*SOURCES, "timm:NAME", "torchvision:NAME", "package.module:factory"])


def _named(model: Model, classes: Sequence[str] | None) -> Model:
    """Give the outputs names."""
    if classes is None:
        return model
    outputs = outputs_of(model)
    if len(classes) != outputs:
        raise ModelError(f"{model.spec.name} has {outputs} outputs, --classes names {len(classes)}")
    return replace(model, spec=replace(model.spec, class_ids=tuple(classes), labels=tuple(classes)))
