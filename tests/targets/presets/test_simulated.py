import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pocketlens.errors import TargetError
from pocketlens.ops.quantized import QuantizedConv2d, QuantizeDequantize
from pocketlens.targets.by_hand import network
from pocketlens.targets.onnxruntime.session import open_session
from pocketlens.targets.onnxruntime.target import OnnxRuntime
from pocketlens.targets.presets.preset import Preset
from pocketlens.targets.presets.simulated import Simulated
from pocketlens.targets.presets.table import PRESETS
from pocketlens.types import Artifact, Model, RacePlan

X = np.random.default_rng(0).standard_normal((3, 3, 32, 32), np.float32)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_file_computes_what_the_simulation_does(
    name: str, made: Callable[[Preset], Model], exported: Callable[[str], Artifact]
) -> None:
    """Three images through a file that may take one."""
    preset = PRESETS[name]
    model = made(preset)
    with torch.inference_mode():
        expected = model.graph(torch.from_numpy(X)).numpy()
    (got,) = Simulated(preset=preset).outputs(exported(name), [X], threads=1)
    step = 0.05 if preset.scheme is None else 0.02
    assert got.shape == (3, 4)
    np.testing.assert_allclose(got, expected, atol=step * np.abs(expected).max())


def test_sums_that_saturate_here_are_right_in_the_simulation(tmp_path: Path) -> None:
    """255 * 127 twice: 64,770, where 16 bits end at 32,767. Such pairs are what plain AVX2 kernels add up."""
    grid = QuantizeDequantize(torch.tensor(1.0), torch.tensor(0), 0, 255, "uint8")
    codes = torch.full((4, 8, 1, 1), 127, dtype=torch.int8)
    layer = QuantizedConv2d(codes, torch.full((4,), 1 / 127), None, "int8")
    out = QuantizeDequantize(torch.tensor(8.0), torch.tensor(0), 0, 255, "uint8")
    model = network(nn.Sequential(grid, layer, out), (8, 1, 1))
    device = Simulated(preset=PRESETS["arm-dotprod"])
    artifact = OnnxRuntime().lower(model, "int8", tmp_path)
    (got,) = device.outputs(artifact, [np.full((1, 8, 1, 1), 255, np.float32)], threads=1)
    assert got.ravel().tolist() == [2040.0] * 4  # 8 * 255


def test_no_kernel_of_this_machine_adds_up_integers(exported: Callable[[str], Artifact], tmp_path: Path) -> None:
    artifact = exported("qnn-htp")
    session = open_session(
        artifact.graph, artifact.weights, {"session.disable_quant_qdq": "1"}, 1, profile_prefix=str(tmp_path / "p")
    )
    session.run(X)
    events = json.loads(session.end_profiling().read_text("utf-8"))
    ran = {e["args"]["op_name"] for e in events if "op_name" in e.get("args", {})}
    assert not {name for name in ran if name.startswith(("QLinear", "QGemm"))}
    assert not artifact.session  # what ships opens as the device's runtime likes it


def test_the_profile_has_the_scheme_of_the_device() -> None:
    assert Simulated(preset=PRESETS["tensorrt"]).profile().scheme == PRESETS["tensorrt"].scheme
    assert Simulated(preset=PRESETS["apple"]).profile().scheme is None


def test_nothing_is_timed(exported: Callable[[str], Artifact]) -> None:
    device = Simulated(preset=PRESETS["arm-i8mm"])
    artifact = exported("arm-i8mm")
    assert device.layer_times(artifact) == ()
    with pytest.raises(TargetError, match="nothing can be timed on Arm"):
        device.race([artifact], RacePlan())


def test_a_model_that_breaks_a_rule_is_not_lowered(made: Callable[[Preset], Model], tmp_path: Path) -> None:
    """Made for the dot product, with zero points that TensorRT does not take."""
    model = made(PRESETS["arm-dotprod"])
    with pytest.raises(TargetError, match=r"does not suit NVIDIA.* breaks the rule on zero point: .*\(and \d+ more\)"):
        Simulated(preset=PRESETS["tensorrt"]).lower(model, "int8", tmp_path)


def test_the_original_stays_as_it_is(tiny: Model, tmp_path: Path) -> None:
    artifact = Simulated(preset=PRESETS["qnn-htp"]).lower(tiny, "fp32", tmp_path)
    assert artifact.arithmetic == "float32"
    assert open_session(artifact.graph, artifact.weights, {}, 1).run(X).shape == (3, 4)
