"""FoldBatchNorm: let convolutions and linear layers absorb the batch norm that follows them."""

import time
from dataclasses import dataclass
from typing import ClassVar

from pocketlens.models.batch_norm import fold_batch_norms
from pocketlens.models.canonical import clone
from pocketlens.models.ties import separate_calls
from pocketlens.types import Context, Fact, Model, PassResult, Record, with_facts


@dataclass(frozen=True, kw_only=True)
class FoldBatchNorm:
    """Fold y = gamma (conv(x) - mean) / sqrt(var + eps) + beta into the weight and bias of the convolution.

    A batch norm stays where it stands on something else than one convolution or linear layer of its own (a
    pre-activation network, a shared layer); the record names these. Tied layers (TieLayers) get a copy a call, scaled
    by the gain of its batch norm; QuantizeStatic gives the copies the same codes again.

    Reference: Jacob et al. 2018, arXiv:1712.05877, section 3.2.
    """

    requires: ClassVar[frozenset[Fact]] = frozenset()
    forbids: ClassVar[frozenset[Fact]] = frozenset({"clustered", "quantized", "half"})
    establishes: ClassVar[frozenset[Fact]] = frozenset({"folded"})
    destroys: ClassVar[frozenset[Fact]] = frozenset({"batchnorm"})

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with every foldable batch norm folded."""
        start = time.perf_counter()
        result = clone(model)
        if "tied" in model.facts:
            separate_calls(result.graph)
        folded, kept = fold_batch_norms(result.graph)
        notes = (f"stays, since nothing before it can absorb it: {', '.join(kept)}",) if kept else ()
        if "tied" in model.facts:
            notes += ("tied layers are stored one by one until QuantizeStatic gives them the same integers",)
        record = Record(
            name="FoldBatchNorm",
            config={},
            summary={"folded": len(folded), "kept": len(kept)},
            layers=tuple({"layer": layer, "batchnorm": norm} for layer, norm in folded),
            notes=notes,
            seconds=time.perf_counter() - start,
        )
        facts = with_facts(model, add=self.establishes, drop=() if kept else self.destroys)
        return PassResult(Model(graph=result.graph, spec=model.spec, facts=facts), record)
