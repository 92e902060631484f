"""Torch-Pruning's own pruners as a pass, so that they get the same tuning as ours."""

import time
import warnings
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import torch
import torch_pruning as tp

from pocketlens.models.canonical import clone
from pocketlens.models.channels import channel_groups
from pocketlens.models.cost import count_macs
from pocketlens.types import Context, Fact, Model, PassResult, Record

STEPS = 60
"""Small steps until the budget is met; its own benchmarks take 400, a second each here, for the same widths."""


@dataclass(frozen=True, kw_only=True)
class TorchPruningPeer:
    """MagnitudePruner with L1, or GroupNormPruner, in their default (local, unrounded) setting.

    Layers that cannot be pruned (the classifier, and the stages that CIFAR's zero-padded shortcut ties) are given as
    ignored layers, found by our own check.

    Args:
        method: "l1" or "group_norm".
        macs: share of the multiply-accumulates that leaves.
    """

    method: Literal["l1", "group_norm"]
    macs: float

    requires: ClassVar[frozenset[Fact]] = frozenset()
    forbids: ClassVar[frozenset[Fact]] = frozenset()
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the narrower model."""
        start = time.perf_counter()
        result = clone(model)
        graph = result.graph
        names = {m.layer for g in channel_groups(result) if g.locked for m in g.members if m.side == "out"}
        ignored = [graph.get_submodule(n) for n in sorted(names)]
        ignored += [m for m in graph.modules() if isinstance(m, torch.nn.Linear)]
        kinds = {
            "l1": (tp.pruner.MagnitudePruner, tp.importance.MagnitudeImportance(p=1)),
            "group_norm": (tp.pruner.GroupNormPruner, tp.importance.GroupMagnitudeImportance()),
        }
        pruner_class, importance = kinds[self.method]
        before = count_macs(model)
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            pruner = pruner_class(
                graph,
                torch.randn(1, *model.spec.input_shape),
                importance=importance,
                iterative_steps=STEPS,
                pruning_ratio=1.0,
                ignored_layers=ignored,
                global_pruning=False,
            )
            while count_macs(result) > before * (1 - self.macs):
                pruner.step()
        graph.zero_grad(set_to_none=True)
        record = Record(
            name=f"TorchPruning {self.method}",
            config=asdict(self),
            summary={"macs_before": before, "macs_after": count_macs(result)},
            seconds=time.perf_counter() - start,
        )
        return PassResult(result, record)
