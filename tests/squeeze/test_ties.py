"""A tied network from a recipe to the bundle."""

from pathlib import Path

from tests.conftest import SPEC
from tests.networks import TwinBlocks, shaken

from pocketlens.bundle import open_bundle
from pocketlens.bundle.unpack import unpack
from pocketlens.models.canonical import canonicalise
from pocketlens.recipe import from_toml
from pocketlens.squeeze.plan import SqueezePlan
from pocketlens.squeeze.run import run
from pocketlens.squeeze.shape import shape_passes
from pocketlens.targets import load_target
from pocketlens.targets.onnxruntime.blob import external_tensors
from pocketlens.types import Data, ImageSet

RECIPE = """
[[pass]]
use = "TieLayers"
layers = [["first_0", "third_0"], ["second_0", "fourth_0"]]

[[pass]]
use = "Distil"
epochs = 1
batch_size = 8
augment = "none"
precision = "float32"

[[pass]]
use = "FoldBatchNorm"

[[pass]]
use = "QuantizeStatic"

[[pass]]
use = "MatchMoments"
"""

NUMBERS = 12 * 8 * 9
"""Of each of the four weights that are two."""


def test_the_bundle_holds_each_tied_weight_once(images: ImageSet, tmp_path: Path) -> None:
    model = canonicalise(shaken(TwinBlocks()), SPEC)
    data = Data(train=images, calibration=images, validation=images, test=images)
    plan = SqueezePlan(
        recipe=from_toml(RECIPE), target=load_target("onnxruntime"), out=tmp_path / "tied.lens", threads=(1,)
    )
    squeezed = run(model, data, plan)
    assert [stage.record.name for stage in squeezed.stages] == [
        "TieLayers", "Distil", "FoldBatchNorm", "QuantizeStatic", "MatchMoments",
    ]  # fmt: skip
    assert squeezed.stages[3].record.summary["layers_with_codes_of_others"] == 2
    with open_bundle(squeezed.bundle) as bundle:
        for graph in bundle.manifest.graphs:
            folder = tmp_path / graph.name
            folder.mkdir()
            artifact = unpack(bundle, folder, graph.name)
            spans = external_tensors(artifact.graph)
            assert sum(span.length == NUMBERS for span in spans) == 2
            assert artifact.weights is not None
            assert artifact.weights.stat().st_size < 2 * NUMBERS + 3 * 8 * 9 + 2000  # and scales and biases


def test_ties_belong_to_the_shape_that_all_runtimes_share() -> None:
    assert shape_passes(from_toml(RECIPE)) == 2
