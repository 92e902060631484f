from dataclasses import replace

import pytest
import torch
from tests.conftest import SPEC, randomised

from pocketlens.errors import ConfigError, DataError, UnsupportedModelError
from pocketlens.models.canonical import canonicalise
from pocketlens.models.cifar_resnet import CifarResNet
from pocketlens.models.cost import count_macs
from pocketlens.passes.prune_blocks import PruneBlocks
from pocketlens.types import Context, Data, Model


@pytest.fixture
def resnet() -> Model:
    torch.manual_seed(0)
    return canonicalise(randomised(CifarResNet(20, 4)), SPEC)


def test_nothing_asked_for_changes_nothing(resnet: Model, context: Context) -> None:
    result = PruneBlocks(macs=0.0)(resnet, context).model
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(result.graph(x), resnet.graph(x))


def test_enough_multiply_accumulates_leave(resnet: Model, context: Context) -> None:
    result = PruneBlocks(macs=0.4, images=8)(resnet, context)
    assert count_macs(result.model) <= 0.6 * count_macs(resnet)
    assert result.record.summary["macs_after"] == count_macs(result.model)
    assert len(result.record.layers) == result.record.summary["branches"]


def test_the_branch_that_says_nothing_leaves_first(resnet: Model, context: Context) -> None:
    quiet = resnet.graph.get_submodule("layer2_1_bn2")
    with torch.no_grad():
        for tensor in (quiet.weight, quiet.bias):
            tensor.zero_()
    record = PruneBlocks(macs=0.05, images=8)(resnet, context).record
    assert record.layers[0]["layer"] == "layer2_1_bn2"
    assert record.layers[0]["kl"] == pytest.approx(0.0, abs=1e-5)


def test_more_than_all_branches_hold_is_refused(resnet: Model, context: Context) -> None:
    with pytest.raises(UnsupportedModelError, match="without all of its residual branches"):
        PruneBlocks(macs=0.95, images=4)(resnet, context)


def test_it_needs_images(resnet: Model, context: Context) -> None:
    with pytest.raises(DataError, match="give --data"):
        PruneBlocks()(resnet, replace(context, data=Data()))


def test_a_share_of_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be in \[0, 1\), got 1.0"):
        PruneBlocks(macs=1.0)
