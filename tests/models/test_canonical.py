from dataclasses import replace

import pytest
import torch
from tests.conftest import SPEC, TinyNet, randomised
from torch import Tensor, nn

from pocketlens.errors import UnsupportedModelError, WeightsError
from pocketlens.models import vocabulary
from pocketlens.models.canonical import canonicalise, clone
from pocketlens.types import Model, ModelSpec

UNNAMED = replace(SPEC, class_ids=(), labels=())
"""For networks with any number of outputs."""


def kinds(model: Model) -> list[str]:
    return [vocabulary.kind(model.graph, node) for node in model.graph.graph.nodes]


def test_a_small_network_comes_in_exactly() -> None:
    module = randomised(TinyNet())
    model = canonicalise(module, SPEC)
    x = torch.randn(5, 3, 32, 32)
    assert torch.allclose(model.graph(x), module(x), atol=1e-6)
    assert kinds(model) == [
        "input",
        *("conv", "batchnorm", "relu6") * 3,
        *("conv", "batchnorm", "add", "global_avg_pool", "flatten", "linear", "output"),
    ]
    assert [n.name for n in model.graph.graph.nodes][:3] == ["x", "stem_0", "stem_1"]
    assert model.facts == {"batchnorm"}


class Spellings(nn.Module):
    """Many ways to say a few things."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.same = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x)).contiguous()
        x = self.same(x).add(x) + x.mul(2.0)
        x += 1.0
        x = self.drop(x).sigmoid()
        x = nn.functional.adaptive_avg_pool2d(x, 1)
        return x.view(x.size(0), -1)


def test_spellings_become_one() -> None:
    model = canonicalise(Spellings(), SPEC)
    assert kinds(model) == [
        *("input", "conv", "relu", "add", "mul", "add", "add", "sigmoid", "global_avg_pool", "flatten", "output")
    ]


def test_every_kind_is_in_the_table() -> None:
    leaves = {leaf.kind for leaf in vocabulary.LEAVES.values()}
    for kind in leaves | set(vocabulary.FUNCTIONS.values()) | set(vocabulary.METHODS.values()):
        assert f"`{kind}`" in str(vocabulary.__doc__), kind


class Means(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x * x.mean(dim=(2, 3), keepdim=True) + torch.mean(x, [-2, -1], keepdim=True)
        x = nn.functional.elu(x) + nn.functional.adaptive_max_pool2d(x, 1)
        return x.mean(dim=[2, 3])


def test_means_over_the_image_are_global_pools() -> None:
    wanted = ["input", "global_avg_pool", "mul", "global_avg_pool", "add"]
    assert kinds(canonicalise(Means(), UNNAMED)) == [
        *wanted,
        "elu",
        "global_max_pool",
        "add",
        "global_avg_pool",
        "output",
    ]


def test_a_hard_tanh_to_six_is_relu6() -> None:
    module = nn.Sequential(nn.Hardtanh(0.0, 6.0), nn.AdaptiveMaxPool2d(2), nn.Flatten())
    assert kinds(canonicalise(module, UNNAMED)) == ["input", "relu6", "adaptive_max_pool", "flatten", "output"]


class Awkward(nn.Module):
    """Names that Python or a GraphModule uses itself."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = nn.Conv2d(3, 4, 1)
        self.code = nn.Conv2d(4, 4, 1)
        self.x = nn.Conv2d(4, 4, 1)
        self.add_module("class", nn.Conv2d(4, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, "class")(self.x(self.code(self.graph(x)))).mean((2, 3))


def test_any_attribute_name_will_do() -> None:
    names = [n.name for n in canonicalise(Awkward(), SPEC).graph.graph.nodes]
    assert names == ["x", "m_graph", "m_code", "x_1", "m_class", "mean", "output"]


class Flattens(nn.Module):
    """Two tensors whose paths become one name."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.ParameterDict({"b": torch.full((3, 1, 1), 2.0)})
        self.a_b = nn.Parameter(torch.full((3, 1, 1), 5.0))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.a["b"] + self.a_b).mean((2, 3))


def test_two_tensors_of_one_flattened_name_stay_two() -> None:
    model = canonicalise(Flattens(), UNNAMED)
    assert torch.allclose(model.graph(torch.ones(1, 3, 32, 32)), torch.full((1, 3), 7.0))


def test_the_batch_stays_open() -> None:
    model = canonicalise(Spellings(), SPEC)
    for n in (1, 2, 7):
        assert model.graph(torch.randn(n, 3, 32, 32)).shape == (n, 4)


class SamePadded(nn.Conv2d):
    """As TensorFlow pads, like the convolutions of EfficientNet-Lite."""

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(x, (0, 1, 0, 1))
        return nn.functional.conv2d(x, self.weight, self.bias, self.stride)


class Lopsided(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = SamePadded(3, 4, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3))


def test_hidden_padding_becomes_explicit() -> None:
    model = canonicalise(Lopsided(), SPEC)
    assert kinds(model) == ["input", "pad", "conv", "global_avg_pool", "output"]
    conv = next(m for m in model.graph.modules() if isinstance(m, nn.Conv2d))
    assert type(conv) is nn.Conv2d


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(self.conv(x)).mean((2, 3)))


def test_a_layer_called_twice_stays_one_layer() -> None:
    model = canonicalise(Shared(), SPEC)
    calls = [n for n in model.graph.graph.nodes if vocabulary.kind(model.graph, n) == "conv"]
    assert len(calls) == 2
    assert calls[0].target == calls[1].target


def test_the_original_and_the_clone_share_nothing() -> None:
    module = randomised(TinyNet())
    before = {k: v.clone() for k, v in module.state_dict().items()}
    model = canonicalise(module, SPEC)
    other = clone(model)
    for parameter in (*model.graph.parameters(),):
        parameter.data.fill_(7)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert not torch.equal(next(other.graph.parameters()), next(model.graph.parameters()))


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


class BranchesInside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(nn.Identity(), Branches())

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)


class Exotic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(FourierLike())

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class FourierLike(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft(x).real.mean((2, 3))


class Features(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2.0


class TwoOutputs(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean((2, 3)), x


@pytest.mark.parametrize(
    ("module", "word"),
    [
        (Branches(), r"Branches cannot be traced.*branch"),
        (BranchesInside(), r"stages\.1 \(Branches\) cannot be traced"),
        (nn.Sequential(nn.Flatten(), nn.Linear(7, 4)), r"^1 \(_1\) fails on an input of the model's size"),
        (Exotic(), r"inner\.0 \(FourierLike\)"),
        (Features(), "classes"),
        (TwoOutputs(), "one output"),
    ],
    ids=["control flow", "control flow inside", "another size", "an unknown function", "no classifier", "two outputs"],
)
def test_what_cannot_be_expressed_is_named(module: nn.Module, word: str) -> None:
    spec = ModelSpec(name="x", input_shape=(3, 32, 32), preprocessing=SPEC.preprocessing)
    with pytest.raises(UnsupportedModelError, match=word) as raised:
        canonicalise(module, spec)
    assert "\n" not in str(raised.value)


def test_nan_weights_are_named() -> None:
    module = TinyNet()
    module.classifier.bias.data[1] = float("nan")
    with pytest.raises(WeightsError, match=r"classifier\.bias"):
        canonicalise(module, SPEC)


TIMM = (
    "mobilenetv3_small_050", "efficientnet_lite0", "tf_efficientnet_lite0", "resnet18", "regnetx_002",
    "mobileone_s0", "vit_tiny_patch16_224", "convnext_atto", "ghostnet_100", "levit_128s", "densenet121",
    "poolformer_s12", "swin_tiny_patch4_window7_224",
)  # fmt: skip


@pytest.mark.parametrize("name", TIMM)
def test_timm_networks_come_in_exactly(name: str) -> None:
    """canonicalise itself compares outputs and raises where they differ; random batch norms make that sharp."""
    import timm

    torch.manual_seed(0)
    module = randomised(timm.create_model(name, pretrained=False))
    size = module.pretrained_cfg["input_size"][-1]
    spec = ModelSpec(name=name, input_shape=(3, size, size), preprocessing=SPEC.preprocessing)
    model = canonicalise(module, spec)
    assert "other" not in kinds(model)
    assert model.graph(torch.randn(1, 3, size, size)).shape == (1, 1000)
