import operator
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import SPEC

from pocketlens.models.canonical import clone
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.prune_channels import PruneChannels
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.squeeze.embedding import fit_whitening
from pocketlens.squeeze.graphs import lower_graphs
from pocketlens.targets import load_target
from pocketlens.targets.onnxruntime.schemes import SCHEMES
from pocketlens.types import Context, ImageSet, Model, Target

TARGET: Target = load_target("onnxruntime")


def test_graphs_of_a_bundle_give_nearly_the_same_vectors(
    tiny: Model, context: Context, images: ImageSet, tmp_path: Path
) -> None:
    folded = FoldBatchNorm()(tiny, context).model
    model = QuantizeStatic(scheme=SCHEMES["u8u8"], activations="minmax")(folded, context).model
    graphs = lower_graphs(model, TARGET, tmp_path / "graphs")
    whitening = fit_whitening(graphs[0], model.graph, images, TARGET)
    assert whitening is not None
    assert (whitening.features, whitening.dimensions) == (8, 8)
    pixels = next(iter(images.batches(SPEC.preprocessing, 24))).images
    int8, floats = (whitening.apply(next(iter(TARGET.all_outputs(graph, [pixels])))["embedding"]) for graph in graphs)
    np.testing.assert_allclose(np.linalg.norm(int8, axis=1), 1, rtol=1e-5)
    cosines = (int8 * floats).sum(axis=1)
    assert np.median(cosines) > 0.95
    # Images are nearer to themselves than to others.
    assert np.mean((int8 @ floats.T).argmax(axis=1) == np.arange(24)) > 0.8


def test_a_pruned_network_has_one_of_its_own_width(
    tiny: Model, context: Context, images: ImageSet, tmp_path: Path
) -> None:
    model = PruneChannels(ratio=0.5, multiple=1)(tiny, context).model
    (graph,) = lower_graphs(model, TARGET, tmp_path / "graphs")
    whitening = fit_whitening(graph, model.graph, images, TARGET)
    assert whitening is not None
    assert whitening.features == model.graph.get_submodule("classifier").in_features


def test_without_a_linear_end_there_is_none(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    model = clone(tiny)
    output = next(node for node in model.graph.graph.nodes if node.op == "output")
    with model.graph.graph.inserting_before(output):
        output.args = (model.graph.graph.call_function(operator.mul, (output.args[0], 2.0)),)
    model.graph.recompile()
    (graph,) = lower_graphs(model, TARGET, tmp_path / "graphs")
    assert fit_whitening(graph, model.graph, images, TARGET) is None


@pytest.mark.parametrize("count", [1, 2])
def test_one_image_tells_nothing_of_spread(count: int, tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    (graph,) = lower_graphs(tiny, TARGET, tmp_path / "graphs")
    whitening = fit_whitening(graph, tiny.graph, images.subset(range(count)), TARGET)
    assert (whitening is None) == (count == 1)
