"""Where models come from: packaged weights, timm, torchvision, one's own factory, a stored graph, an exported file."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from pocketlens.errors import ConfigError, ModelError, UnknownNameError, WeightsError
from pocketlens.models import store
from pocketlens.models.canonical import canonicalise
from pocketlens.models.exported import FORMATS, from_file
from pocketlens.models.packaged import cifar_resnet, efficientnet_lite
from pocketlens.models.stated import missing_preprocessing, stated_preprocessing
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


def load(
    name: str,
    *,
    weights: Path | None = None,
    classes: Sequence[str] | None = None,
    preprocessing: str | None = None,
) -> Model:
    """Bring a model in as a canonical graph.

    Args:
        name: a key of SOURCES, `timm:NAME`, `torchvision:NAME`, `package.module:factory`, a stored graph's folder, or
            an .onnx or .pt2 file.
        weights: a .safetensors file or a checkpoint; Path("random") leaves them as initialised; None takes what the
            source carries.
        classes: class names in output order, where the source does not know them.
        preprocessing: for an .onnx or .pt2 file, how images become its input (see `stated`); None reads the JSON
            beside it.
    Raises: UnknownNameError, WeightsError, UnsupportedModelError, ModelError, ConfigError.
    """
    path = Path(name)
    if path.suffix.lower() in FORMATS:
        if not path.is_file():
            raise ModelError(f"no model at {path}; name an .onnx or .pt2 file that is there")
        if weights is not None:
            raise WeightsError(f"{name} carries its own weights; leave --weights out")
        stated = stated_preprocessing(path, preprocessing)
        if stated is None:
            raise missing_preprocessing(path)
        return _named(from_file(path, stated), classes)
    if preprocessing is not None:
        raise ConfigError(f"{name} knows its preprocessing; --preprocessing is for .onnx and .pt2 files")
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
    raise UnknownNameError(
        "model", name, [*SOURCES, "timm:NAME", "torchvision:NAME", "package.module:factory", "FILE.onnx", "FILE.pt2"]
    )


def _named(model: Model, classes: Sequence[str] | None) -> Model:
    """Give the outputs names."""
    if classes is None:
        return model
    outputs = outputs_of(model)
    if len(classes) != outputs:
        raise ModelError(f"{model.spec.name} has {outputs} outputs, --classes names {len(classes)}")
    return replace(model, spec=replace(model.spec, class_ids=tuple(classes), labels=tuple(classes)))
