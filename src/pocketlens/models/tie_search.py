"""Which layers share one weight: those that lose least by it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn

from pocketlens.errors import ConfigError
from pocketlens.models.permutation import permute, places_of
from pocketlens.models.tieable import Tieable
from pocketlens.ops.alignment import align, shared_weight
from pocketlens.ops.groups import ChannelGroup, Side


@dataclass(frozen=True)
class _Merge:
    """Two groups made one.

    Args:
        lost: by the group that comes of it, see `TieSearch.lost`.
        added: what the two had not lost.
        turns: channel groups that get another order first.
    """

    lost: float
    added: float
    turns: tuple[tuple[ChannelGroup, Tensor], ...]


@dataclass
class TieSearch:
    """Groups of layers that are to share a weight, grown one layer or group at a time.

    Before two layers join, channels that only one of them has (inside a residual block, say) take the order in which
    both are most alike; a channel that another tie relies on stays where it is.

    All layers count the same. On ResNet-56, counting each by the noise that its silence makes at the output left fewer
    answers right, before tuning and after it: it spares the last layers, whose noise the answer bears, for earlier
    ones, whose noise adds up on the way.

    Args:
        graph: channels change places in it, nothing else; gains are above 0.
        layers: by name, in graph order.
        movable: channel groups that may take any order.
        moved: name -> how many of its channels have taken another place.
    """

    graph: fx.GraphModule
    layers: Mapping[str, Tieable]
    movable: Sequence[ChannelGroup]
    moved: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._groups: dict[str, tuple[str, ...]] = {name: (name,) for name in self.layers}
        self._lost = dict.fromkeys(self.layers, 0.0)
        self._known: dict[tuple[str, str], _Merge] = {}
        self._fixed: set[str] = set()
        self._name_of = {item.target: name for name, item in self.layers.items()}

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Names of the layers that share a weight, each group and all in graph order."""
        place = {name: i for i, name in enumerate(self.layers)}
        shared = [members for members in self._groups.values() if len(members) > 1]
        return tuple(sorted(shared, key=lambda members: place[members[0]]))

    @property
    def lost(self) -> float:
        """The share of a layer's output that its weight says no more, summed over layers: 1 is as much as one layer."""
        return sum(self._lost.values())

    def saved(self) -> int:
        """Numbers that need not be stored."""
        return sum((len(members) - 1) * self.layers[members[0]].size for members in self.groups)

    def grow(self, wanted: int) -> None:
        """Join what loses least a number saved, until so many are.

        Raises: ConfigError with the most that can be saved.
        """
        most = sum(self.layers[name].size for name in self._groups) - sum(
            {item.form: item.size for item in self.layers.values()}.values()
        )
        if wanted > most:
            raise ConfigError(f"layers that are alike can save {most:,} of the weights, not {wanted:,}; lower `share`")
        while self.saved() < wanted:
            missing = wanted - self.saved()
            prices = {pair: self._price(*pair, missing) for pair in self._pairs()}
            self.join(*min(prices, key=lambda pair: (prices[pair], pair)))

    def join(self, first: str, second: str) -> None:
        """Make the groups that two layers, of one form, are in one."""
        first, second = self._group_of(first), self._group_of(second)
        merge = self._merge(first, second)
        for group, order in merge.turns:
            permute(self.graph, group, order)
        members = set(self._groups[first]) | set(self._groups.pop(second))
        for group, order in merge.turns:
            for name in members & self._touched(group):
                self.moved[name] = self.moved.get(name, 0) + int((order != torch.arange(len(order))).sum())
        self._groups[first] = tuple(name for name in self.layers if name in members)
        self._lost[first] = merge.lost
        del self._lost[second]
        stale = set(members)
        for group in self.movable:
            if group.name not in self._fixed and members & self._touched(group):
                self._fixed.add(group.name)
                stale |= self._touched(group)
        self._known = {
            pair: known
            for pair, known in self._known.items()
            if second not in pair and not any(stale & set(self._groups[name]) for name in pair)
        }

    def weights(self, members: Sequence[str]) -> list[Tensor]:
        """As they lie in the graph now."""
        return [self._weight(name) for name in members]

    def importance(self, name: str) -> Tensor:
        """(out,): each row's share of the power of the layer's output behind its batch norm."""
        norm = self.graph.get_submodule(self.layers[name].norm_target)
        assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        power = norm.weight.detach().square() if norm.affine else torch.ones(norm.num_features)
        return power / power.sum().clamp(min=1e-30)

    def _pairs(self) -> list[tuple[str, str]]:
        firsts = list(self._groups)
        return [
            (a, b) for i, a in enumerate(firsts) for b in firsts[i + 1 :] if self.layers[a].form == self.layers[b].form
        ]

    def _price(self, first: str, second: str, missing: int) -> float:
        """What is lost for each number saved, of those that are missing: more than enough is worth no more."""
        return self._merge(first, second).added / min(self.layers[first].size, missing)

    def _merge(self, first: str, second: str) -> _Merge:
        if (first, second) not in self._known:
            seed, mover = self._groups[first], self._groups[second]
            if len(mover) > 1:
                seed, mover = mover, seed
            turns, weights, importance = self._turned(seed, mover)
            lost = _unexplained(weights, importance)
            added = lost - self._lost[first] - self._lost[second]
            self._known[first, second] = _Merge(lost, added, turns)
        return self._known[first, second]

    def _turned(
        self, seed: tuple[str, ...], mover: tuple[str, ...]
    ) -> tuple[tuple[tuple[ChannelGroup, Tensor], ...], list[Tensor], list[Tensor]]:
        """What turns a single layer towards a group, and all members' weights and importances when it has turned."""
        weights, importance = self.weights((*seed, *mover)), [self.importance(n) for n in (*seed, *mover)]
        if len(mover) != 1:
            return (), weights, importance
        layer = mover[0]
        rows, columns = self._turnable(layer, "out", seed), self._turnable(layer, "in", seed)
        if rows is None and columns is None:
            return (), weights, importance
        stands, cosine = shared_weight(weights[:-1], importance[:-1])
        known = (torch.stack(importance[:-1]) * cosine.square()).sum(0)
        orders = align(
            _scaled(stands, known),
            _scaled(weights[-1], importance[-1]),
            rows=rows is not None,
            columns=columns is not None,
        )
        weights[-1] = weights[-1][orders[0]][:, orders[1]]
        importance[-1] = importance[-1][orders[0]]
        turns = []
        for found, order in zip((rows, columns), orders, strict=True):
            if found is not None and not torch.equal(order, torch.arange(len(order))):
                group, places, backwards = found
                # Relative to each other it is the same whether one layer turns or the other turns back.
                channels = torch.argsort(order) if backwards else order
                unit_at = torch.argsort(places)
                turns.append((group, unit_at[channels[places]]))
        return tuple(turns), weights, importance

    def _turnable(self, mover: str, side: Side, seed: tuple[str, ...]) -> tuple[ChannelGroup, Tensor, bool] | None:
        """What may turn one side of `mover` relative to `seed`.

        Returns: a group, where its units lie, and whether it is the seed's, so that it turns the other way.
        """
        found = self._free(mover, side, others=set(seed))
        if found is not None:
            return (*found, False)
        if len(seed) == 1:
            found = self._free(seed[0], side, others={mover})
            return None if found is None else (*found, True)
        return None

    def _free(self, name: str, side: Side, others: set[str]) -> tuple[ChannelGroup, Tensor] | None:
        """The group of one side of a layer, if it may turn and leaves the `others` alone, and its units' channels."""
        weight, target = self._weight(name), self.layers[name].target
        for group in self.movable:
            mine = [m for m in group.members if m.layer == target]
            if group.name in self._fixed or others & self._touched(group) or [m.side for m in mine] != [side]:
                continue
            places = places_of(mine[0], group.width)
            if places.shape == (weight.shape[0 if side == "out" else 1], 1):
                return group, places[:, 0]
        return None

    def _touched(self, group: ChannelGroup) -> set[str]:
        return {self._name_of[m.layer] for m in group.members if m.layer in self._name_of}

    def _group_of(self, name: str) -> str:
        return next(first for first, members in self._groups.items() if name in members)

    def _weight(self, name: str) -> Tensor:
        weight = self.graph.get_submodule(self.layers[name].target).weight
        assert isinstance(weight, Tensor)
        return weight.detach()


def _scaled(weight: Tensor, importance: Tensor) -> Tensor:
    """Rows of length sqrt(importance)."""
    unit = nn.functional.normalize(weight.flatten(1), dim=1, eps=1e-30)
    return (unit * importance.sqrt()[:, None]).reshape(weight.shape)


def _unexplained(weights: list[Tensor], importance: list[Tensor]) -> float:
    """What all lose when they have one weight."""
    _, cosine = shared_weight(weights, importance)
    return float((torch.stack(importance) * (1 - cosine.square())).sum())
