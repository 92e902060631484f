"""Before tracing: swap modules that say the same as a leaf of the vocabulary for that leaf."""

import copy

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "Swish": nn.SiLU,
    "SwishMe": nn.SiLU,
    "MemoryEfficientSwish": nn.SiLU,
    "HardSwish": nn.Hardswish,
    "HardSwishMe": nn.Hardswish,
    "HardSigmoid": nn.Hardsigmoid,
    "HardSigmoidMe": nn.Hardsigmoid,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
    "Mish": nn.Mish,
    "MishMe": nn.Mish,
    "GELU": nn.GELU,
}
"""Class names of activations that timm and efficientnet-lite-pytorch define for themselves."""

_DROPPED = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Identity)

_DROPPED_NAMES = ("DropPath", "DropBlock2d", "StochasticDepth")
"""Class names of what timm and torchvision drop in training only."""


def normalise_modules(module: nn.Module) -> None:
    """Replace, in place: own activations by torch's, norm-with-activation by norm and activation, dropout by nothing.

    `canonicalise` compares outputs before and after, so a class that only shares its name does not slip through.
    """
    for name, child in list(module.named_children()):
        replacement = _replacement(child)
        if replacement is not child:
            setattr(module, name, replacement)
        normalise_modules(replacement)


def _replacement(module: nn.Module) -> nn.Module:
    kind = type(module)
    if isinstance(module, _DROPPED) or kind.__name__ in _DROPPED_NAMES:
        return nn.Identity()
    if isinstance(module, nn.Hardtanh) and (module.min_val, module.max_val) == (0, 6):
        return nn.ReLU6()
    if kind.__module__.startswith("torch.nn."):
        return module
    if kind.__name__ in ACTIVATIONS and not list(module.parameters()):
        return ACTIVATIONS[kind.__name__]()
    if kind.__name__ == "GELUTanh":
        return nn.GELU(approximate="tanh")
    if isinstance(module, nn.BatchNorm2d) and hasattr(module, "act"):
        return _with_activation(module, _plain_batch_norm(module))
    if isinstance(module, nn.GroupNorm | nn.LayerNorm) and hasattr(module, "act"):
        plain = copy.copy(module)
        object.__setattr__(plain, "__class__", nn.GroupNorm if isinstance(module, nn.GroupNorm) else nn.LayerNorm)
        return _with_activation(module, plain)
    return module


def _with_activation(module: nn.Module, norm: nn.Module) -> nn.Module:
    """Timm's BatchNormAct2d and its kin: norm, then dropout (nothing in evaluation), then activation."""
    return nn.Sequential(norm, module.act)  # pyright: ignore[reportArgumentType]


def _plain_batch_norm(module: nn.BatchNorm2d) -> nn.BatchNorm2d:
    plain = nn.BatchNorm2d(module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats)
    plain.load_state_dict(module.state_dict(), strict=False)
    return plain.train(module.training)
