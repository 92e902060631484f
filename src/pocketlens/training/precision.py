"""Whether bfloat16 pays: run both and see. On processors without its instructions it is ten times slower."""

import copy
import time
from collections.abc import Hashable
from functools import lru_cache

import torch
from torch import fx
from torch.nn import functional as F

CLEARLY = 1.15
"""bfloat16 rounds; it must be at least this much faster to be worth it."""

_BATCH = 32
_STEPS = 3


def bfloat16_pays(graph: fx.GraphModule, shape: tuple[int, int, int], device: torch.device) -> bool:
    """Time training steps of a copy of `graph` in both precisions.

    Args:
        graph: what will be trained; left as it is.
        shape: (c, h, w) of an input.
        device: where it will be trained.
    """
    if device.type == "cpu" and not _processor_has_it():
        return False
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    key = (tuple((name, tuple(p.shape)) for name, p in graph.named_parameters()), shape)
    if key not in _ANSWERS:
        plain = _seconds(graph, shape, device, torch.float32)
        _ANSWERS[key] = plain > CLEARLY * _seconds(graph, shape, device, torch.bfloat16)
    return _ANSWERS[key]


_ANSWERS: dict[Hashable, bool] = {}
"""By the shapes of a network: asking twice gives the same answer, whatever the machine does meanwhile."""


def _seconds(graph: fx.GraphModule, shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype) -> float:
    """The fastest of a few training steps."""
    trained = copy.deepcopy(graph).to(device).train().to(memory_format=torch.channels_last)  # pyright: ignore
    images = torch.randn(_BATCH, *shape, device=device).contiguous(memory_format=torch.channels_last)
    times = []
    for _ in range(_STEPS):
        start = time.perf_counter()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            outputs = trained(images)
        F.mse_loss(outputs.float(), torch.zeros_like(outputs, dtype=torch.float32)).backward()
        times.append(time.perf_counter() - start)
    return min(times)


@lru_cache
def _processor_has_it() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
