from dataclasses import replace
from pathlib import Path

import torch
from tests.conftest import SPEC
from tests.networks import Residual, shaken
from torch import Tensor, nn

from pocketlens.models import vocabulary
from pocketlens.models.batch_norm import fold_batch_norms
from pocketlens.models.canonical import canonicalise
from pocketlens.models.grids import drop_idle_grids, grids_by_operator, plan_grids
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.types import Context, IntegerFormat, Model, Scheme

SCHEME = Scheme(
    name="u8s8",
    activation=IntegerFormat(storage="uint8", qmin=0, qmax=255),
    weight=IntegerFormat(storage="int8", qmin=-127, qmax=127, zero_point=0),
)


def residual() -> Model:
    model = canonicalise(shaken(Residual()), SPEC)
    fold_batch_norms(model.graph)
    return model


def names(nodes: object) -> set[str]:
    return {n.name for n in nodes}  # pyright: ignore


def test_a_sum_that_fuses_has_no_grid_on_the_operand_it_fuses_into() -> None:
    graph = residual().graph
    apart, fused = (plan_grids(graph, s) for s in (SCHEME, replace(SCHEME, fused=SCHEME.fused | {"add"})))
    (add,) = [n for n in graph.graph.nodes if vocabulary.kind(graph, n) == "add"]
    one, other = add.all_input_nodes
    assert names(apart.points) >= {one.name, other.name, add.name}
    # Both operands come out of activations, into which no sum fuses: nothing changes.
    assert names(fused.points) == names(apart.points)


class Summed(nn.Module):
    """The sum reads a layer directly."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        return self.head(torch.relu(x + self.body(x)).mean((2, 3)))


def test_a_sum_fuses_into_the_layer_that_gives_its_operand() -> None:
    graph = canonicalise(Summed().eval(), SPEC).graph
    apart, fused = (plan_grids(graph, s) for s in (SCHEME, replace(SCHEME, fused=SCHEME.fused | {"add"})))
    assert names(apart.points) - names(fused.points) == {"body"}
    assert names(fused.points) <= names(apart.points)


def test_outputs_that_only_floats_read_need_no_grid_where_the_scheme_says_so() -> None:
    graph = canonicalise(Summed().eval(), SPEC).graph
    plan = plan_grids(graph, replace(SCHEME, output_grids=False))
    last = next(n for n in graph.graph.nodes if vocabulary.kind(graph, n) == "global_avg_pool")
    assert last.all_input_nodes[0] not in plan.points
    assert last in plan.points  # the classifier reads it


def test_an_operator_needs_the_grids_around_it_and_no_others() -> None:
    graph = canonicalise(Summed().eval(), SPEC).graph
    needs = grids_by_operator(graph, SCHEME, frozenset({"stem"}))
    assert "stem" not in needs
    assert needs["body"] == {"relu", "body"}


def test_grids_that_nothing_needs_any_more_go(tiny: Model, context: Context, tmp_path: Path) -> None:
    folded = FoldBatchNorm()(tiny, context).model
    graph = QuantizeStatic(scheme=SCHEME)(folded, context).model.graph
    assert drop_idle_grids(graph, folded.graph, SCHEME, frozenset()) == 0
    assert drop_idle_grids(graph, folded.graph, SCHEME, frozenset({"classifier"})) == 1  # what only it reads
    assert not hasattr(graph, "flatten_grid")
