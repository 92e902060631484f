"""The codebooks of clustered layers: read off their codes, learned, and written back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.integer_layers import FloatLayer, coded_layer
from pocketlens.models.starting_weights import largest_code, scale_unit
from pocketlens.ops import affine
from pocketlens.ops.codebook_weight import CodebookWeight
from pocketlens.ops.learned_step import Steps

_AS_ONE = {1: torch.int8, 2: torch.int16, 4: torch.int32}
"""Numbers an entry -> the integer that holds as many codes, so that entries are compared as one number."""


@dataclass(frozen=True, eq=False)
class Codebook:
    """Entries that one or more layers share, number after number.

    Args:
        values: (m,), float32: codes.
        live: (m,), bool: false where an entry is all zeros, which stays so.
        power: (m,), float32: the squared scales of all weights at a place, added up.
        reach: the largest code that a number may become.
    """

    values: Tensor
    live: Tensor
    power: Tensor
    reach: int

    def counted(self, *, relative: bool) -> Tensor:
        """What the parameter is counted in, (m,), see `StartingWeight.hold`; 0 for what stays 0.

        Counted in 1 / sqrt(power), a number is as long as all weights are that it stands for.
        """
        if relative:
            size = self.values[self.live].square().mean().sqrt() if self.live.any() else torch.ones(())
        else:
            size = self.power.clamp(min=1e-30).rsqrt()
        return torch.where(self.live, size, 0.0)


@dataclass(frozen=True, eq=False)
class SharedCodes:
    """The entries of a layer's codebook learn, each for all weights that share it: see StartingWeight.

    Args:
        leaf: clustered.
        book: layers that share one have the same object.
        places: the codes' shape, int32: which number of the book each code is.
    """

    leaf: QuantizedLayer
    book: Codebook
    places: Tensor

    @property
    def reach(self) -> int:
        """See StartingWeight."""
        return self.book.reach

    def hold(self, graph: fx.GraphModule, path: str, *, learned: bool, relative: bool) -> Steps:
        """See StartingWeight. Layers that share a book still have a parameter each, see `tie`."""
        book = self.book
        steps = CodebookWeight(
            self.leaf.weight_scale,
            self.places,
            book.values,
            book.counted(relative=relative),
            book.reach,
            unit=scale_unit(self.leaf, relative=relative),
            learned=learned,
        )
        parametrize.register_parametrization(graph.get_submodule(path), "weight", steps)
        return steps

    def harden(self, graph: fx.GraphModule, path: str, steps: Steps) -> QuantizedLayer:
        """See StartingWeight."""
        layer = graph.get_submodule(path)
        assert isinstance(layer, FloatLayer)
        assert isinstance(steps, CodebookWeight)
        codes = steps.codes(_held(layer).original)
        hardened = coded_layer(layer, codes, steps.value(), self.leaf.storage)
        hardened.codebook = self.leaf.codebook
        return hardened


def tie(graph: fx.GraphModule, held: dict[str, SharedCodes]) -> None:
    """Give all layers of a book one parameter, in place.

    Args:
        graph: its layers are held, see SharedCodes.hold.
        held: path -> how.
    """
    first: dict[int, nn.Parameter] = {}
    for path, start in held.items():
        own = _held(graph.get_submodule(path))
        own.original = first.setdefault(id(start.book), own.original)


def _held(layer: nn.Module) -> Any:
    """The weight's parametrizations; `original` is the parameter."""
    assert parametrize.is_parametrized(layer, "weight")
    return layer.parametrizations.weight  # pyright: ignore


def shared_codes(graph: fx.GraphModule) -> dict[str, SharedCodes]:
    """The clustered layers of a graph: module -> its codebook and indices.

    Which entries there are and which weight has which can be read off the codes; who shares a book, and how many
    numbers an entry has, cannot, so the leaf says that (`codebook`).

    Args:
        graph: quantized. A leaf that says nothing has a book of its own with single numbers.
    """
    leaves = {name: leaf for name, leaf in graph.named_modules() if isinstance(leaf, QuantizedLayer)}
    extents = {name: leaf.codebook or (1, len(leaf.codes)) for name, leaf in leaves.items()}
    found: dict[str, SharedCodes] = {}
    for vector in sorted({vector for vector, rows in extents.values() if not rows}):
        names = [name for name, extent in extents.items() if extent == (vector, 0)]
        entries, places = _entries([leaves[name].codes for name in names], vector)
        book = _book(entries, [leaves[name] for name in names], places)
        found |= {name: SharedCodes(leaves[name], book, own) for name, own in zip(names, places, strict=True)}
    for name, (vector, rows) in extents.items():
        if rows:
            entries, places = _grouped(leaves[name].codes, vector, rows)
            found[name] = SharedCodes(leaves[name], _book(entries, [leaves[name]], [places]), places)
    return {name: found[name] for name in extents}


def _entries(codes: Sequence[Tensor], vector: int) -> tuple[Tensor, list[Tensor]]:
    """The entries of one book, (k, vector), int8, and the places of each tensor's codes in it, int32."""
    points = torch.cat([part.reshape(-1) for part in codes]).contiguous().view(_AS_ONE[vector])
    distinct, member = torch.unique(points, return_inverse=True)
    places = (member.int()[:, None] * vector + torch.arange(vector, dtype=torch.int32)).flatten()
    split = places.split([part.numel() for part in codes])
    shaped = [own.reshape(part.shape) for own, part in zip(split, codes, strict=True)]
    return distinct.view(torch.int8).reshape(-1, vector), shaped


def _grouped(codes: Tensor, vector: int, rows: int) -> tuple[Tensor, Tensor]:
    """The same for a tensor of which every so many rows have a book of their own, one behind the other."""
    entries, places, offset = [], [], 0
    for group in codes.split(rows):
        own, (at,) = _entries([group], vector)
        entries.append(own)
        places.append(at + offset)
        offset += own.numel()
    return torch.cat(entries), torch.cat(places)


def _book(entries: Tensor, leaves: Sequence[QuantizedLayer], places: Sequence[Tensor]) -> Codebook:
    power = torch.zeros(entries.numel())
    for leaf, at in zip(leaves, places, strict=True):
        square = affine.along(leaf.weight_scale.square(), at.dim(), leaf.axis).expand(at.shape)
        power.index_add_(0, at.flatten(), square.flatten())
    live = entries.ne(0).any(1, keepdim=True).expand(entries.shape).flatten()
    reach = max(largest_code(leaf) for leaf in leaves)
    return Codebook(values=entries.flatten().float(), live=live, power=power, reach=reach)
