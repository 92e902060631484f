"""Numerics: integer grids and schemes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pocketlens.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class IntegerFormat:
    """An integer grid: real = scale * (q - zero_point), qmin <= q <= qmax.

    Args:
        storage: the dtype in the file.
        qmin: smallest value used, inclusive (a 7-bit weight uses half the storage's range).
        qmax: largest value used, inclusive.
        zero_point: the one zero point that all tensors share; None lets each tensor have its own.
    """

    storage: Literal["uint8", "int8"]
    qmin: int
    qmax: int
    zero_point: int | None = None

    def __post_init__(self) -> None:
        low, high = (0, 255) if self.storage == "uint8" else (-128, 127)
        if not low <= self.qmin < self.qmax <= high:
            raise ConfigError(f"{self.storage} holds {low}..{high}, got qmin={self.qmin}, qmax={self.qmax}")
        if self.zero_point is not None and not self.qmin <= self.zero_point <= self.qmax:
            raise ConfigError(f"`zero_point` must lie in {self.qmin}..{self.qmax}, got {self.zero_point}")


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """How a target computes with integers. Data, chosen by a profile's rule and confirmed by a probe.

    Operator kinds are the names of `models.vocabulary.kind`: "conv", "linear", "add", "relu", "relu6" ...

    Args:
        name: for people, for example "u8s8".
        activation: grid of activations, per tensor.
        weight: grid of weights.
        granularity: "per_channel" (one scale an output channel) or "per_tensor".
        operators: kinds computed in integers.
        fused: kinds that fuse into the operator before them (no grid in between): activations, and "add" where a sum
            fuses into the layer that gives its last operand; its other operand is then on a grid.
        shared: kinds whose output keeps the grid of their input.
        per_tensor: kinds of layer whose weights have one scale whatever `granularity` says.
        float_output: whether the last linear layer may give floats (no grid on the logits).
        fixed: kinds whose output has the one grid of their whole range: sigmoid, softmax, tanh.
        output_grids: whether an operator's own output is put on a grid even where only floats read it.
    """

    name: str
    activation: IntegerFormat
    weight: IntegerFormat
    granularity: Literal["per_channel", "per_tensor"] = "per_channel"
    operators: frozenset[str] = frozenset({"conv", "linear", "add"})
    fused: frozenset[str] = frozenset({"relu", "relu6"})
    shared: frozenset[str] = frozenset({"max_pool", "flatten", "dropout"})
    per_tensor: frozenset[str] = frozenset({"conv_transpose"})
    fixed: frozenset[str] = frozenset()
    float_output: bool = True
    output_grids: bool = True
