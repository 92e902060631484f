import time

import numpy as np
import pytest

from pocketlens.targets.onnxruntime.schemes import SCHEMES
from pocketlens.targets.onnxruntime.session import open_session
from pocketlens.targets.scheme_probe import CHANNELS, WRONG, Network, choose, images, probe_schemes


def saturated(point: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What `vpmaddubsw` gives (AVX2 and AVX-512 without VNNI): pairs of products are added in 16 bits.

    Stands in for processors that the tests do not run on.
    """
    products = point[:, :, None] * x[0].astype(np.int64).reshape(1, CHANNELS, -1)
    pairs = products.reshape(CHANNELS, CHANNELS // 2, 2, -1).sum(2)
    return np.clip(pairs, -(2**15), 2**15 - 1).sum(1)


def test_the_exact_result_of_one_pixel_by_hand() -> None:
    network = Network(SCHEMES["u8s8"])
    x = images()
    # Channel 0 at (0, 0), the corner: only the lower right 2 x 2 of the depthwise kernel meets pixels.
    near = [(0, 0), (0, 1), (1, 0), (1, 1)]
    a = {p: round(int(network.point[0] @ x[0, :, *p].astype(int)) / network.scale_point) for p in near}
    kernel = network.depth[0].reshape(3, 3)
    b = round(sum(int(kernel[1 + i, 1 + j]) * a[i, j] for i, j in near) / network.scale_depth)
    c = round((a[0, 0] + b) / 2)
    assert network.exact(x)[0, 0, 0, 0] == pytest.approx(c * 2 * network.scale_point)


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_the_network_uses_its_grids_well(name: str) -> None:
    network = Network(SCHEMES[name])
    steps = network.exact(images()) / (2 * network.scale_point)
    assert steps.std() > 10
    assert (np.abs(steps) > 126).mean() < 0.05


def test_a_kernel_that_saturates_is_found_out() -> None:
    x = images()
    errors = {}
    for name in ("u8s8", "u8s8_7bit"):
        network = Network(SCHEMES[name])
        outputs = network.exact(x, saturated(network.point, x)).astype(np.float32)
        errors[name] = network.error(outputs, x)
    assert errors["u8s8"] > 100 * WRONG
    assert errors["u8s8_7bit"] == 0


def test_rounding_of_half_way_cases_is_forgiven() -> None:
    network, x = Network(SCHEMES["u8s8"]), images()
    one_step = 2 * network.scale_point
    assert network.error((network.exact(x) + one_step).astype(np.float32), x) == 0
    assert network.error((network.exact(x) + 2 * one_step).astype(np.float32), x) == pytest.approx(2)


def test_choosing_by_hand() -> None:
    every = ["u8s8", "u8u8", "u8s8_7bit"]
    assert choose(every, {"u8s8": 1.0, "u8u8": 2.0, "u8s8_7bit": 0.97}) == "u8s8"  # a tie: full range
    assert choose(every[1:], {"u8s8": 0.1, "u8u8": 1.04, "u8s8_7bit": 1.0}) == "u8u8"  # wrong, however fast
    assert choose(every[1:], {"u8s8": 0.1, "u8u8": 1.2, "u8s8_7bit": 1.0}) == "u8s8_7bit"
    assert choose(["u8u8"], {"u8s8": 1.0, "u8u8": 9.0, "u8s8_7bit": 1.0}) == "u8u8"


def test_the_probe_on_this_machine() -> None:
    start = time.perf_counter()
    probed = probe_schemes(SCHEMES, "u8u8", lambda network: open_session(network.onnx(), None, {}, 1, spinning=False))
    assert time.perf_counter() - start < 3
    assert probed.scheme is SCHEMES[probed.scheme.name]
    chosen = probed.figures[probed.scheme.name]
    assert chosen["chosen"]
    assert not chosen["saturates"]
    # Neither can saturate anywhere: 7 bits by their range, u8 weights because they take the other kernel.
    for name in ("u8u8", "u8s8_7bit"):
        assert probed.figures[name]["error"] <= WRONG
    for figures in probed.figures.values():
        assert figures["latency_ms"] > 0
        assert figures["reason"]
