"""Run each integer scheme on a small network: does it compute right here, and how fast?

The network is what mobile networks are made of: a 1x1 convolution over many channels, a depthwise 3x3 and a sum.
Weights and activations lie near the ends of their range, so that a kernel that sums products in 16 bits shows it.
The reference is exact integer arithmetic.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pocketlens.targets import Session
from pocketlens.types import Json, Scheme

CHANNELS = 192
SIDE = 14
WRONG = 0.01
"""Mean error, in steps of the output grid, beyond which a scheme computes something else."""

TIE = 0.05
"""Latencies within 5% are the same; full range then wins over 7 bits."""


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What came of it.

    Args:
        scheme: the chosen one.
        figures: scheme -> {"saturates", "error", "latency_ms", "chosen", "reason"}.
    """

    scheme: Scheme
    figures: dict[str, Json]


def probe_schemes(
    schemes: Mapping[str, Scheme],
    rule: str,
    open_network: "Callable[[Network], Session]",
    rounds: int = 15,
    runs: int = 4,
) -> Probed:
    """Try every scheme of a runtime; right ones compete by speed.

    Args:
        schemes: by name, preferred ones first.
        rule: the one that the instruction set speaks for; it is taken when all compute wrong.
        open_network: lowers a network for the runtime and opens it at one thread.
        rounds: turns of each, interleaved.
        runs: inferences a turn.
    """
    sessions, errors = {}, {}
    x = images()
    for name, scheme in schemes.items():
        network = Network(scheme)
        sessions[name] = open_network(network)
        errors[name] = network.error(sessions[name].run(x), x)
    times = _race(sessions, x, rounds, runs)
    right = [name for name in schemes if errors[name] <= WRONG]
    chosen = choose(right or [rule], times)
    figures: dict[str, Json] = {}
    for name in schemes:
        saturates = errors[name] > WRONG
        figures[name] = {
            "saturates": saturates,
            "error": errors[name],
            "latency_ms": times[name],
            "chosen": name == chosen,
            "reason": _reason(name, chosen, saturates, times, rule),
        }
    return Probed(scheme=schemes[chosen], figures=figures)


def choose(right: Sequence[str], times: Mapping[str, float]) -> str:
    """The fastest, but an earlier one where it ties: full range where 7 bits are no faster.

    Args:
        right: schemes that compute right, preferred ones first.
        times: scheme -> latency, ms.
    """
    fastest = min(right, key=lambda name: times[name])
    return next(name for name in right if times[name] <= times[fastest] * (1 + TIE))


def _reason(name: str, chosen: str, saturates: bool, times: Mapping[str, float], rule: str) -> str:
    if saturates:
        return "computes wrong sums here (16-bit saturation)"
    if name == chosen:
        return "right and fastest here" if name == rule else f"right and fastest here, where the rule said {rule}"
    if times[name] > times[chosen] * (1 + TIE):
        return f"right, but {times[name] / times[chosen]:.2f}x slower than {chosen}"
    return f"right, but with half the range for no speed over {chosen}"


def images() -> NDArray[np.float32]:
    """(1, CHANNELS, SIDE, SIDE): on the grid 0..255 of scale 1, mostly near the top."""
    rng = np.random.default_rng(0)
    return rng.integers(200, 256, (1, CHANNELS, SIDE, SIDE)).astype(np.float32)


def _race(sessions: dict[str, Session], x: NDArray[np.float32], rounds: int, runs: int) -> dict[str, float]:
    for session in sessions.values():
        session.run(x)
    turns: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(rounds):
        for name, session in sessions.items():
            start = time.perf_counter()
            for _ in range(runs):
                session.run(x)
            turns[name].append((time.perf_counter() - start) * 1e3 / runs)
    # The shortest: whatever else this machine does only ever adds time.
    return {name: min(values) for name, values in turns.items()}


class Network:
    """Conv 1x1 -> depthwise 3x3 -> + -> logits, in QDQ form, with its exact integer result.

    Args:
        scheme: whose weights it holds.
    """

    def __init__(self, scheme: Scheme) -> None:
        self.scheme = scheme
        rng = np.random.default_rng(1)
        reach = scheme.weight.qmax - (scheme.weight.zero_point or 0)
        signs = rng.choice([-1, 1], (CHANNELS, CHANNELS))
        self.point = (signs * rng.integers(reach * 3 // 4, reach + 1, signs.shape)).astype(np.int64)
        signs = rng.choice([-1, 1], (CHANNELS, 9))
        self.depth = (signs * rng.integers(reach * 3 // 4, reach + 1, signs.shape)).astype(np.int64)
        self.scale_point = float(CHANNELS * 255 * reach) / 255 / 4
        self.scale_depth = float(9 * 255 * reach) / 255 / 2

    def onnx(self) -> bytes:
        """The serialised model."""
        weight = self.scheme.weight
        centre, kind = weight.zero_point or 0, np.uint8 if weight.storage == "uint8" else np.int8
        tensors, nodes = [], []

        def hold(name: str, value: NDArray[np.generic]) -> str:
            tensors.append(numpy_helper.from_array(value, name))
            return name

        def grid(name: str, source: str, scale: float, zero_point: int) -> str:
            s = hold(f"{name}_scale", np.array(scale, np.float32))
            z = hold(f"{name}_zero", np.array(zero_point, np.uint8))
            nodes.append(helper.make_node("QuantizeLinear", [source, s, z], [f"{name}_q"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", s, z], [name]))
            return name

        def weights(name: str, codes: NDArray[np.int64], scale: float) -> str:
            q = hold(f"{name}_codes", (codes + centre).astype(kind))
            s = hold(f"{name}_scale", np.full(CHANNELS, scale, np.float32))
            z = hold(f"{name}_zero", np.full(CHANNELS, centre, kind))
            nodes.append(helper.make_node("DequantizeLinear", [q, s, z], [name], axis=0))
            return name

        x = grid("x", "input", 1.0, 0)
        w = weights("w", self.point.reshape(CHANNELS, CHANNELS, 1, 1), 1.0)
        nodes.append(helper.make_node("Conv", [x, w], ["a"]))
        a = grid("a_grid", "a", self.scale_point, 128)
        d = weights("d", self.depth.reshape(CHANNELS, 1, 3, 3), 1 / self.scale_depth)
        nodes.append(helper.make_node("Conv", [a, d], ["b"], group=CHANNELS, pads=[1, 1, 1, 1]))
        b = grid("b_grid", "b", self.scale_point, 128)
        nodes.append(helper.make_node("Add", [a, b], ["c"]))
        c = grid("c_grid", "c", 2 * self.scale_point, 128)
        nodes.append(helper.make_node("Identity", [c], ["logits"]))
        shape = [1, CHANNELS, SIDE, SIDE]
        graph = helper.make_graph(
            nodes,
            "probe",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
            tensors,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        onnx.checker.check_model(model)
        return model.SerializeToString()

    def error(self, outputs: NDArray[np.float32], x: NDArray[np.float32]) -> float:
        """Mean difference from exact integer arithmetic, in steps of the output grid.

        A kernel may round a half-way case either way, so differences of one step do not count.

        Args:
            outputs: what a kernel gave for `x`, (1, CHANNELS, SIDE, SIDE).
            x: of `images`.
        """
        steps = np.abs(outputs - self.exact(x)) / (2 * self.scale_point)
        return float(np.where(steps > 1.5, steps, 0).mean())

    def exact(self, x: NDArray[np.float32], point: "NDArray[np.int64] | None" = None) -> NDArray[np.float64]:
        """The result in exact integer arithmetic.

        Args:
            x: of `images`.
            point: sums of the 1x1 convolution to go on with, (CHANNELS, SIDE * SIDE); None computes them.
        """
        pixels = x[0].astype(np.int64).reshape(CHANNELS, -1)
        sums = self.point @ pixels if point is None else point
        a = _round(sums, self.scale_point).reshape(CHANNELS, SIDE, SIDE)
        padded = np.pad(a, ((0, 0), (1, 1), (1, 1)))
        kernel = self.depth.reshape(CHANNELS, 3, 3)
        b = sum(kernel[:, i, j, None, None] * padded[:, i : i + SIDE, j : j + SIDE] for i in range(3) for j in range(3))
        b = _round(np.asarray(b, np.int64), self.scale_depth)
        c = _round(a + b, 2)
        return np.asarray(c * 2 * self.scale_point, np.float64)[np.newaxis]


def _round(value: "NDArray[np.int64] | NDArray[np.float64]", scale: float) -> NDArray[np.int64]:
    """Onto the grid 0..255 at zero point 128, as steps from zero."""
    return np.clip(np.rint(value / scale), -128, 127).astype(np.int64)
