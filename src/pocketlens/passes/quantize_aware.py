"""QuantizeAware: the network learns to compute on integer grids, and the grids learn along."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import fx

from pocketlens.errors import ConfigError
from pocketlens.models.batch_norm import fold_batch_norms
from pocketlens.models.canonical import clone
from pocketlens.models.grids import GridPlan
from pocketlens.models.quantization_plan import Calibrated, QuantizationPlan
from pocketlens.models.simulation import IntegerSimulation, StartingGrid
from pocketlens.models.starting_weights import LearnedWeight, StartingWeight
from pocketlens.training.on_grids import GridTraining
from pocketlens.types import Context, Fact, Model, PassResult, with_facts


@dataclass(frozen=True, kw_only=True)
class QuantizeAware(QuantizationPlan, GridTraining):
    """Train a float model on integer grids, and return the integer model: folded, rounded, ready to lower.

    Ranges start as QuantizeStatic finds them. Then the network trains while weights and activations are rounded, with
    `context.teachers`, or the model as it came in, as its teacher: no labels are needed. What is returned computes what
    was trained, so nothing needs to be repaired behind it.

    Args:
        freeze_batchnorm: after this share of the steps, batch norms keep their statistics; 1 never.
        weights: see QuantizationPlan; "mse" is where learned steps start best.
        (the rest): see QuantizationPlan and GridTraining.

    Reference: Esser et al. 2020, arXiv:1902.08153.
    """

    freeze_batchnorm: float = 0.7
    weights: Literal["minmax", "mse"] = "mse"

    requires: ClassVar[frozenset[Fact]] = frozenset()
    forbids: ClassVar[frozenset[Fact]] = frozenset({"quantized", "half", "clustered", "tied"})
    establishes: ClassVar[frozenset[Fact]] = frozenset({"folded", "quantized", "quantization_aware"})
    destroys: ClassVar[frozenset[Fact]] = frozenset({"batchnorm"})

    def __post_init__(self) -> None:
        QuantizationPlan.__post_init__(self)
        GridTraining.__post_init__(self)
        if not 0 <= self.freeze_batchnorm <= 1:
            raise ConfigError(f"`freeze_batchnorm` must lie in [0, 1], got {self.freeze_batchnorm}")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the integer model with the weights of its best epoch on validation images."""
        start = time.perf_counter()
        self.check_lesson(model, context)
        folded = clone(model)
        pairs, _ = fold_batch_norms(folded.graph)
        plan = self.plan(folded)
        found = self.calibrate(folded, plan, context)
        learned = self.learn(*self._simulation(model, folded.graph, dict(pairs), plan, found), context)
        record = replace(
            learned.record,
            name="QuantizeAware",
            config=self.config(),
            summary=learned.record.summary | {"calibration_images": found.images},
            notes=(*learned.record.notes, *found.notes),
            seconds=time.perf_counter() - start,
        )
        facts = with_facts(model, add=self.establishes, drop=() if learned.kept else self.destroys)
        return PassResult(replace(learned.model, facts=facts), record)

    def _simulation(
        self, model: Model, folded: fx.GraphModule, norm_of: Mapping[str, str], plan: GridPlan, found: Calibrated
    ) -> tuple[Model, IntegerSimulation]:
        """What is trained: the model with the batch norms that fold exactly afterwards, and what to imitate on it.

        Args:
            model: as it came in.
            folded: its graph, batch norms folded; `plan` is of it.
            norm_of: layer -> the batch norm that it absorbed in `folded`.
            plan: where the grids go.
            found: their numbers.
        """
        coarse = {n.name for n in plan.layers if self.rounded(folded, n, self.reach(plan, n)).weight_scale.dim() == 0}
        ready = clone(model)
        fold_batch_norms(ready.graph, wanted=lambda layer: layer.name in coarse)
        by_name = {n.name: n for n in ready.graph.graph.nodes}

        def output_of(node: fx.Node) -> str:
            """The node that gives in `ready` what `node` gives in `folded`."""
            norm = norm_of.get(node.name, "")
            return norm if norm in by_name else node.name

        layers: dict[str, StartingWeight] = {}
        for node in plan.layers:
            if str(node.target) not in layers:  # a module called twice has one set of weights
                reach = self.reach(plan, node)
                layers[str(node.target)] = LearnedWeight(self.rounded(ready.graph, by_name[node.name], reach), reach)
        simulation = IntegerSimulation(
            layers=layers,
            points={output_of(p): StartingGrid(f"{p.name}_grid", found.grids[p]) for p in plan.points},
            shared={node.name: output_of(point) for node, point in plan.shared.items()},
            learned=self.step_sizes == "learned",
            freeze_batchnorm=self.freeze_batchnorm,
            relative=self.relative,
        )
        return ready, simulation
