"""What people bring by mistake, through whole recipes to the file: it works, or one line says what is wrong where."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import SPEC
from tests.networks import Classifier, Grouped, Transposed, Twice, conv, shaken
from torch import Tensor, nn

from pocketlens import recipe as recipes
from pocketlens.datasets.folder import folder
from pocketlens.datasets.image_set import LazyImageSet
from pocketlens.errors import PassError, PocketlensError, RecipeError, WeightsError
from pocketlens.models.canonical import canonicalise
from pocketlens.passes.correct_bias import CorrectBias
from pocketlens.passes.equalize_channels import EqualizeChannels
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.keep_float import KeepFloat
from pocketlens.passes.match_moments import MatchMoments
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.passes.round_adaptively import RoundAdaptively
from pocketlens.recipe import Chain
from pocketlens.targets import load_target
from pocketlens.targets.onnxruntime.schemes import SCHEMES
from pocketlens.types import Batch, Context, Data, ImageSet, Model, Preprocessing, Record

SCHEME = SCHEMES["u8u8"]
"""Right on every CPU."""

CHAINS = {
    "repaired": Chain(FoldBatchNorm(), EqualizeChannels(), QuantizeStatic(scheme=SCHEME), MatchMoments()),
    "rounded": Chain(
        FoldBatchNorm(),
        QuantizeStatic(scheme=SCHEME, activations="minmax"),
        RoundAdaptively(iterations=50, positions=512),
        KeepFloat(worst=1, scheme=SCHEME),
    ),
}

FLOAT_DB, FILE_DB = 15.0, 30.0
"""Between quantized and float; between file and simulation."""


class Dilated(nn.Module):
    """Dilated convolutions, one of them depthwise."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.wide = conv(3, 8, stride=2), nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.deep = nn.Conv2d(8, 8, 3, padding=3, dilation=3, groups=8)
        self.head = Classifier(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.deep(torch.relu(self.wide(self.stem(x))))))


class Dead(nn.Module):
    """A channel without weights, one whose ReLU never opens, and a branch that gives nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch, self.read = conv(3, 8, stride=2, bias=True), conv(8, 8), conv(8, 8)
        self.head = Classifier(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.read(x + self.branch(x)))


def dead() -> nn.Module:
    module: Any = shaken(Dead())
    module.stem[0].weight.data[2] = 0
    module.stem[1].bias.data[5] = -100.0
    for parameter in module.branch.parameters():
        parameter.data.zero_()
    return module


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "grouped": lambda: shaken(Grouped()),
    "dilated": lambda: shaken(Dilated()),
    "transposed": lambda: shaken(Transposed()),
    "called twice": lambda: shaken(Twice()),
    "dead": dead,
}


def sqnr(wanted: np.ndarray, got: np.ndarray) -> float:
    assert np.isfinite(got).all()
    return float(10 * np.log10(np.square(wanted).sum() / max(float(np.square(got - wanted).sum()), 1e-30)))


def pixels(images: ImageSet) -> np.ndarray:
    return np.concatenate([batch.images for batch in images.batches(SPEC.preprocessing, 24)])


def pictures(folder_: Path, *colours: int) -> ImageSet:
    for place, colour in enumerate(colours):
        Image.fromarray(np.full((40, 40, 3), colour, np.uint8)).save(folder_ / f"{place}.png")
    return folder(folder_)


def quantized(name: str, model: Model, context: Context) -> tuple[Model, tuple[Record, ...]]:
    return recipes.run(CHAINS[name], model, replace(context, original=model))


def compare(model: Model, result: Model, x: np.ndarray, place: Path) -> tuple[float, float]:
    """SQNR of the simulation against the float model, and of the file against the simulation."""
    with torch.inference_mode():
        wanted, simulated = (m.graph(torch.from_numpy(x)).numpy() for m in (model, result))
    target = load_target("onnxruntime")
    (place / "file").mkdir()
    got = next(iter(target.outputs(target.lower(result, "int8", place / "file"), [x], threads=1)))
    return sqnr(wanted, simulated), sqnr(simulated, got)


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("network", NETWORKS)
def test_odd_networks_work(network: str, chain: str, context: Context, images: ImageSet, tmp_path: Path) -> None:
    model = canonicalise(NETWORKS[network](), SPEC)
    result, _ = quantized(chain, model, context)
    to_float, to_file = compare(model, result, pixels(images), tmp_path)
    assert to_float >= FLOAT_DB
    assert to_file >= FILE_DB


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("case", ["alike", "black", "single", "few"])
def test_odd_calibration_images_work(
    case: str, chain: str, tiny: Model, context: Context, images: ImageSet, tmp_path: Path
) -> None:
    """What was calibrated on is still answered as before, and the record says what is amiss."""
    (tmp_path / "set").mkdir()
    sets = {
        "alike": lambda: images.subset([0] * 6),
        "black": lambda: pictures(tmp_path / "set", 0, 0, 0),
        "single": lambda: images.subset([0]),
        "few": lambda: images.subset([0, 7, 14]),  # MatchMoments asks for 64, RoundAdaptively for 100
    }
    own = sets[case]()
    result, records = quantized(chain, tiny, replace(context, data=Data(calibration=own, validation=own)))
    to_float, to_file = compare(tiny, result, pixels(own), tmp_path)
    assert to_float >= FLOAT_DB
    assert to_file >= FILE_DB
    record = next(r for r in records if r.name == "QuantizeStatic")
    assert record.summary["calibration_images"] == len(own)
    assert any("all calibration images are the same" in note for note in record.notes) == (case != "few")
    with torch.inference_mode():
        assert torch.isfinite(result.graph(torch.from_numpy(pixels(images)))).all()


@dataclass(kw_only=True, eq=False)
class Poisoned(LazyImageSet):
    """A set of a user's own that gives what no picture decodes to."""

    value: float

    def batches(self, preprocessing: Preprocessing, batch_size: int) -> Iterator[Batch]:
        for batch in super().batches(preprocessing, batch_size):
            batch.images[0, 0, 0, 0] = self.value
            yield batch


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_images_of_no_numbers_are_refused_where_they_enter(
    value: float, tiny: Model, context: Context, images: ImageSet
) -> None:
    assert isinstance(images, LazyImageSet)
    own = Poisoned(name="own", items=images.items, labelled=True, value=value)
    with pytest.raises(PassError, match=r"QuantizeStatic .*NaN or infinity, in x while calibrating"):
        quantized("repaired", tiny, replace(context, data=Data(calibration=own)))


def test_activations_that_overflow_are_named(tiny: Model, context: Context) -> None:
    """Sound weights whose products are not: 1e25 times 1e25."""
    for name in ("expand_0", "depthwise_0"):
        tiny.graph.get_submodule(name).get_parameter("weight").data.mul_(1e25)
    for name in ("expand_2", "depthwise_2"):
        tiny.graph.set_submodule(name, nn.ReLU())
    with pytest.raises(PassError, match=r"QuantizeStatic .*NaN or infinity, in depthwise_\w+ while calibrating"):
        quantized("rounded", tiny, context)
    with pytest.raises(WeightsError, match="NaN or infinity for a random image, first in depthwise_0"):
        canonicalise(tiny.graph, SPEC)


@pytest.mark.parametrize(("tensor", "said"), [("weight", "classifier"), ("bias", "bias of classifier")])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_last_layer_that_is_no_number_is_named(
    tensor: str, said: str, value: float, tiny: Model, context: Context
) -> None:
    """Nothing behind it is watched while calibrating."""
    tiny.graph.get_submodule("classifier").get_parameter(tensor).data.view(-1)[0] = value
    with pytest.raises(PassError, match=rf"QuantizeStatic .*{said} holds NaN or infinity"):
        quantized("rounded", tiny, context)


ALREADY = {
    "QuantizeStatic": QuantizeStatic(scheme=SCHEME),
    "EqualizeChannels": EqualizeChannels(),
    "RoundAdaptively": RoundAdaptively(),
    "CorrectBias": CorrectBias(),
    "MatchMoments": MatchMoments(),
    "KeepFloat": KeepFloat(scheme=SCHEME),
}


@pytest.mark.parametrize("name", ALREADY)
def test_a_model_that_came_in_quantized(name: str, tiny: Model, context: Context) -> None:
    """Its float weights are gone, so nothing can be compared with them."""
    model, _ = quantized("repaired", tiny, context)
    refusals = r"needs a model that is not quantized yet; give it as it was before|run both in one Chain"
    with pytest.raises((RecipeError, PassError), match=rf"pass 1 of 1, {name}\W.*({refusals})") as caught:
        recipes.run(Chain(ALREADY[name]), model, context)
    assert "\n" not in str(caught.value)


def test_a_network_without_layers_that_quantize(context: Context) -> None:
    class Pooled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))

    spec = replace(SPEC, class_ids=("r", "g", "b"), labels=("r", "g", "b"))
    with pytest.raises(PocketlensError, match=r"no layer of tiny computes in integers .*conv") as caught:
        quantized("repaired", canonicalise(Pooled(), spec), context)
    assert "\n" not in str(caught.value)
