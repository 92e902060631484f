import torch
from tests.conftest import SPEC, randomised
from torch import Tensor, nn

from pocketlens.models import vocabulary
from pocketlens.models.batch_norm import fold_batch_norms
from pocketlens.models.canonical import canonicalise
from pocketlens.ops.quantized import QuantizedConv2d


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.second, self.other = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.other(self.second(torch.relu(self.norm(self.first(x))))).mean((2, 3))


def test_only_wanted_layers_absorb_theirs() -> None:
    torch.manual_seed(0)
    model = canonicalise(randomised(Two()), SPEC)
    x = torch.randn(2, 3, 32, 32)
    wanted = model.graph(x)
    folded, kept = fold_batch_norms(model.graph, wanted=lambda layer: layer.name == "second")
    assert folded == (("second", "other"),)
    assert kept == ("norm",)
    assert torch.allclose(model.graph(x), wanted, atol=1e-5)


def test_an_integer_layer_takes_the_gain_into_its_scale_and_the_sign_into_its_codes() -> None:
    torch.manual_seed(0)
    module = randomised(Two())
    assert isinstance(module, Two)
    module.norm.weight.data[:2] = torch.tensor([-0.7, 0.0])
    model = canonicalise(module, SPEC)
    codes = torch.randint(-7, 8, (4, 3, 3, 3), dtype=torch.int8)
    scale = torch.tensor([0.1, 0.2, 0.3, 0.4])
    first = model.graph.get_submodule("first")
    assert isinstance(first, nn.Conv2d)
    model.graph.set_submodule("first", QuantizedConv2d.of(first, codes, scale, "int8"))
    x = torch.randn(2, 3, 32, 32)
    wanted = model.graph(x)
    fold_batch_norms(model.graph)
    assert not [n for n in model.graph.graph.nodes if vocabulary.kind(model.graph, n) == "batchnorm"]
    leaf = model.graph.get_submodule("first")
    assert isinstance(leaf, QuantizedConv2d)
    assert torch.equal(leaf.codes[0], -codes[0])
    assert not leaf.codes[1].any()
    assert torch.equal(leaf.codes[2:], codes[2:])
    assert (leaf.weight_scale > 0).all()
    assert torch.allclose(model.graph(x), wanted, atol=1e-5)


def test_one_scale_for_all_channels_cannot_absorb_it() -> None:
    model = canonicalise(randomised(Two()), SPEC)
    first = model.graph.get_submodule("first")
    assert isinstance(first, nn.Conv2d)
    leaf = QuantizedConv2d.of(first, torch.ones(4, 3, 3, 3, dtype=torch.int8), torch.tensor(0.1), "int8")
    model.graph.set_submodule("first", leaf)
    _, kept = fold_batch_norms(model.graph)
    assert kept == ("norm",)
