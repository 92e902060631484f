"""Models from timm, from torchvision, and from a factory of one's own."""

import contextlib
import importlib
import io
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from torch import nn

from pocketlens.errors import ModelError, UnknownNameError, WeightsError
from pocketlens.models import checkpoint
from pocketlens.models.imagenet import imagenet_classes
from pocketlens.types import ModelSpec, Preprocessing

Loaded = tuple[nn.Module, ModelSpec]

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

_IMAGENET_CLASSES = 1000


def from_timm(name: str, weights: Path | None) -> Loaded:
    """`timm:NAME`. Without --weights, timm's pretrained weights are asked of its hub."""
    import timm
    from huggingface_hub import constants
    from timm.data import resolve_model_data_config  # pyright: ignore[reportAttributeAccessIssue]

    short = name.removeprefix("timm:")
    base = short.split(".")[0]
    if not timm.is_model(base):
        raise UnknownNameError("timm model", short, timm.list_models(f"{base[:4]}*")[:40] or timm.list_models()[:40])
    tensors = _tensors(weights)
    arguments: dict[str, Any] = {}
    head = timm.get_pretrained_cfg_value(short, "classifier") or ()
    outputs = checkpoint.head_outputs(tensors, (head,) if isinstance(head, str) else tuple(head)) if tensors else None
    if outputs is not None:
        arguments["num_classes"] = outputs
    if weights is None and not _reachable(constants.ENDPOINT):
        constants.HF_HUB_OFFLINE = True  # what is in its cache still serves; else it would retry for a minute
    with _quiet():
        module = _made(lambda: timm.create_model(short, pretrained=weights is None, **arguments), name, weights)
    if tensors:
        assert weights is not None
        checkpoint.fit(module, tensors, weights)
    config = resolve_model_data_config(module)
    channels, height, width = config["input_size"]
    spec = ModelSpec(
        name=short,
        input_shape=(channels, height, width),
        preprocessing=Preprocessing(
            resize=max(round(min(height, width) / config["crop_pct"]), height, width),
            crop=(height, width),
            interpolation=config["interpolation"] if config["interpolation"] in ("bilinear", "bicubic") else "bicubic",
            mean=_scaled(config["mean"]),
            std=_scaled(config["std"]),
        ),
    )
    return module, _imagenet(spec, getattr(module, "num_classes", 0))


def from_torchvision(name: str, weights: Path | None) -> Loaded:
    """`torchvision:NAME`. Without --weights, torchvision's default weights are asked of its hub."""
    from torchvision import models

    short = name.removeprefix("torchvision:")
    if short not in models.list_models(module=models):
        raise UnknownNameError("torchvision model", short, models.list_models(module=models))
    tensors = _tensors(weights)
    pretrained = "DEFAULT" if weights is None else None
    module = _made(lambda: models.get_model(short, weights=pretrained), name, weights)
    outputs = checkpoint.head_outputs(tensors, (_last_layer(module),)) or _IMAGENET_CLASSES
    if outputs != _IMAGENET_CLASSES:
        module = _made(lambda: models.get_model(short, weights=None, num_classes=outputs), name, weights)
    if tensors:
        assert weights is not None
        checkpoint.fit(module, tensors, weights)
    transforms = models.get_model_weights(short).DEFAULT.transforms()  # pyright: ignore[reportAttributeAccessIssue]
    crop, resize = int(transforms.crop_size[0]), int(transforms.resize_size[0])
    spec = ModelSpec(
        name=short,
        input_shape=(3, crop, crop),
        preprocessing=Preprocessing(
            resize=max(resize, crop),
            crop=(crop, crop),
            interpolation=transforms.interpolation.value,
            mean=_scaled(transforms.mean),
            std=_scaled(transforms.std),
        ),
    )
    return module, _imagenet(spec, outputs)


def from_factory(name: str, weights: Path | None) -> Loaded:
    """`package.module:factory`: one's own importable function that returns a module with its weights.

    The module may carry `input_size` (px) and `preprocessing` (a Preprocessing); else 224 and ImageNet's are taken.
    """
    package, _, attribute = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        factory = getattr(importlib.import_module(package), attribute)
    except Exception as error:  # the user's own module may fail in any way
        raise ModelError(f"cannot import {attribute} from {package}: {type(error).__name__} {error}") from error
    finally:
        sys.path.pop(0)
    try:
        module = factory()
    except Exception as error:
        raise ModelError(f"{name}() failed: {type(error).__name__} {error}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{name}() must return a torch.nn.Module, it returned a {type(module).__name__}")
    if weights is not None and weights != Path("random"):
        checkpoint.fit(module, checkpoint.read(weights), weights)
    size = int(getattr(module, "input_size", 224))
    plain = Preprocessing(
        resize=round(size * 256 / 224), crop=(size, size), interpolation="bicubic", mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    preprocessing = getattr(module, "preprocessing", plain)
    if not isinstance(preprocessing, Preprocessing):
        raise ModelError(
            f"`preprocessing` of {name} must be a pocketlens Preprocessing, got {type(preprocessing).__name__}"
        )
    height, width = preprocessing.crop
    return module, ModelSpec(name=attribute, input_shape=(3, height, width), preprocessing=preprocessing)


def _tensors(weights: Path | None) -> dict[str, Any]:
    return {} if weights is None or weights == Path("random") else checkpoint.read(weights)


def _made(make: Callable[[], nn.Module], name: str, weights: Path | None) -> nn.Module:
    try:
        return make()
    except Exception as error:
        if weights is None:
            raise WeightsError(
                f"{name}: its pretrained weights could not be fetched ({type(error).__name__}); "
                "give --weights FILE, or --weights random"
            ) from error
        raise ModelError(f"{name} cannot be built: {error}") from error


def _reachable(url: str) -> bool:
    """Whether the host of `url` has an address."""
    try:
        return bool(socket.getaddrinfo(urlparse(url).hostname, 443))
    except OSError:
        return False


def _last_layer(module: nn.Module) -> str:
    """The path of the classifier: what torchvision registers last, auxiliary classifiers before it."""
    return [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]


def _imagenet(spec: ModelSpec, outputs: int) -> ModelSpec:
    """ImageNet's class names for 1,000 outputs."""
    if outputs != _IMAGENET_CLASSES:
        return spec
    ids, labels = imagenet_classes()
    return replace(spec, class_ids=ids, labels=labels)


def _scaled(values: Any) -> tuple[float, float, float]:
    red, green, blue = (round(255 * float(v), 4) for v in values)
    return red, green, blue


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what a library prints off the terminal."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
