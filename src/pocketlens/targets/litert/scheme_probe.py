"""The probe's network for LiteRT, which has no writer of files but the converter of whole models."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from pocketlens.ops.quantized import QuantizedConv2d
from pocketlens.targets.by_hand import grid, network
from pocketlens.targets.litert.lower import lower
from pocketlens.targets.litert.session import Session, open_session
from pocketlens.targets.scheme_probe import CHANNELS, SIDE, Network


def open_network(probe: Network) -> Session:
    """The probe's network, lowered and open."""
    model = network(_Module(probe), (CHANNELS, SIDE, SIDE))
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as scratch:
        return open_session(lower(model, "probe", Path(scratch)).graph, None, {}, 1)


class _Module(nn.Module):
    """Conv 1x1 -> depthwise 3x3 -> +, on the probe's grids."""

    def __init__(self, probe: Network) -> None:
        super().__init__()
        scheme = probe.scheme
        point = torch.from_numpy(probe.point).reshape(CHANNELS, CHANNELS, 1, 1)
        depth = torch.from_numpy(probe.depth).reshape(CHANNELS, 1, 3, 3)
        storage = scheme.weight.storage
        self.input = grid(scheme, 1.0)
        self.point = QuantizedConv2d(point, torch.ones(CHANNELS), None, storage)
        self.a = grid(scheme, probe.scale_point, 128)
        scale = torch.full((CHANNELS,), 1 / probe.scale_depth)
        self.depth = QuantizedConv2d(depth, scale, None, storage, padding=(1, 1), groups=CHANNELS)
        self.b = grid(scheme, probe.scale_point, 128)
        self.c = grid(scheme, 2 * probe.scale_point, 128)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(self.point(self.input(x)))
        return self.c(a + self.b(self.depth(a)))
