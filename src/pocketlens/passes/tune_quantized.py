"""TuneQuantized: an integer model learns on, from the codes and grids that it has."""

import time
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

from pocketlens.models.unrounding import unrounded
from pocketlens.training.on_grids import GridTraining
from pocketlens.types import Context, Fact, Model, PassResult, with_facts


@dataclass(frozen=True, kw_only=True)
class TuneQuantized(GridTraining):
    """Train an integer model further: behind RoundAdaptively, which starts it far better than plain rounding does.

    Bits, codes and grids are those of the model as it comes in; batch norms are folded by then, and biases make up for
    what shifts. `context.teachers`, or the model as it first came in, teach: no labels are needed.

    Args:
        learning_rate: small, since nothing normalises what weights grow to.
        (the rest): see GridTraining.

    Reference: Esser et al. 2020, arXiv:1902.08153.
    """

    learning_rate: float = 3e-4

    requires: ClassVar[frozenset[Fact]] = frozenset({"quantized"})
    forbids: ClassVar[frozenset[Fact]] = frozenset({"half", "clustered", "tied"})
    establishes: ClassVar[frozenset[Fact]] = frozenset({"quantization_aware"})
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the integer model with the weights of its best epoch on validation images."""
        start = time.perf_counter()
        self.check_lesson(model, context)
        ready, simulation = unrounded(model, learned=self.step_sizes == "learned")
        learned = self.learn(ready, simulation, context)
        record = replace(learned.record, name="TuneQuantized", config=asdict(self), seconds=time.perf_counter() - start)
        facts = with_facts(model, add=self.establishes)
        return PassResult(replace(learned.model, facts=facts), record)
