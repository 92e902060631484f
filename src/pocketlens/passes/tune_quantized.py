"""TuneQuantized: an integer model learns on, from the codes and grids that it has."""

import time
from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Literal

from pocketlens.errors import ConfigError
from pocketlens.models.integer_layers import quantized_layers
from pocketlens.models.unrounding import unrounded
from pocketlens.ops.rate import entropy_bytes
from pocketlens.training.on_grids import GridTraining
from pocketlens.types import Context, Fact, Model, PassResult, with_facts


@dataclass(frozen=True, kw_only=True)
class TuneQuantized(GridTraining):
    """Train an integer model further: behind RoundAdaptively, which starts it far better than plain rounding does, or
    behind what made it small.

    Bits, codes and grids are those of the model as it comes in; batch norms are folded by then, and biases make up for
    what shifts. `context.teachers`, or the model as it first came in, teach: no labels are needed.

    Weights that share an entry of a codebook (ClusterWeights) go on sharing it: the entry learns, with the gradients of
    all its weights added up (Han et al. 2016, arXiv:1510.00149). Indices stay, and zeros stay zeros.

    Args:
        learning_rate: small, since nothing normalises what weights grow to.
        codes: "learned"; or "fixed" leaves every code as it is, and with them the download but for scales and biases:
            what RoundForRate chose stays chosen. A step costs a sixth less, since no weight needs a gradient.
        (the rest): see GridTraining.

    Reference: Esser et al. 2020, arXiv:1902.08153.
    """

    learning_rate: float = 3e-4
    codes: Literal["learned", "fixed"] = "learned"

    requires: ClassVar[frozenset[Fact]] = frozenset({"quantized"})
    forbids: ClassVar[frozenset[Fact]] = frozenset({"half", "tied"})
    establishes: ClassVar[frozenset[Fact]] = frozenset({"quantization_aware"})
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.codes not in ("learned", "fixed"):
            raise ConfigError(f"`codes` must be learned or fixed, got {self.codes!r}")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the integer model with the weights of its best epoch on validation images."""
        start = time.perf_counter()
        self.check_lesson(model, context)
        ready, simulation = unrounded(
            model, codes=self.codes, learned=self.step_sizes == "learned", relative=self.relative
        )
        learned = self.learn(ready, simulation, context)
        sizes = {"weights_bytes_before": _packed(model), "weights_bytes": _packed(learned.model)}
        record = replace(
            learned.record,
            name="TuneQuantized",
            config=asdict(self),
            summary=learned.record.summary | sizes,
            seconds=time.perf_counter() - start,
        )
        facts = with_facts(model, add=self.establishes)
        return PassResult(replace(learned.model, facts=facts), record)


def _packed(model: Model) -> float:
    """What the codes of all layers come to, as ClusterWeights and RoundForRate count them."""
    return sum(entropy_bytes(leaf.codes) for leaf in quantized_layers(model.graph).values())
