from pathlib import Path

import pytest

from pocketlens.errors import ConfigError, UnknownNameError
from pocketlens.passes.cast_half import CastHalf
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.recipe import Chain, bind, read
from pocketlens.squeeze.elsewhere import check_fits, for_device
from pocketlens.squeeze.plan import SqueezePlan
from pocketlens.targets.onnxruntime.schemes import U8U8
from pocketlens.targets.onnxruntime.target import OnnxRuntime
from pocketlens.targets.presets.simulated import Simulated
from pocketlens.targets.presets.table import PRESETS


def test_recipes_that_fit() -> None:
    check_fits(read("int8"), PRESETS["tensorrt"])
    check_fits(read("half"), PRESETS["apple"])
    device = Simulated(preset=PRESETS["qnn-htp"])
    check_fits(bind(read("int8"), device.profile()), PRESETS["qnn-htp"])  # bound to this very scheme


@pytest.mark.parametrize(
    ("recipe", "preset", "word"),
    [
        (read("half"), "qnn-htp", "half has no pass that takes a scheme; use --recipe int8"),
        (Chain(FoldBatchNorm(), name="fold"), "tensorrt", "fold has no pass that takes a scheme"),
        (read("int8"), "apple", "16-bit floats, and the recipe int8 makes none; use --recipe half"),
        (Chain(FoldBatchNorm(), QuantizeStatic(scheme=U8U8), name="own"), "tensorrt", "names a scheme of its own"),
    ],
)
def test_recipes_that_do_not(recipe: Chain, preset: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        check_fits(recipe, PRESETS[preset])


def test_a_plan_for_a_device_elsewhere_times_nothing() -> None:
    plan = SqueezePlan(recipe=Chain(CastHalf(), name="half"), target=Simulated(preset=PRESETS["apple"]), out=Path("x"))
    assert plan.preset is PRESETS["apple"]
    assert plan.timed == ()
    here = SqueezePlan(recipe=Chain(CastHalf(), name="half"), target=OnnxRuntime(), out=Path("x"))
    assert here.preset is None
    assert here.timed == (1, 2)


def test_only_the_runtime_that_the_device_reads_takes_its_form() -> None:
    here = OnnxRuntime()
    assert for_device({"made_for": "edgetpu"}, here) == (here, None)
    assert for_device({}, here) == (here, None)
    with pytest.raises(UnknownNameError, match="npu"):
        for_device({"made_for": "npu"}, here)
