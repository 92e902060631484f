"""TieLayers: layers of equal shape share one weight, which the file stores once."""

import math
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pocketlens.datasets.choose import spread_evenly
from pocketlens.errors import ConfigError, UnknownNameError, UnsupportedModelError
from pocketlens.models import vocabulary
from pocketlens.models.canonical import clone
from pocketlens.models.permutation import movable_groups
from pocketlens.models.refit import refit_norms
from pocketlens.models.tie_search import TieSearch
from pocketlens.models.tieable import Tieable, make_gains_positive, reason_against, share_weight, tieable_layers
from pocketlens.ops.alignment import shared_weight
from pocketlens.types import Context, Fact, ImageSet, Json, Model, PassResult, Record, with_facts

_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class TieLayers:
    """Give layers of equal shape one weight, each call with a batch norm of its own, so that the file stores it once.

    Where channels are free to change places (inside a residual block), they take the order in which the layers are
    most alike. Each row of the weight says most of what the members' rows said; then every batch norm from there on is
    fitted on images to what it gave before. What is lost comes back with training: put Distil or Finetune behind this,
    and FoldBatchNorm behind that.

    Saves download and disk; a runtime computes as many operations, in as much memory, as before.

    Args:
        share: of all weights that need not be stored any more, in (0, 1): those layers are chosen that lose least; or
        layers: which layers (names as `inspect --layers` shows them) share a weight: lists of two or more. Exactly
            one of the two is given.
        images: calibration (else train) images that batch norms are fitted on; memory grows with them. Without any
            they follow the weights.

    Raises: UnknownNameError for a name that no layer has; ConfigError for layers that cannot share a weight, and for
        more than can be saved; UnsupportedModelError when no two layers are alike.
    Reference: Boulch 2018 (ShaResNet), arXiv:1702.08782, shares weights between residual blocks from the start; here
        after training.
    """

    share: float = 0.0
    layers: tuple[tuple[str, ...], ...] = ()
    images: int = 64

    requires: ClassVar[frozenset[Fact]] = frozenset()
    forbids: ClassVar[frozenset[Fact]] = frozenset({"folded", "masked", "clustered", "tied", "quantized", "half"})
    establishes: ClassVar[frozenset[Fact]] = frozenset({"tied"})
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        if any(isinstance(group, str) for group in self.layers):
            raise ConfigError(f'`layers` is a list of lists, for example [["a", "b"]], got {list(self.layers)}')
        object.__setattr__(self, "layers", tuple(tuple(group) for group in self.layers))  # TOML has lists
        if (self.share == 0) == (not self.layers):
            raise ConfigError(f"TieLayers needs `share` or `layers`, got {self.share} and {self.layers}; give one")
        if not 0 <= self.share < 1:
            raise ConfigError(f"`share` must lie in (0, 1), got {self.share}. To save 25% use 0.25.")
        if few := [group for group in self.layers if len(group) < 2]:
            raise ConfigError(f"each list of `layers` names two layers or more, got {list(few[0])}")
        counts = Counter(name for group in self.layers for name in group)
        if twice := sorted(name for name, count in counts.items() if count > 1):
            raise ConfigError(f"{', '.join(twice)} stands in `layers` more than once; join what shares one weight")
        if self.images < 1:
            raise ConfigError(f"`images` must be at least 1, got {self.images}")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with shared weights."""
        start = time.perf_counter()
        aligned = clone(model)
        aligned.graph.eval()
        layers = self._layers(aligned)
        make_gains_positive(aligned.graph, list(layers.values()))
        search = TieSearch(graph=aligned.graph, layers=layers, movable=movable_groups(aligned))
        total = _weights(model)
        if self.layers:
            for first, *others in self.layers:
                for other in others:
                    search.join(first, other)
        else:
            search.grow(math.ceil(self.share * total))
        tied = clone(aligned)
        rows, raised = _share(tied, search)
        images = _images(context)
        if images is not None:
            chosen = spread_evenly(images, self.images)
            chunks = [torch.from_numpy(b.images) for b in chosen.batches(model.spec.preprocessing, _BATCH)]
            changed = {layers[row["layer"]].norm for row in rows}
            refit_norms(tied.graph, aligned.graph, changed, chunks, context.progress)
        tied.graph.delete_all_unused_submodules()
        record = Record(
            name="TieLayers",
            config=asdict(self),
            summary={
                "shared_weights": len(search.groups),
                "layers": len(rows),
                "similarity": sum(row["similarity"] for row in rows) / len(rows),
                "weights_before": total,
                "weights_after": total - search.saved(),
                "share": search.saved() / total,
                "images": 0 if images is None else min(self.images, len(images)),
            },
            layers=rows,
            notes=_notes(raised, images),
            seconds=time.perf_counter() - start,
        )
        return PassResult(
            Model(graph=tied.graph, spec=model.spec, facts=with_facts(model, add=self.establishes)), record
        )

    def _layers(self, model: Model) -> dict[str, Tieable]:
        """The layers to choose from: those that are named, or that have their like."""
        found = tieable_layers(model.graph)
        counts = Counter(item.form for item in found.values())
        alike = {name: item for name, item in found.items() if counts[item.form] > 1}
        if not self.layers:
            if not alike:
                raise UnsupportedModelError(
                    f"no two layers of {model.spec.name} are alike: none with the same weight shape, stride, padding "
                    "and groups, each with a batch norm of its own behind it; use ClusterWeights or RoundForRate"
                )
            return alike
        nodes = {n.name: n for n in model.graph.graph.nodes if n.op == "call_module"}
        for group in self.layers:
            for name in group:
                if name not in nodes:
                    raise UnknownNameError("layer", name, alike or found)
                if name not in found:
                    reason = reason_against(model.graph, nodes[name])
                    raise ConfigError(f"{name} cannot share its weight: {reason}; leave it out of `layers`")
                if found[name].form != found[group[0]].form:
                    raise ConfigError(
                        f"{name} ({_told(model, found[name])}) cannot share the weight of {group[0]} "
                        f"({_told(model, found[group[0]])}); name layers that are alike"
                    )
        named = {name for group in self.layers for name in group}
        return {name: item for name, item in found.items() if name in named}


def _images(context: Context) -> ImageSet | None:
    images = context.data.calibration if context.data.calibration is not None else context.data.train
    return images if images is not None and len(images) else None


def _share(model: Model, search: TieSearch) -> tuple[tuple[Json, ...], int]:
    """Let the groups that were found share their weights, in place.

    Returns: a row for each layer, and how many gains were raised.
    """
    rows: list[Json] = []
    raised = 0
    for members in search.groups:
        importance = [search.importance(name) for name in members]
        weight, cosine = shared_weight(search.weights(members), importance)
        items = [search.layers[name] for name in members]
        raised += share_weight(model.graph, items, weight, cosine)
        for item, own, matters in zip(items, cosine, importance, strict=True):
            explained = (own.square() * matters).sum() / matters.sum() if matters.sum() > 0 else own.square().mean()
            rows.append(
                {
                    "layer": item.name,
                    "weight_of": members[0],
                    "similarity": float(explained.sqrt()),
                    "moved_channels": search.moved.get(item.name, 0),
                    "weights": item.size,
                }
            )
    return tuple(rows), raised


def _weights(model: Model) -> int:
    """Numbers in the weights of convolutions and linear layers, each stored once."""
    targets = {
        str(n.target)
        for n in model.graph.graph.nodes
        if vocabulary.kind(model.graph, n) in ("conv", "conv_transpose", "linear")
    }
    weights = (model.graph.get_submodule(target).weight for target in targets)
    return sum(w.numel() for w in weights if isinstance(w, Tensor))


def _told(model: Model, item: Tieable) -> str:
    """What a layer must have in common with others, for people."""
    layer = model.graph.get_submodule(item.target)
    shape = " x ".join(map(str, layer.weight.shape)) if isinstance(layer.weight, Tensor) else ""
    if not isinstance(layer, nn.Conv1d | nn.Conv2d):
        return shape
    parts = (f"{name} {getattr(layer, name)}" for name in ("stride", "padding", "dilation", "groups"))
    return ", ".join((shape, *parts))


def _notes(raised: int, images: ImageSet | None) -> tuple[str, ...]:
    notes = ["a shared weight is stored once for download and disk; memory and time at run time stay as they are"]
    if raised:
        notes.append(f"{raised} channels say next to nothing and keep a gain just above 0, so that weights stay equal")
    if images is None:
        notes.append("no images were given: batch norms were set by the weights alone")
    return tuple(notes)
