import torch
from tests.conftest import SPEC
from tests.networks import InvertedResidual, shaken
from torch import Tensor, nn

from pocketlens.models.batch_norm import fold_batch_norms
from pocketlens.models.canonical import canonicalise
from pocketlens.models.grids import plan_grids
from pocketlens.types import IntegerFormat, Scheme

SCHEME = Scheme(
    name="u8s8",
    activation=IntegerFormat(storage="uint8", qmin=0, qmax=255),
    weight=IntegerFormat(storage="int8", qmin=-127, qmax=127, zero_point=0),
)


class TwoEyes(nn.Module):
    """Two layers read the picture, two give parts of the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.inner = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)
        self.one, self.other = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(torch.relu(self.left(x) + self.right(x))).mean((2, 3))
        return torch.cat([self.one(x), self.other(x)], 1)


def test_every_layer_that_is_first_or_last_is_an_edge() -> None:
    plan = plan_grids(canonicalise(TwoEyes().eval(), SPEC).graph, SCHEME)
    assert {n.name for n in plan.edge_layers} == {"left", "right", "one", "other"}
    names = {n.name for n in plan.edge_points}
    assert "x" in names
    assert "mean" in names
    assert not names & {"left", "right", "relu", "inner"}


def test_what_is_only_added_up_is_not_multiplied() -> None:
    graph = canonicalise(shaken(InvertedResidual()), SPEC).graph
    fold_batch_norms(graph)
    plan = plan_grids(graph, SCHEME)
    added = {p.name for p in plan.points} - {p.name for p in plan.multiplied}
    assert added == {"project", "add"}


def test_a_layer_that_stays_float_is_still_the_first() -> None:
    """What comes behind it is no edge then."""
    graph = canonicalise(TwoEyes().eval(), SPEC).graph
    plan = plan_grids(graph, SCHEME, frozenset({"left", "right"}))
    assert {n.name for n in plan.edge_layers} == {"one", "other"}
