"""SetInputSize: a smaller picture, the cheapest speed there is."""

import time
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

from pocketlens.errors import ConfigError, UnsupportedModelError
from pocketlens.models.canonical import clone
from pocketlens.models.cost import count_macs
from pocketlens.models.tracing import observe
from pocketlens.types import Context, Fact, Model, ModelSpec, PassResult, Record


@dataclass(frozen=True, kw_only=True)
class SetInputSize:
    """Change the size of the input, and the preprocessing with it: the same part of each picture, coarser or finer.

    Multiply-accumulates fall with the square of the size, and so does latency; the weights stay. Tune afterwards: a
    network knows the scale that it was trained at (Touvron et al. 2019, arXiv:1906.06423).

    Args:
        size: of the new square input, px.

    Raises: UnsupportedModelError when the network is made for one size (a stored position embedding).
    """

    size: int = 160

    requires: ClassVar[frozenset[Fact]] = frozenset()
    forbids: ClassVar[frozenset[Fact]] = frozenset({"quantized", "half"})
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 4096:
            raise ConfigError(f"`size` must be in 8..4096 px, got {self.size}")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model for the new size; its weights are the same."""
        start = time.perf_counter()
        before = model.spec.input_shape
        result = replace(clone(model), spec=self._spec(model.spec))
        try:
            observe(result.graph, result.graph.graph, result.spec.input_shape, batches=(1, 1))
        except UnsupportedModelError as error:
            raise UnsupportedModelError(
                f"{model.spec.name} runs at {before[1]} x {before[2]} px only: {error}"
            ) from error
        record = Record(
            name="SetInputSize",
            config=asdict(self),
            summary={
                "height_before": before[1],
                "width_before": before[2],
                "size_after": self.size,
                "macs_before": count_macs(model),
                "macs_after": count_macs(result),
            },
            seconds=time.perf_counter() - start,
        )
        return PassResult(result, record)

    def _spec(self, spec: ModelSpec) -> ModelSpec:
        old = spec.preprocessing
        resize = None if old.resize is None else max(self.size, round(old.resize * self.size / min(old.crop)))
        preprocessing = replace(old, resize=resize, crop=(self.size, self.size))
        return replace(spec, input_shape=(spec.input_shape[0], self.size, self.size), preprocessing=preprocessing)
