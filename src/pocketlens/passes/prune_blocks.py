"""PruneBlocks: whole residual branches leave the network, one after the other, the least missed first."""

import time
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from pocketlens.datasets.choose import spread_evenly, teaching_images
from pocketlens.errors import ConfigError, UnsupportedModelError
from pocketlens.models.branches import drop_branch, residual_branches
from pocketlens.models.canonical import clone
from pocketlens.models.cost import count_macs, count_parameters
from pocketlens.types import Context, Fact, Model, PassResult, Record


@dataclass(frozen=True, kw_only=True)
class PruneBlocks:
    """Remove residual branches until enough multiply-accumulates are gone.

    A runtime pays for every operator it starts, so a shallower network is faster than a narrower one of the same
    size; it loses more accuracy before tuning. In each step every branch is tried, and that one leaves which changes
    the answers least for what it costs.

    Args:
        macs: share of the multiply-accumulates that leaves at least, in [0, 1).
        images: how many train (or calibration) images the answers are compared on.

    Raises: UnsupportedModelError when there are not enough branches; DataError without images.
    Reference: Veit et al. 2016, arXiv:1605.06431 (residual networks survive the loss of layers); the greedy search
    by output distance is that of Jung et al. 2019 for channels, here for branches.
    """

    macs: float = 0.3
    images: int = 256

    requires: ClassVar[frozenset[Fact]] = frozenset()
    forbids: ClassVar[frozenset[Fact]] = frozenset({"channels_final", "clustered", "tied", "quantized", "half"})
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        if not 0 <= self.macs < 1:
            raise ConfigError(f"`macs` must be in [0, 1), got {self.macs}. To remove 20% use 0.2.")
        if self.images < 1:
            raise ConfigError(f"`images` must be at least 1, got {self.images}")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the shallower model."""
        start = time.perf_counter()
        result = clone(model)
        result.graph.eval()
        before = count_macs(result)
        wanted = before * (1 - self.macs)
        layers = []
        branches = residual_branches(result)
        if self.macs and not branches:
            raise UnsupportedModelError(f"{model.spec.name} has no residual branches; use PruneChannels alone")
        if self.macs:
            images = _images(model, context, self.images)
            reference = _log_probabilities(result.graph, images)
        while self.macs and count_macs(result) > wanted:
            branches = residual_branches(result)
            if not branches:
                raise UnsupportedModelError(
                    f"without all of its residual branches {model.spec.name} still has "
                    f"{count_macs(result) / before:.0%} of its multiply-accumulates; lower `macs` ({self.macs}), "
                    "and use PruneChannels for the rest"
                )
            now = count_macs(result)
            tried = []
            for branch in context.progress.track(branches, "trying branches", len(branches)):
                smaller = clone(result)
                drop_branch(smaller.graph, branch)
                change = _divergence(reference, _log_probabilities(smaller.graph, images))
                tried.append((change / max(now - count_macs(smaller), 1), change, branch))
            _, change, branch = min(tried, key=lambda t: (t[0], t[2].name))
            drop_branch(result.graph, branch)
            layers.append({"layer": branch.name, "kl": change, "macs": count_macs(result)})
        record = Record(
            name="PruneBlocks",
            config=asdict(self),
            summary={
                "branches": len(layers),
                "macs_before": before,
                "macs_after": count_macs(result),
                "parameters_before": count_parameters(model),
                "parameters_after": count_parameters(result),
            },
            layers=tuple(layers),
            seconds=time.perf_counter() - start,
        )
        return PassResult(result, record)


def _images(model: Model, context: Context, count: int) -> list[Tensor]:
    """Batches of images, spread evenly over the set."""
    chosen = spread_evenly(teaching_images(context.data), count)
    return [torch.from_numpy(batch.images) for batch in chosen.batches(model.spec.preprocessing, 64)]


def _log_probabilities(graph: fx.GraphModule, images: list[Tensor]) -> Tensor:
    with torch.inference_mode():
        return torch.cat([F.log_softmax(graph(batch), dim=1) for batch in images])


def _divergence(wanted: Tensor, got: Tensor) -> float:
    return float(F.kl_div(got, wanted, reduction="batchmean", log_target=True))
