"""Which channels leave: the fields that pruning and the training that prepares it share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from pocketlens.errors import ConfigError, UnknownNameError
from pocketlens.models.budget import Budget
from pocketlens.models.cost import count_macs, count_parameters
from pocketlens.models.saliency import scores
from pocketlens.ops.allocation import Ranked, allocate
from pocketlens.ops.criteria import CRITERIA, NEED_GRADIENTS
from pocketlens.ops.groups import ChannelGroup
from pocketlens.types import Context, Model

_SEARCH_STEPS = 24


@dataclass(frozen=True, kw_only=True)
class ChannelSelection:
    """How many channels leave: `ratio` of all, or so many that `macs` or `parameters` do, or `layers` one by one.

    Args:
        ratio: share of the channels that leaves, in [0, 1).
        macs: share of the multiply-accumulates that leaves, in [0, 1); wins over `ratio` where it is set.
        parameters: share of the parameters that leaves, in [0, 1), instead of `macs`.
        layers: layer -> share of its channels; others stay. Wins over all of these.
        criterion: a key of `ops.criteria.CRITERIA`.
        scope: "global" ranks the units of all layers together, "local" takes the same share of each layer.
        weigh: with "macs" or "parameters", scores are divided by what a unit costs, so that dear ones leave first.
        multiple: widths are rounded to multiples of this, "auto" takes what the target computes fastest with.
        smallest: share of a layer that always stays, in (0, 1].
        images: how many train (or calibration) images criteria that need gradients see.
    """

    ratio: float = 0.3
    macs: float = 0.0
    parameters: float = 0.0
    layers: Mapping[str, float] = field(default_factory=dict, hash=False)
    criterion: str = "group_norm"
    scope: Literal["global", "local"] = "global"
    weigh: Literal["none", "macs", "parameters"] = "none"
    multiple: int | Literal["auto"] = field(default="auto", metadata={"bind": "channel_multiple"})
    smallest: float = 0.1
    images: int = 128

    def __post_init__(self) -> None:
        for name in ("ratio", "macs", "parameters"):
            _check_share(name, getattr(self, name))
        if self.macs and self.parameters:
            raise ConfigError(
                f"`macs` and `parameters` both say how much leaves, got {self.macs} and {self.parameters}; give one"
            )
        for layer, share in self.layers.items():
            _check_share(f"layers.{layer}", share)
        if self.criterion not in CRITERIA:
            raise UnknownNameError("criterion", self.criterion, CRITERIA)
        if self.scope not in ("global", "local"):
            raise ConfigError(f"`scope` must be global or local, got {self.scope!r}")
        if self.weigh not in ("none", "macs", "parameters"):
            raise ConfigError(f"`weigh` must be none, macs or parameters, got {self.weigh!r}")
        if not 0 < self.smallest <= 1:
            raise ConfigError(f"`smallest` must be in (0, 1], got {self.smallest}; 0 would empty a layer")
        if self.multiple != "auto" and self.multiple < 1:
            raise ConfigError(f"`multiple` must be at least 1, got {self.multiple}")
        if self.images < 1:
            raise ConfigError(f"`images` must be at least 1, got {self.images}")

    def cost(self, model: Model) -> int:
        """What the share is taken of: parameters where `parameters` is set, else multiply-accumulates."""
        return count_parameters(model) if self.parameters else count_macs(model)

    def check_layers(self, groups: tuple[ChannelGroup, ...]) -> None:
        """Raise UnknownNameError or ConfigError when `layers` names what is not there or may not shrink."""
        by_name = {g.name: g for g in groups}
        for layer in self.layers:
            if layer not in by_name:
                raise UnknownNameError("layer", layer, by_name)
            if by_name[layer].locked:
                raise ConfigError(f"the channels of {layer} cannot be removed: {by_name[layer].locked}")

    def doomed(
        self,
        model: Model,
        groups: tuple[ChannelGroup, ...],
        context: Context,
        *,
        done: float,
        budget: int,
        widths: Mapping[str, int],
    ) -> dict[str, Tensor]:
        """The units that leave, by group name.

        Args:
            model: left as it is.
            groups: of the model.
            context: see `models.saliency.scores`.
            done: share of the way that is to be gone after this step.
            budget: `cost` before the first step.
            widths: of each group before the first step.
        """
        open_groups = tuple(g for g in groups if not g.locked and (not self.layers or g.name in self.layers))
        score = scores(model, open_groups, self.criterion, context, self.images)
        costs = Budget(model, groups, "parameters" if self.parameters else "macs")
        prices = Budget(model, groups, self.weigh) if self.weigh != "none" else None
        rounded = 1 if self.multiple == "auto" else self.multiple
        ranked = tuple(
            Ranked(
                group=g,
                scores=score[g.name],
                price=prices.price(g) if prices else 1.0,
                original=widths[g.name],
                multiple=1 if g.kind == "heads" else rounded,
                smallest=self.smallest,
            )
            for g in open_groups
        )
        if self.layers:
            kept = {r.group.name: r.nearest(r.original * (1 - self.layers[r.group.name] * done)) for r in ranked}
        elif share := self.macs or self.parameters:
            kept = self._within(ranked, costs, budget * (1 - share * done))
        else:
            kept = allocate(ranked, self.ratio * done, self.scope, self.criterion in NEED_GRADIENTS)
        return {r.group.name: r.doomed(kept[r.group.name]) for r in ranked}

    def _within(self, ranked: tuple[Ranked, ...], costs: Budget, wanted: float) -> dict[str, int]:
        """The widths of the smallest share that costs at most `wanted`, by bisection."""
        low, high = 0.0, 1.0
        best = allocate(ranked, high, self.scope, self.criterion in NEED_GRADIENTS)
        for _ in range(_SEARCH_STEPS):
            middle = (low + high) / 2
            kept = allocate(ranked, middle, self.scope, self.criterion in NEED_GRADIENTS)
            if costs(kept) <= wanted:
                best, high = kept, middle
            else:
                low = middle
        return best


def _check_share(name: str, share: float) -> None:
    if not 0 <= share < 1:
        raise ConfigError(f"`{name}` must be in [0, 1), got {share}: 1 would empty a layer. To prune 20% use 0.2.")
