"""PruneChannels: whole channels leave the network, so that it is smaller and faster on any runtime."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from pocketlens.errors import ConfigError, UnknownNameError
from pocketlens.models.budget import MacsBudget
from pocketlens.models.canonical import clone
from pocketlens.models.channels import channel_groups, remove, require_open
from pocketlens.models.cost import count_macs, count_parameters
from pocketlens.models.saliency import scores
from pocketlens.ops.allocation import Ranked, allocate
from pocketlens.ops.criteria import CRITERIA, NEED_GRADIENTS
from pocketlens.ops.groups import ChannelGroup
from pocketlens.types import Context, Fact, Model, PassResult, Record

_SEARCH_STEPS = 24


@dataclass(frozen=True, kw_only=True)
class PruneChannels:
    """Remove the channels (and attention heads) that matter least, together with all that depends on them.

    How many: `ratio` of all channels, or `macs` of the multiply-accumulates, or `layers` one by one.

    Args:
        ratio: share of the channels that leaves, in [0, 1).
        macs: share of the multiply-accumulates that leaves, in [0, 1); wins over `ratio` where it is set.
        layers: layer -> share of its channels; others stay. Wins over both.
        criterion: a key of `ops.criteria.CRITERIA`.
        scope: "global" ranks the units of all layers together, "local" takes the same share of each layer.
        weigh: with "macs", scores are divided by what a unit costs, so that dear ones leave first.
        multiple: widths are rounded to multiples of this, "auto" takes what the target computes fastest with.
        smallest: share of a layer that always stays, in (0, 1].
        images: how many train (or calibration) images criteria that need gradients see.
        steps: removes in so many steps and scores again after each.

    Raises: ConfigError for a share that would empty a layer; UnsupportedModelError when nothing can be removed.
    Reference: Fang et al. 2023 (DepGraph), arXiv:2301.12900; criteria have their own.
    """

    ratio: float = 0.3
    macs: float = 0.0
    layers: Mapping[str, float] = field(default_factory=dict)
    criterion: str = "group_norm"
    scope: Literal["global", "local"] = "global"
    weigh: Literal["none", "macs"] = "none"
    multiple: int | Literal["auto"] = field(default="auto", metadata={"bind": "channel_multiple"})
    smallest: float = 0.1
    images: int = 128
    steps: int = 1

    requires: ClassVar[frozenset[Fact]] = frozenset()
    forbids: ClassVar[frozenset[Fact]] = frozenset(
        {"channels_final", "masked", "clustered", "tied", "quantized", "half"}
    )
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        for name in ("ratio", "macs"):
            _check_share(name, getattr(self, name))
        for layer, share in self.layers.items():
            _check_share(f"layers.{layer}", share)
        if self.criterion not in CRITERIA:
            raise UnknownNameError("criterion", self.criterion, CRITERIA)
        if self.scope not in ("global", "local"):
            raise ConfigError(f"`scope` must be global or local, got {self.scope!r}")
        if self.weigh not in ("none", "macs"):
            raise ConfigError(f"`weigh` must be none or macs, got {self.weigh!r}")
        if not 0 < self.smallest <= 1:
            raise ConfigError(f"`smallest` must be in (0, 1], got {self.smallest}; 0 would empty a layer")
        if self.multiple != "auto" and self.multiple < 1:
            raise ConfigError(f"`multiple` must be at least 1, got {self.multiple}")
        for name in ("images", "steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1, got {getattr(self, name)}")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the narrower model."""
        start = time.perf_counter()
        result = clone(model)
        before = channel_groups(result)
        require_open(result, before)
        self._check_layers(before)
        widths = {g.name: g.width for g in before}
        groups, doomed = before, {}
        budget = count_macs(result)
        for step in range(1, self.steps + 1):
            groups = channel_groups(result) if step > 1 else before
            doomed = self._doomed(result, groups, context, done=step / self.steps, budget=budget, widths=widths)
            remove(result.graph, doomed, groups)
        after = {g.name: g.width - len(doomed.get(g.name, ())) for g in groups}
        record = Record(
            name="PruneChannels",
            config=asdict(self) | {"layers": dict(self.layers)},
            summary={
                "macs_before": budget,
                "macs_after": count_macs(result),
                "parameters_before": count_parameters(model),
                "parameters_after": count_parameters(result),
                "locked": sum(bool(g.locked) for g in before),
            },
            layers=tuple(
                {"layer": g.name, "kind": g.kind, "before": widths[g.name], "after": after[g.name], "locked": g.locked}
                for g in before
            ),
            notes=_notes(before),
            seconds=time.perf_counter() - start,
        )
        return PassResult(result, record)

    def _check_layers(self, groups: tuple[ChannelGroup, ...]) -> None:
        by_name = {g.name: g for g in groups}
        for layer in self.layers:
            if layer not in by_name:
                raise UnknownNameError("layer", layer, by_name)
            if by_name[layer].locked:
                raise ConfigError(f"the channels of {layer} cannot be removed: {by_name[layer].locked}")

    def _doomed(
        self,
        model: Model,
        groups: tuple[ChannelGroup, ...],
        context: Context,
        *,
        done: float,
        budget: int,
        widths: Mapping[str, int],
    ) -> dict[str, Tensor]:
        """Which units leave in this step, when the share `done` of the way is to be gone after it."""
        open_groups = tuple(g for g in groups if not g.locked and (not self.layers or g.name in self.layers))
        score = scores(model, open_groups, self.criterion, context, self.images)
        macs = MacsBudget(model, groups)
        rounded = 1 if self.multiple == "auto" else self.multiple
        ranked = tuple(
            Ranked(
                group=g,
                scores=score[g.name],
                price=macs.price(g) if self.weigh == "macs" else 1.0,
                original=widths[g.name],
                multiple=1 if g.kind == "heads" else rounded,
                smallest=self.smallest,
            )
            for g in open_groups
        )
        if self.layers:
            kept = {r.group.name: r.nearest(r.original * (1 - self.layers[r.group.name] * done)) for r in ranked}
        elif self.macs:
            kept = self._within(ranked, macs, budget * (1 - self.macs * done))
        else:
            kept = allocate(ranked, self.ratio * done, self.scope, self.criterion in NEED_GRADIENTS)
        return {r.group.name: r.doomed(kept[r.group.name]) for r in ranked}

    def _within(self, ranked: tuple[Ranked, ...], macs: MacsBudget, wanted: float) -> dict[str, int]:
        """The widths of the smallest share that costs at most `wanted`, by bisection."""
        low, high = 0.0, 1.0
        best = allocate(ranked, high, self.scope, self.criterion in NEED_GRADIENTS)
        for _ in range(_SEARCH_STEPS):
            middle = (low + high) / 2
            kept = allocate(ranked, middle, self.scope, self.criterion in NEED_GRADIENTS)
            if macs(kept) <= wanted:
                best, high = kept, middle
            else:
                low = middle
        return best


def _check_share(name: str, share: float) -> None:
    if not 0 <= share < 1:
        raise ConfigError(f"`{name}` must be in [0, 1), got {share}: 1 would empty a layer. To prune 20% use 0.2.")


def _notes(groups: tuple[ChannelGroup, ...]) -> tuple[str, ...]:
    reasons: dict[str, list[str]] = {}
    for group in groups:
        if group.locked:
            reasons.setdefault(group.locked, []).append(group.name)
    return tuple(
        f"stays as wide as it is, {reason}: {', '.join(names[:4])}" + (f" and {len(names) - 4} more" * (len(names) > 4))
        for reason, names in reasons.items()
    )
