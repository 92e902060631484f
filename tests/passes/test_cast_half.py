import pytest
import torch

from pocketlens.errors import ModelError
from pocketlens.passes.cast_half import CastHalf
from pocketlens.types import Context, Model


def test_half_the_bytes_and_nearly_the_same_answer(tiny: Model, context: Context) -> None:
    result = CastHalf()(tiny, context)
    assert all(p.dtype == torch.float16 for p in result.model.graph.parameters())
    x = torch.randn(2, 3, 32, 32)
    assert torch.allclose(result.model.graph(x), tiny.graph(x), atol=0.02)


def test_values_beyond_float16_are_named(tiny: Model, context: Context) -> None:
    name, tensor = next(iter(tiny.graph.named_parameters()))
    tensor.data[0] = 1e6
    with pytest.raises(ModelError, match=name):
        CastHalf()(tiny, context)


def test_underflow_is_counted(tiny: Model, context: Context) -> None:
    for tensor in tiny.graph.parameters():
        tensor.data.fill_(1e-9)
    assert CastHalf()(tiny, context).record.summary["underflow_fraction"] == 1.0
