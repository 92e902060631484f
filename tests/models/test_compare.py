import pytest
import torch
from torch import nn

from pocketlens.models.canonical import clone
from pocketlens.models.compare import layer_errors
from pocketlens.types import Model


def test_only_the_changed_layer_and_those_after_it_differ(tiny: Model) -> None:
    other = clone(tiny)
    head = next(m for n, m in other.graph.named_modules() if n == "project_0")
    assert isinstance(head, nn.Conv2d)
    head.weight.data *= 1.1
    rows = {row["layer"]: row for row in layer_errors(tiny, other, [torch.randn(2, 3, 32, 32)])}
    assert rows["depthwise_0"]["noise_power"] == 0
    # every value 10% too large: 10 log10(1 / 0.1^2) = 20 dB
    assert rows["project_0"]["sqnr_db"] == pytest.approx(20.0, abs=0.01)
    assert rows["classifier"]["noise_power"] > 0
    assert [row["kind"] for row in rows.values()] == ["conv"] * 4 + ["linear"]
