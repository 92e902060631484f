"""Weights at fewer bits: what each layer costs at each width, in bytes of the download and in harm at the output."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pocketlens.bundle.coding import encode
from pocketlens.bundle.tensor_coding import Span
from pocketlens.datasets.choose import spread_evenly
from pocketlens.models import store
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.integer_bias import round_biases
from pocketlens.models.integer_layers import Ranges, integer_layer, originals, quantized_layers, reach_of, with_layers
from pocketlens.models.sensitivity import harm_of, noise_power, remembered
from pocketlens.types import ImageSet, Json, Model, Progress

Table = Sequence[Sequence[float]]
Choose = Callable[[Table, Table, float], Sequence[int]]

_ROUNDS = 3
"""Layers pack a little better together than one by one: with what that leaves it is chosen again."""


@dataclass(frozen=True, kw_only=True)
class Widths:
    """The widths that the weights of a quantized model can take, each layer its own.

    Args:
        model: quantized.
        reference: the same network before it was.
        bits: to choose from, rising. A layer that has no more levels than a width is left as it is there, and takes
            no wider one.
        ranges: how the grids of narrower weights are found, see `ops.observers.weight_scale`.
    """

    model: Model
    reference: Model
    bits: tuple[int, ...]
    ranges: Ranges
    _leaves: dict[tuple[str, int], QuantizedLayer] = field(default_factory=dict, init=False, repr=False, compare=False)
    _packed: dict[tuple[tuple[str, int], ...], int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def allowed(self) -> dict[str, tuple[int, ...]]:
        """Layer name, in graph order -> the widths that it can take, rising."""
        found = {}
        for name, leaf in quantized_layers(self.model.graph).items():
            reach = int(leaf.codes.abs().max())
            narrower = [b for b in self.bits if reach_of(b) < reach]
            found[name] = self.bits[: len(narrower) + 1]
        return found

    def leaves(self, chosen: Mapping[str, int]) -> dict[str, QuantizedLayer]:
        """Layers at their widths: rounded from their float weights, or the model's own. Granularity stays.

        Args:
            chosen: layer name -> one of its widths.
        """
        own = quantized_layers(self.model.graph)
        before = originals(self.model.graph, self.reference.graph)
        for place in chosen.items():
            if place not in self._leaves:
                name, bits = place
                leaf, reach = own[name], reach_of(bits)
                if int(leaf.codes.abs().max()) > reach:
                    each = leaf.weight_scale.dim() > 0
                    leaf = integer_layer(
                        before[name], name, reach=reach, per_channel=each, ranges=self.ranges, storage=leaf.storage
                    )
                self._leaves[place] = leaf
        return {name: self._leaves[name, bits] for name, bits in chosen.items()}

    def at(self, chosen: Mapping[str, int]) -> Model:
        """A copy of the model with layers at other widths, biases on the scale of their sums."""
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

    def sizes(self, chosen: Mapping[str, int]) -> tuple[Json, ...]:
        """{"layer", "bits", "weights", "bytes"} a layer at its width, packed alone."""
        return tuple(
            {
                "layer": name,
                "bits": chosen[name],
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
        """Every layer at every width: measured, with that layer alone rounded so and all else in float.

        Args:
            images: that the harm is measured on.
            count: how many of them, spread evenly.
            cache: a folder where answers are remembered, or None.
            progress: see types.Progress.
        Returns: {"layer", "bits", "weights", "bytes", "sqnr_db", "kl"} a layer and width, layers in graph order and
            widths rising.
        """
        chosen = spread_evenly(images, count)

        def measure() -> tuple[Json, ...]:
            trials = [{name: bits} for name, widths in self.allowed().items() for bits in widths]
            leaves = [self.leaves(trial) for trial in trials]
            figures = harm_of(self.model, self.reference, leaves, chosen, count=count, progress=progress)
            return tuple(
                self.sizes(trial)[0] | {"sqnr_db": sqnr, "kl": kl}
                for trial, (sqnr, kl) in zip(trials, figures, strict=True)
            )

        asked = [store.digest(self.model), store.digest(self.reference), chosen.fingerprint(), self.bits, self.ranges]
        return remembered(cache, "widths", asked, measure)

    def within(self, limit: float, costs: Sequence[Json], choose: Choose) -> tuple[Json, ...]:
        """A width for each layer, so that all of them pack within a limit.

        Args:
            limit: in bytes; the narrowest widths pack within it.
            costs: as `costs` gives them.
            choose: gives the place of each row's option, from harms, sizes and a limit.
        Returns: the row of each layer's width from `costs`, with "harm", the noise's share of the signal's power.
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
            packed = self.packed_bytes({row["layer"]: row["bits"] for row in taken})
            if packed <= limit and _sum(taken, "harm") <= _sum(best, "harm"):
                best = taken
            budget = _sum(taken, "bytes") + limit - packed
        return best


def _sum(rows: Sequence[Json], key: str) -> float:
    return sum(row[key] for row in rows)
