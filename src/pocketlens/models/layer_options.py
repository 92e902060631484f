"""What each layer's weights could be instead, what that costs in bytes and in harm, and the best choice of all."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pocketlens.bundle.coding import encode
from pocketlens.bundle.tensor_coding import Span
from pocketlens.datasets.choose import spread_evenly
from pocketlens.models import store
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.integer_bias import round_biases
from pocketlens.models.integer_layers import quantized_layers, with_layers
from pocketlens.models.sensitivity import harm_of, noise_power, remembered, sqnr_db
from pocketlens.ops.integer_programme import choose_options
from pocketlens.types import ImageSet, Json, Model, Progress

Table = Sequence[Sequence[float]]
Choose = Callable[[Table, Table, float], Sequence[int]]

_ROUNDS = 3
"""Layers pack a little better together than one by one: with what that leaves it is chosen again."""


@dataclass(frozen=True)
class Choice:
    """One option for each layer.

    Args:
        rows: of the layers, in graph order: "layer", the option under its name, "weights", "bytes"; where harm was
            measured also "sqnr_db", "kl" and "harm", the noise's share of the signal's power.
        packed_bytes: of all of them together.
        figures: "predicted_sqnr_db" and "measured_sqnr_db" where harm was measured.
    """

    rows: tuple[Json, ...]
    packed_bytes: int
    figures: Json


@dataclass(frozen=True, kw_only=True)
class LayerOptions(ABC):
    """Other integer weights for the layers of a quantized model, by a number that stands for each option.

    Args:
        model: quantized.
        reference: the same network before it was.
    """

    model: Model
    reference: Model
    _leaves: dict[tuple[str, int], QuantizedLayer] = field(default_factory=dict, init=False, repr=False, compare=False)
    _packed: dict[tuple[tuple[str, int], ...], int] = field(default_factory=dict, init=False, repr=False, compare=False)

    name: ClassVar[str]
    """What the number is, for rows: "bits", "clusters"."""

    @abstractmethod
    def allowed(self) -> dict[str, tuple[int, ...]]:
        """Layer name, in graph order -> the options that it has, rising in size."""

    @abstractmethod
    def make(self, name: str, option: int) -> QuantizedLayer:
        """The layer so; the model's own leaf where it is so already."""

    @abstractmethod
    def decided_by(self) -> list[Any]:
        """Besides the two models all that decides what `make` gives, as plain data."""

    def leaves(self, chosen: Mapping[str, int]) -> dict[str, QuantizedLayer]:
        """Layers as chosen: layer name -> one of its options."""
        for place in chosen.items():
            if place not in self._leaves:
                self._leaves[place] = self.make(*place)
        return {name: self._leaves[name, option] for name, option in chosen.items()}

    def at(self, chosen: Mapping[str, int]) -> Model:
        """A copy of the model with layers as chosen, biases on the scale of their sums."""
        own, leaves = quantized_layers(self.model.graph), self.leaves(chosen)
        result = with_layers(self.model, {name: leaf for name, leaf in leaves.items() if leaf is not own[name]})
        round_biases(result.graph)
        return result

    def packed_bytes(self, chosen: Mapping[str, int]) -> int:
        """Bytes of these layers' codes and scales as a bundle packs them: a percent less than one by one."""
        key = tuple(chosen.items())
        if key not in self._packed:
            blob, spans = bytearray(), []
            for leaf in self.leaves(chosen).values():
                for tensor in (leaf.codes, leaf.weight_scale):
                    raw = tensor.contiguous().numpy().tobytes()
                    spans.append(Span(len(blob), len(raw), tensor.element_size()))
                    blob += raw
            self._packed[key] = encode("weights.bin", bytes(blob), spans)[0].stored_size
        return self._packed[key]

    def smallest(self) -> dict[str, int]:
        """The first option of every layer."""
        return {name: options[0] for name, options in self.allowed().items()}

    def largest(self) -> dict[str, int]:
        """The last option of every layer."""
        return {name: options[-1] for name, options in self.allowed().items()}

    def sizes(self, chosen: Mapping[str, int]) -> tuple[Json, ...]:
        """{"layer", the option, "weights", "bytes"} a layer as chosen, packed alone."""
        return tuple(
            {
                "layer": name,
                self.name: chosen[name],
                "weights": leaf.codes.numel(),
                "bytes": self.packed_bytes({name: chosen[name]}),
            }
            for name, leaf in self.leaves(chosen).items()
        )

    def harm(
        self, chosen: Mapping[str, int], images: ImageSet, *, count: int, progress: Progress
    ) -> tuple[float, float]:
        """SQNR in dB and KL divergence of the output with these layers in integers together, all else in float."""
        (found,) = harm_of(self.model, self.reference, [self.leaves(chosen)], images, count=count, progress=progress)
        return found

    def costs(self, images: ImageSet, *, count: int, cache: Path | None, progress: Progress) -> tuple[Json, ...]:
        """Every layer with every option: measured, with that layer alone so and all else in float.

        Args:
            images: that the harm is measured on.
            count: how many of them, spread evenly.
            cache: a folder where answers are remembered, or None.
            progress: see types.Progress.
        Returns: {"layer", the option, "weights", "bytes", "sqnr_db", "kl"} a layer and option, layers in graph order
            and options rising.
        """
        chosen = spread_evenly(images, count)

        def measure() -> tuple[Json, ...]:
            trials = [{name: option} for name, options in self.allowed().items() for option in options]
            leaves = [self.leaves(trial) for trial in trials]
            figures = harm_of(self.model, self.reference, leaves, chosen, count=count, progress=progress)
            return tuple(
                self.sizes(trial)[0] | {"sqnr_db": sqnr, "kl": kl}
                for trial, (sqnr, kl) in zip(trials, figures, strict=True)
            )

        asked = [store.digest(self.model), store.digest(self.reference), chosen.fingerprint(), *self.decided_by()]
        return remembered(cache, type(self).__name__.lower(), asked, measure)

    def within(self, limit: float, costs: Sequence[Json], choose: Choose) -> tuple[Json, ...]:
        """An option for each layer, so that all of them pack within a limit.

        Args:
            limit: in bytes; the smallest options pack within it.
            costs: as `costs` gives them.
            choose: gives the place of each row's option, from harms, sizes and a limit.
        Returns: the row of each layer's option from `costs`, with "harm", the noise's share of the signal's power.
        """
        layers: dict[str, list[Json]] = {}
        for row in costs:
            layers.setdefault(row["layer"], []).append(row | {"harm": noise_power(row["sqnr_db"])})
        harms, sizes = ([[row[key] for row in rows] for rows in layers.values()] for key in ("harm", "bytes"))
        best = tuple(rows[0] for rows in layers.values())
        least, budget = sum(min(row) for row in sizes), limit
        for _ in range(_ROUNDS):
            places = choose(harms, sizes, max(budget, least))
            taken = tuple(rows[j] for rows, j in zip(layers.values(), places, strict=True))
            packed = self.packed_bytes({row["layer"]: row[self.name] for row in taken})
            if packed <= limit and _sum(taken, "harm") <= _sum(best, "harm"):
                best = taken
            budget = _sum(taken, "bytes") + limit - packed
        return best

    def best(self, limit: float, images: ImageSet, *, count: int, cache: Path | None, progress: Progress) -> Choice:
        """The choice that does least harm within a limit, by an integer programme; the largest options where all fit.

        Args:
            limit: in bytes; the smallest options pack within it.
            images: that the harm is measured on.
            count: how many of them, spread evenly.
            cache: see `costs`.
            progress: see types.Progress.
        """
        largest = self.largest()
        if (packed := self.packed_bytes(largest)) <= limit:
            return Choice(rows=self.sizes(largest), packed_bytes=packed, figures={})
        rows = self.within(limit, self.costs(images, count=count, cache=cache, progress=progress), choose_options)
        chosen = {row["layer"]: row[self.name] for row in rows}
        measured, _ = self.harm(chosen, images, count=count, progress=progress)
        return Choice(
            rows=rows,
            packed_bytes=self.packed_bytes(chosen),
            figures={"predicted_sqnr_db": sqnr_db(_sum(rows, "harm")), "measured_sqnr_db": measured},
        )


def _sum(rows: Sequence[Json], key: str) -> float:
    return sum(row[key] for row in rows)
