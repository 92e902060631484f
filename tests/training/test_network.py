from dataclasses import replace

import pytest
import torch
from torch import nn

from pocketlens.errors import ModelError
from pocketlens.training.network import layers_in_order, make_optimizer, prepare, quick_statistics, train_mode
from pocketlens.training.plan import TrainingPlan
from pocketlens.types import Model

PLAN = TrainingPlan(weight_decay=0.1, learning_rate=0.5)


def test_layers_stand_in_the_order_of_the_graph(tiny: Model) -> None:
    layers = layers_in_order(tiny.graph)
    assert layers[:3] == ["stem_0", "stem_1", "expand_0"]
    assert layers[-1] == "classifier"
    assert len(layers) == 9


@pytest.mark.parametrize(("freeze", "still"), [(0.0, 0), (0.2, 2), (0.5, 4), (0.9, 8)])
def test_a_share_of_the_layers_stays(tiny: Model, freeze: float, still: int) -> None:
    plan = replace(PLAN, freeze=freeze)
    prepare(tiny.graph, plan)
    train_mode(tiny.graph, plan)
    for place, name in enumerate(layers_in_order(tiny.graph)):
        layer = tiny.graph.get_submodule(name)
        assert all(p.requires_grad == (place >= still) for p in layer.parameters()), name
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.training == (place >= still)


def test_statistics_follow_quickly_within_and_as_before_after() -> None:
    slow, fast, mean = (
        nn.BatchNorm2d(2, momentum=0.01),
        nn.BatchNorm2d(2, momentum=0.3),
        nn.BatchNorm2d(2, momentum=None),
    )
    layers = nn.Sequential(slow, fast, mean)
    with quick_statistics(layers):  # pyright: ignore
        assert (slow.momentum, fast.momentum, mean.momentum) == (0.1, 0.3, None)
        slow(torch.full((2, 2, 1, 1), 5.0))
        assert slow.running_mean.tolist() == pytest.approx([0.5, 0.5])  # pyright: ignore
    assert (slow.momentum, fast.momentum, mean.momentum) == (0.01, 0.3, None)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_weights_decay_and_biases_do_not(kind: str) -> None:
    layers = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = {name: p.detach().clone() for name, p in layers.named_parameters()}
    optimizer = make_optimizer(layers, replace(PLAN, optimizer=kind))  # pyright: ignore
    for parameter in layers.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in layers.named_parameters():
        if name != "0.weight":
            assert torch.equal(parameter, before[name]), name
    # AdamW: 1 - 0.5 * 0.1. SGD's first step with Nesterov momentum is 1.9 times as large.
    factor = 0.95 if kind == "adamw" else 1 - 0.05 * 1.9
    assert torch.allclose(layers[0].weight, factor * before["0.weight"])  # pyright: ignore


def test_nothing_left_to_train() -> None:
    with pytest.raises(ModelError, match="`freeze` leaves nothing to train; lower it"):
        make_optimizer(nn.Linear(2, 2).requires_grad_(False), PLAN)
