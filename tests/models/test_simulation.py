from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import SPEC, randomised
from tests.training.conftest import PLAN, course
from torch import Tensor, nn

from pocketlens.models.activation_grids import ActivationGrid, insert_leaf
from pocketlens.models.canonical import canonicalise, clone
from pocketlens.models.integer_layers import integer_layer
from pocketlens.models.simulation import IntegerSimulation, StartingGrid, finish
from pocketlens.models.starting_weights import LearnedWeight
from pocketlens.ops.learned_step import Steps
from pocketlens.ops.masks import held, zeros_of
from pocketlens.ops.quantized import QuantizedConv2d, QuantizeDequantize
from pocketlens.training.loop import train
from pocketlens.types import ImageSet, IntegerFormat, Model

FORM = IntegerFormat(storage="uint8", qmin=0, qmax=15)


def simulation(model: Model, **changes: Any) -> IntegerSimulation:
    """Two convolutions at 3 bits, the activation between them at 4."""
    grid = ActivationGrid.covering(0.0, 5.0, FORM, (0.0, 6.0))
    given: dict[str, Any] = {
        "points": {"expand_2": StartingGrid("expand_2_grid", grid)}, "shared": {}, "learned": True,
        "freeze_batchnorm": 0.5,
    }  # fmt: skip
    if "layers" not in changes:
        given["layers"] = {path: starting(model, path) for path in ("expand_0", "depthwise_0")}
    return IntegerSimulation(**(given | changes))


def starting(model: Model, path: str) -> LearnedWeight:
    layer = model.graph.get_submodule(path)
    assert isinstance(layer, nn.Conv2d)
    return LearnedWeight(integer_layer(layer, path, reach=3, per_channel=True, ranges="mse", storage="int8"), 3)


def test_what_is_left_computes_what_was_imitated(tiny: Model) -> None:
    x = torch.randn(4, 3, 32, 32)
    plain = tiny.graph(x)
    graph = tiny.graph
    imitation = simulation(tiny)
    with imitation.held(graph):
        graph.get_submodule("expand_2_grid").step.data *= 1.3  # pyright: ignore  as if learned
        imitation.before_forward(graph, 0.0)
        imitated = graph(x)
    assert not torch.allclose(imitated, plain, atol=1e-3)
    assert torch.allclose(graph(x), imitated, atol=1e-5)
    leaf, grid = graph.get_submodule("depthwise_0"), graph.get_submodule("expand_2_grid")
    assert isinstance(leaf, QuantizedConv2d)
    assert int(leaf.codes.abs().max()) == 3
    assert isinstance(grid, QuantizeDequantize)
    # 1.3 * 5 reaches past the ReLU6, so it ends at 6
    assert float(grid.scale) * 15 == pytest.approx(6.0)
    assert float(grid.scale) * 15 <= 6.0
    assert not [m for m in graph.modules() if isinstance(m, Steps)]


def test_masked_weights_stay_zero(tiny: Model) -> None:
    graph = tiny.graph
    weight: Tensor = graph.get_submodule("expand_0").weight  # pyright: ignore
    weight.data[::2] = 0
    masks = {"expand_0": zeros_of(graph)["expand_0"]}
    with simulation(tiny).held(graph), held(graph, masks):
        graph.get_submodule("expand_0").parametrizations.weight.original.data += 1.0  # pyright: ignore
    leaf = graph.get_submodule("expand_0")
    assert isinstance(leaf, QuantizedConv2d)
    assert not leaf.codes[::2].any()
    assert leaf.codes[1::2].any()


def test_batch_norms_freeze_late_and_their_layers_go_on(tiny: Model) -> None:
    imitation = simulation(tiny)
    with imitation.held(tiny.graph):
        norms = [m for m in tiny.graph.modules() if isinstance(m, nn.BatchNorm2d)]
        tiny.graph.train()
        imitation.before_forward(tiny.graph, 0.49)
        assert all(norm.training for norm in norms)
        imitation.before_forward(tiny.graph, 0.5)
        assert not any(norm.training for norm in norms)
        assert all(norm.weight.requires_grad for norm in norms)


def test_it_trains_in_the_one_loop(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    """Frozen at once, the statistics are as they came; steps and weights learn."""
    before = {n: b.clone() for n, b in tiny.graph.named_buffers()}
    imitation = simulation(tiny, freeze_batchnorm=0.0)
    trained = train(tiny, PLAN, course(tiny, images, tmp_path, simulation=imitation)).model.graph
    after = dict(trained.named_buffers())
    assert torch.equal(after["expand_1.running_mean"], before["expand_1.running_mean"])
    moved = after["depthwise_0.weight_scale"] / imitation.layers["depthwise_0"].leaf.weight_scale
    assert (moved != 1).any()
    assert (trained.get_parameter("classifier.weight") != tiny.graph.get_parameter("classifier.weight")).any()


def test_fixed_steps_stay(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    imitation = simulation(tiny, learned=False)
    trained = train(tiny, PLAN, course(tiny, images, tmp_path, simulation=imitation)).model.graph
    scale = trained.get_buffer("depthwise_0.weight_scale")
    assert torch.equal(scale, imitation.layers["depthwise_0"].leaf.weight_scale)


def test_other_grids_are_another_run(tiny: Model) -> None:
    texts = [str(simulation(tiny)), str(simulation(tiny)), str(simulation(tiny, learned=False))]
    assert texts[0] == texts[1] != texts[2]


def test_a_layer_called_twice_is_one_set_of_weights() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.loop, self.norm = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.norm(self.loop(torch.relu(self.loop(x)))).mean((2, 3))

    torch.manual_seed(0)
    model = canonicalise(randomised(Twice()), SPEC)
    x = torch.randn(2, 3, 32, 32)
    with simulation(model, layers={"loop": starting(model, "loop")}, points={}).held(model.graph):
        imitated = model.graph(x)
    assert torch.allclose(model.graph(x), imitated, atol=1e-5)


def test_room_for_a_bias_costs_no_bound_code(tiny: Model) -> None:
    """A channel that is nearly dead gets a coarser scale; codes that are fixed or shared do not follow it."""
    conv = nn.Conv2d(3, 2, 1)
    conv.weight.data[1] *= 1e-6
    network = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = canonicalise(network.eval(), replace(SPEC, class_ids=(), labels=()))
    path = next(name for name, m in model.graph.named_modules() if isinstance(m, nn.Conv2d))
    for keep in (frozenset({path}), frozenset()):
        graph = clone(model).graph
        leaf = starting(model, path).leaf
        before, scale = leaf.codes.clone(), leaf.weight_scale.clone()
        assert before[1].any()
        leaf.bias = nn.Parameter(torch.tensor([0.5, 1e9]))
        graph.set_submodule(path, leaf)
        node = next(n for n in graph.graph.nodes if n.op == "placeholder")
        grid = ActivationGrid.covering(-2.0, 2.0, FORM, (-float("inf"), float("inf"))).leaf()
        insert_leaf(graph, node, "input_grid", grid)
        finish(graph, keep=keep)
        assert leaf.weight_scale[1] > scale[1]
        assert torch.equal(leaf.codes, before) == bool(keep)
