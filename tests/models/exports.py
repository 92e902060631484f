"""Networks of timm and torchvision as other tools' files, with random weights and small inputs."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Literal

import timm
import torch
from tests.conftest import randomised
from torch import nn
from torchvision import models

NETWORKS: dict[str, int] = {
    "torchvision:mobilenet_v2": 64,
    "torchvision:shufflenet_v2_x0_5": 64,
    "resnet18": 64,
    "efficientnet_lite0": 64,
    "tf_efficientnet_lite0": 64,
    "mobilenetv3_small_050": 64,
    "convnext_atto": 64,
    "vit_tiny_patch16_224": 64,
    "levit_128s": 224,
}
"""Name -> input, px."""

Exporter = Literal["dynamo", "legacy"]


def network(name: str) -> nn.Module:
    """In evaluation, its batch norms as after training."""
    torch.manual_seed(0)
    if name.startswith("torchvision:"):
        return randomised(models.get_model(name.removeprefix("torchvision:"), weights=None))
    size = {"img_size": NETWORKS[name]} if name.startswith("vit") else {}
    return randomised(timm.create_model(name, pretrained=False, **size))


def as_onnx(module: nn.Module, path: Path, side: int, exporter: Exporter, *, fixed: bool) -> None:
    """Write an ONNX file.

    Args:
        module: to be exported.
        path: of the file.
        side: of its input, px.
        exporter: torch's new one (opset 20), or the one before it (opset 17).
        fixed: for one image only, else the batch is open.
    """
    x = torch.randn(1 if fixed else 2, 3, side, side)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporters warn about themselves
        if exporter == "dynamo":
            shapes = None if fixed else ({0: torch.export.Dim("n")},)
            torch.onnx.export(module, (x,), path, dynamo=True, opset_version=20, verbose=False, dynamic_shapes=shapes)
        else:
            axes = None if fixed else {"x": {0: "n"}}
            torch.onnx.export(module, (x,), path, dynamo=False, opset_version=17, input_names=["x"], dynamic_axes=axes)


def as_program(module: nn.Module, path: Path, side: int, *, fixed: bool, core: bool = False) -> None:
    """Write a .pt2 file.

    Args:
        module: to be exported.
        path: of the file.
        side: of its input, px.
        fixed: for one image only, else the batch is open.
        core: decomposed to core ATen.
    """
    x = torch.randn(1 if fixed else 2, 3, side, side)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shapes = None if fixed else ({0: torch.export.Dim("n")},)
        program = torch.export.export(module, (x,), dynamic_shapes=shapes)
        torch.export.save(program.run_decompositions() if core else program, path)
