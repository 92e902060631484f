"""KeepFloat: give the few layers that quantization hurts most their float weights back."""

import time
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar, Literal

from pocketlens.errors import ConfigError, DataError
from pocketlens.models.grids import drop_idle_grids, grids_by_operator
from pocketlens.models.integer_layers import float_layers, originals, quantized_layers, with_layers
from pocketlens.models.sensitivity import noise_power, sensitivity
from pocketlens.types import Context, Fact, Model, PassResult, Record, Scheme


@dataclass(frozen=True, kw_only=True)
class KeepFloat:
    """Undo quantization for some layers: their weights are float again, and so are activations that only they read.

    Each kept layer costs its bytes four times over and a conversion on either side, so a few must do.

    Args:
        layers: names as `inspect --layers` shows them.
        worst: besides those, so many that do most harm at the output: by their rounded weights (see
            `models.sensitivity`), and by their share of the grids that they and their neighbours need.
        images: calibration images that the harm is measured on.
        scheme: the target's numerics; "auto" is filled by `bind` from the target's probe.
    """

    layers: tuple[str, ...] = ()
    worst: int = 1
    images: int = 16
    scheme: Scheme | Literal["auto"] = field(default="auto", metadata={"bind": "scheme"})

    requires: ClassVar[frozenset[Fact]] = frozenset({"quantized"})
    forbids: ClassVar[frozenset[Fact]] = frozenset({"tied", "quantization_aware"})
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        if self.worst < 0:
            raise ConfigError(f"`worst` must be at least 0, got {self.worst}")
        if self.images < 1:
            raise ConfigError(f"`images` must be at least 1, got {self.images}")
        if not self.layers and not self.worst:
            raise ConfigError("KeepFloat has nothing to keep: name `layers`, or set `worst` to how many")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with those layers in float."""
        start = time.perf_counter()
        if isinstance(self.scheme, str):
            raise ConfigError('`scheme` is still "auto": bind the recipe to a target\'s profile first')
        reference = context.unquantized
        if reference is None:
            raise ConfigError("KeepFloat takes weights from the model before quantization: run both in one Chain")
        integers = quantized_layers(model.graph)
        if unknown := sorted(set(self.layers) - set(integers)):
            raise ConfigError(
                f"`layers` names {', '.join(unknown)}, which {model.spec.name} lacks or computes in float already; "
                f"quantized are: {', '.join(integers)}"
            )
        kept = (*self.layers, *self._worst(model, reference, context, self.scheme))
        before = originals(model.graph, reference.graph)
        result = with_layers(model, {name: before[name] for name in kept})
        dropped = drop_idle_grids(result.graph, reference.graph, self.scheme, float_layers(result.graph))
        restored_bytes = sum(3 * integers[name].codes.numel() for name in kept)
        record = Record(
            name="KeepFloat",
            config=asdict(replace(self, scheme="auto")) | {"scheme": self.scheme.name},
            summary={"layers": len(kept), "grids_removed": dropped, "extra_bytes": restored_bytes},
            layers=tuple({"layer": name} for name in kept),
            seconds=time.perf_counter() - start,
        )
        return PassResult(result, record)

    def _worst(self, model: Model, reference: Model, context: Context, scheme: Scheme) -> tuple[str, ...]:
        """The layers that do most harm, beside those that are named."""
        if not self.worst:
            return ()
        if context.data.calibration is None:
            raise DataError("KeepFloat ranks layers on calibration images, got none: pass --calibration DIR")
        rows = sensitivity(
            model,
            reference,
            context.data.calibration,
            count=self.images,
            cache=context.cache,
            progress=context.progress,
        )
        harm = {row["layer"]: noise_power(row["sqnr_db"]) for row in rows if row["part"] == "weights"}
        needs = grids_by_operator(reference.graph, scheme, float_layers(model.graph))
        for row in rows:
            # A grid goes only with all that need it, so each of them answers for a part of its noise.
            users = [name for name, grids in needs.items() if row["part"] == "activations" and row["layer"] in grids]
            for name in set(users) & set(harm):
                harm[name] += noise_power(row["sqnr_db"]) / len(users)
        ranked = sorted(harm, key=lambda name: -harm[name])
        return tuple(name for name in ranked if name not in self.layers)[: self.worst]
