"""Small networks, one for each way in which channels of layers depend on each other; (n, 3, 32, 32) -> (n, 4)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """All weights and statistics at random, so that every channel matters and none is like another."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
        else:
            parameter.data.uniform_(0.3, 1.3, generator=generator)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.3, generator=generator)
            layer.running_var.uniform_(0.3, 2, generator=generator)
    return module.eval()


def conv(
    inputs: int, outputs: int, size: int = 3, *, stride: int = 1, groups: int = 1, bias: bool = False
) -> nn.Module:
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=bias)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


class Classifier(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((2, 3)))


class Chain(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(conv(3, 8, stride=2), conv(8, 12, bias=True), conv(12, 6), Classifier(6))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = conv(3, 8, stride=2), conv(8, 12), conv(12, 8)
        self.head = Classifier(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.second(self.first(x)))


class TwinBlocks(nn.Module):
    """Two residual blocks of the same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8, stride=2)
        self.first, self.second = conv(8, 12), conv(12, 8)
        self.third, self.fourth = conv(8, 12), conv(12, 8)
        self.head = Classifier(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.second(self.first(x))
        return self.head(x + self.fourth(self.third(x)))


class Dense(nn.Module):
    """Norms that read several layers side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8, stride=2)
        self.norm1, self.conv1 = nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3, padding=1)
        self.norm2, self.conv2 = nn.BatchNorm2d(12), nn.Conv2d(12, 4, 3, padding=1)
        self.norm3, self.head = nn.BatchNorm2d(16), Classifier(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x, self.conv1(F.relu(self.norm1(x)))], 1)
        x = torch.cat([x, self.conv2(F.relu(self.norm2(x)))], 1)
        return self.head(F.relu(self.norm3(x)))


class JoinedThenAdded(nn.Module):
    """Two branches side by side, added to a third that is as wide as both.

    Args:
        whole_first: which operand of the addition comes first: the order in which groups are found follows it.
    """

    def __init__(self, whole_first: bool = False) -> None:
        super().__init__()
        self.few, self.many, self.whole = conv(3, 4, stride=2), conv(3, 6, stride=2), conv(3, 10, stride=2)
        self.read, self.head = conv(10, 8), Classifier(8)
        self.whole_first = whole_first

    def forward(self, x: Tensor) -> Tensor:
        if self.whole_first:
            return self.head(self.read(self.whole(x) + torch.cat([self.few(x), self.many(x)], 1)))
        return self.head(self.read(torch.cat([self.few(x), self.many(x)], 1) + self.whole(x)))


class InvertedResidual(nn.Module):
    """A depthwise convolution with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.expand = conv(3, 6, stride=2), conv(6, 12, 1)
        self.depthwise, self.project = conv(12, 12, groups=12, bias=True), nn.Conv2d(12, 6, 1)
        self.head = Classifier(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.project(self.depthwise(self.expand(x))))


class Grouped(nn.Module):
    """Grouped convolutions with biases, in a chain and beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv(3, 8, stride=2), conv(8, 12, groups=4, bias=True)
        self.third, self.fourth = conv(12, 8), conv(8, 8, groups=2, bias=True)
        self.head = Classifier(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.third(self.second(self.first(x)))
        return self.head(x + self.fourth(x))


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.reduce, self.expand = conv(3, 8, stride=2), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.read, self.head = conv(8, 8), Classifier(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        gate = self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return self.head(self.read(x * torch.sigmoid(gate)))


class Transposed(nn.Module):
    """Transposed convolutions: plain, grouped and depthwise."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.up = conv(3, 8, stride=4), nn.ConvTranspose2d(8, 8, 2, 2)
        self.norm, self.grouped = nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 12, 2, groups=2)
        self.read, self.depthwise = conv(12, 6), nn.ConvTranspose2d(6, 6, 2, groups=6)
        self.head = Classifier(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped(F.relu(self.norm(self.up(self.stem(x)))))
        return self.head(self.depthwise(self.read(x)))


class Flattened(nn.Module):
    """A linear layer that reads each channel at 3 x 2 places, and one after it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv(3, 8, stride=2), conv(8, 6, stride=2)
        self.pool = nn.AdaptiveAvgPool2d((3, 2))
        self.hidden, self.norm, self.linear = nn.Linear(36, 10), nn.BatchNorm1d(10), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.second(self.first(x))).flatten(1)
        return self.linear(F.relu(self.norm(self.hidden(x))))


class FlattenedNorm(nn.Module):
    """A norm over flattened channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.pool = conv(3, 8, stride=2), nn.AdaptiveAvgPool2d((3, 2))
        self.norm, self.linear = nn.BatchNorm1d(48), nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(self.pool(self.first(x)).flatten(1)))


class Vit(nn.Module):
    """One block of a vision transformer: 16 tokens of 16, 4 heads."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.position = nn.Conv2d(3, 16, 8, 8), nn.Parameter(torch.zeros(1, 16, 16))
        self.norm1, self.qkv, self.proj = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 16)
        self.norm2, self.up, self.down = nn.LayerNorm(16), nn.Linear(16, 24), nn.Linear(24, 16)
        self.norm3, self.head = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        n, tokens, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, tokens, 3, 4, 4).permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(attended.transpose(1, 2).reshape(n, tokens, width))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return self.head(self.norm3(x).mean(1))


class Twice(nn.Module):
    """A layer called twice, one that reads itself, and a norm shared by two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.loop, self.norm = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.read, self.head = conv(8, 6), Classifier(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x))
        x = F.relu(self.norm(self.loop(F.relu(self.loop(x)))))
        return self.head(self.read(x))


class Siamese(nn.Module):
    """One tower on both halves of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.linear = conv(3, 8, stride=2), conv(8, 6), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        upper, lower = (self.second(self.first(half)).mean((2, 3)) for half in (x[:, :, :16], x[:, :, 16:]))
        return self.linear(torch.cat([upper, lower], 1))


class Slopes(nn.Module):
    """PReLU with one slope a channel and with one for all; a norm without gain."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.each = nn.Conv2d(3, 8, 3, 2), nn.PReLU(8)
        self.second, self.one = nn.Conv2d(8, 8, 3), nn.PReLU()
        self.third, self.norm = nn.Conv2d(8, 6, 3), nn.BatchNorm2d(6, affine=False)
        self.head = Classifier(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(self.second(self.each(self.first(x))))
        return self.head(F.relu(self.norm(self.third(x))))


class Shuffle(nn.Module):
    """A channel shuffle with its channel count written out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.read, self.head = conv(3, 24, stride=2), conv(24, 8), Classifier(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        h, w = x.shape[2:]
        x = x.reshape(-1, 4, 6, h, w).transpose(1, 2).reshape(-1, 24, h, w)
        return self.head(self.read(x))


class Sliced(nn.Module):
    """A layer that reads a fixed part of another's channels.

    Args:
        part: which of 8.
    """

    def __init__(self, part: slice) -> None:
        super().__init__()
        self.part = part
        self.stem, self.head = conv(3, 8, stride=2), Classifier(8)
        self.read = conv(len(range(8)[part]), 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.read(self.stem(x)[:, self.part]))


class Split(nn.Module):
    """The halves of a layer's channels go different ways."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = conv(3, 16, stride=2), conv(8, 8), conv(8, 8)
        self.head = Classifier(8)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.stem(x).chunk(2, 1)
        return self.head(self.left(left) + self.right(right))


class JoinedThenGrouped(nn.Module):
    """A grouped convolution whose blocks each read another layer."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.grouped = conv(3, 4, stride=2), conv(3, 4, stride=2), conv(8, 8, groups=2)
        self.head = Classifier(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.grouped(torch.cat([self.left(x), self.right(x)], 1)))


class SpatialGate(nn.Module):
    """One map that all channels are multiplied by."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate, self.read = conv(3, 8, stride=2), nn.Conv2d(8, 1, 3, padding=1), conv(8, 8)
        self.head = Classifier(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.read(x * torch.sigmoid(self.gate(x))))


class Closed(nn.Module):
    """Nothing inside can shrink: its one layer is normalised over its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 8, 3, 2), nn.GroupNorm(2, 8), Classifier(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.norm(self.stem(x))))


class OnlyClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((2, 3)))
