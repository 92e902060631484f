"""PruneChannels: whole channels leave the network, so that it is smaller and faster on any runtime."""

import time
from dataclasses import asdict, dataclass
from typing import ClassVar

from pocketlens.errors import ConfigError
from pocketlens.models.canonical import clone
from pocketlens.models.channels import channel_groups, remove, require_open
from pocketlens.models.cost import count_macs, count_parameters
from pocketlens.models.selection import ChannelSelection
from pocketlens.ops.groups import ChannelGroup
from pocketlens.types import Context, Fact, Model, PassResult, Record


@dataclass(frozen=True, kw_only=True)
class PruneChannels(ChannelSelection):
    """Remove the channels (and attention heads) that matter least, together with all that depends on them.

    Args:
        steps: removes in so many steps and scores again after each.
        (the rest): see ChannelSelection.

    Raises: ConfigError for a share that would empty a layer; UnsupportedModelError when nothing can be removed.
    Reference: Fang et al. 2023 (DepGraph), arXiv:2301.12900; criteria have their own.
    """

    steps: int = 1

    requires: ClassVar[frozenset[Fact]] = frozenset()
    forbids: ClassVar[frozenset[Fact]] = frozenset(
        {"channels_final", "masked", "clustered", "tied", "quantized", "half"}
    )
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ConfigError(f"`steps` must be at least 1, got {self.steps}")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the narrower model."""
        start = time.perf_counter()
        result = clone(model)
        before = channel_groups(result)
        require_open(result, before)
        self.check_layers(before)
        widths = {g.name: g.width for g in before}
        groups, doomed = before, {}
        budget = self.cost(result)
        for step in range(1, self.steps + 1):
            groups = channel_groups(result) if step > 1 else before
            doomed = self.doomed(result, groups, context, done=step / self.steps, budget=budget, widths=widths)
            remove(result.graph, doomed, groups)
        after = {g.name: g.width - len(doomed.get(g.name, ())) for g in groups}
        places = {str(node.target): place for place, node in enumerate(model.graph.graph.nodes)}
        record = Record(
            name="PruneChannels",
            config=asdict(self) | {"layers": dict(self.layers)},
            summary={
                "macs_before": count_macs(model),
                "macs_after": count_macs(result),
                "parameters_before": count_parameters(model),
                "parameters_after": count_parameters(result),
                "locked": sum(bool(g.locked) for g in before),
            },
            layers=tuple(
                {"layer": g.name, "kind": g.kind, "before": widths[g.name], "after": after[g.name], "locked": g.locked}
                for g in sorted(before, key=lambda g: places[g.name])
            ),
            notes=(*_notes(before), *self._nothing_left(before, widths, after)),
            seconds=time.perf_counter() - start,
        )
        return PassResult(result, record)

    def _nothing_left(
        self, groups: tuple[ChannelGroup, ...], before: dict[str, int], after: dict[str, int]
    ) -> tuple[str, ...]:
        """A sentence where something was asked for and no channel left."""
        asked = self.macs or self.parameters or self.ratio or any(self.layers.values())
        if not asked or before != after:
            return ()
        widest = max(g.width for g in groups if not g.locked)
        return (
            f"no channel left: widths are rounded to multiples of {self.multiple}, and the widest layer that may "
            f"shrink has {widest}; set `multiple` lower",
        )


def _notes(groups: tuple[ChannelGroup, ...]) -> tuple[str, ...]:
    reasons: dict[str, list[str]] = {}
    for group in groups:
        if group.locked:
            reasons.setdefault(group.locked, []).append(group.name)
    return tuple(
        f"stays as wide as it is, {reason}: {', '.join(names[:4])}" + (f" and {len(names) - 4} more" * (len(names) > 4))
        for reason, names in reasons.items()
    )
