"""What this machine reaches at best, in a runtime itself: the ceilings of the roofline."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pocketlens.targets import Session
from pocketlens.types import Artifact, Model, Scheme

_CHANNELS = 512
_SIDE = 22

_LARGEST_COPY = 2**29
"""Bytes; enough for the largest caches of today without crowding a small machine."""


def measured_peak(
    lower: Callable[[Model, str, Path], Artifact],
    open_session: Callable[..., Session],
    scheme: Scheme,
    last_cache_bytes: int,
) -> dict[str, float]:
    """Peaks of one thread: {"fp32_gmacs", "int8_gmacs"} of a 1x1 convolution, {"bandwidth_gbs"} of a copy.

    A 1x1 convolution of 512 channels is the matrix product that every runtime's file can hold.

    Args:
        lower: writes the runtime's file, as `Target.lower` does.
        open_session: opens it, as the runtime's `session.open_session` does.
        scheme: of the integers.
        last_cache_bytes: of the largest cache.
    """
    return {
        "fp32_gmacs": _product(lower, open_session, _convolution(None)),
        "int8_gmacs": _product(lower, open_session, _convolution(scheme)),
        "bandwidth_gbs": copy_bandwidth(last_cache_bytes),
    }


def copy_bandwidth(last_cache_bytes: int) -> float:
    """Gigabytes a second, read and written, of a copy beyond the caches.

    Args:
        last_cache_bytes: of the largest cache; the copy is several times larger, 512 MiB at most.
    """
    size = min(max(4 * last_cache_bytes, 64 * 2**20), _LARGEST_COPY)
    source = np.ones(size // 8)
    target = np.empty_like(source)
    return 2 * source.nbytes / best_time(lambda: np.copyto(target, source), seconds=0.3) / 1e9


def best_time(run: Callable[[], object], seconds: float) -> float:
    """The shortest time of one call, s, repeated for about `seconds`."""
    run()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def _product(
    lower: Callable[[Model, str, Path], Artifact], open_session: Callable[..., Session], model: Model
) -> float:
    """Giga multiply-accumulates a second, the best of several."""
    images = np.ones((1, *model.spec.input_shape), np.float32)
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as scratch:
        artifact = lower(model, "peak", Path(scratch))
        session = open_session(artifact.graph, artifact.weights, artifact.session, 1)
        return artifact.macs / best_time(lambda: session.run(images), seconds=0.3) / 1e9


def _convolution(scheme: Scheme | None) -> Model:
    """A 1x1 convolution, in float or on integer grids."""
    import torch
    from torch import nn

    from pocketlens.ops.quantized import QuantizedConv2d
    from pocketlens.targets.by_hand import grid, network

    weight = torch.ones(_CHANNELS, _CHANNELS, 1, 1)
    if scheme is None:
        convolution = nn.Conv2d(_CHANNELS, _CHANNELS, 1, bias=False)
        convolution.weight = nn.Parameter(weight / _CHANNELS)
        layers: list[nn.Module] = [convolution]
    else:
        scale = torch.full((_CHANNELS,), 1 / _CHANNELS)
        layers = [
            grid(scheme, 1 / 64),
            QuantizedConv2d(weight.to(torch.int8), scale, None, scheme.weight.storage),
            grid(scheme, 1 / 64),
        ]
    return network(nn.Sequential(*layers), (_CHANNELS, _SIDE, _SIDE))
