"""SparsifyChannels: prepare channels for leaving, by a penalty that grows until they hardly matter."""

import time
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pocketlens.datasets.choose import teaching_images
from pocketlens.errors import ConfigError
from pocketlens.models.canonical import clone
from pocketlens.models.channels import channel_groups, require_open
from pocketlens.models.selection import ChannelSelection
from pocketlens.ops.groups import ChannelGroup
from pocketlens.training.course import Course, lesson_of
from pocketlens.training.loop import train
from pocketlens.training.plan import TrainingPlan
from pocketlens.training.record import training_record
from pocketlens.types import Context, Fact, Model, PassResult


@dataclass(frozen=True, kw_only=True)
class SparsifyChannels(ChannelSelection, TrainingPlan):
    """Train with a growing L2 penalty on the channels that are to leave; give PruneChannels the same selection after.

    What they carried moves into the channels that stay, so that the cut itself costs little. No channel leaves here.

    Args:
        strength: of the penalty at the end: weight decay of the doomed filters and gains.
        (the rest): see ChannelSelection and TrainingPlan.

    With labelled images the labels teach, without them the model as it came in.

    Reference: Wang et al. 2021 (growing regularisation), arXiv:2012.09243; on whole groups as in Fang et al. 2023.
    """

    strength: float = 1.0

    requires: ClassVar[frozenset[Fact]] = frozenset()
    forbids: ClassVar[frozenset[Fact]] = frozenset(
        {"channels_final", "masked", "clustered", "tied", "quantized", "half"}
    )
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        ChannelSelection.__post_init__(self)
        TrainingPlan.__post_init__(self)
        if self.strength < 0:
            raise ConfigError(f"`strength` must be 0 or more, got {self.strength}")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with quiet channels."""
        start = time.perf_counter()
        groups = channel_groups(clone(model))
        require_open(model, groups)
        self.check_layers(groups)
        widths = {g.name: g.width for g in groups}
        doomed = self.doomed(model, groups, context, done=1.0, budget=self.cost(model), widths=widths)
        images = teaching_images(context.data)
        objective, teachers = lesson_of(context, self.label_smoothing)
        constraint = GrowingPenalty(groups, doomed, self.strength)
        course = Course.within(context, objective, teachers=teachers, constraints=(constraint,), choose="last")
        trained = train(model, self, course)
        seconds = time.perf_counter() - start
        return PassResult(trained.model, training_record(self, trained, len(images), seconds))


class GrowingPenalty:
    """Pulls the filters and gains of doomed units to zero, harder and harder.

    Args:
        groups: of the network.
        doomed: group name -> its units that are to leave.
        strength: of the pull at the end.
    """

    def __init__(self, groups: tuple[ChannelGroup, ...], doomed: dict[str, Tensor], strength: float) -> None:
        self._strength = strength
        self._places = [
            (member.layer, member.index[torch.isin(member.unit, doomed[group.name])])
            for group in groups
            for member in group.members
            if member.side == "out" and len(doomed.get(group.name, ()))
        ]

    def __str__(self) -> str:
        return f"GrowingPenalty({self._strength}, {[(layer, index.tolist()) for layer, index in self._places]})"

    def before_step(self, network: nn.Module, done: float) -> None:
        """Add strength * done * w to the gradients."""
        with torch.no_grad():
            for layer, index in self._places:
                module = network.get_submodule(layer)
                axis = 1 if isinstance(module, nn.ConvTranspose2d) else 0
                for tensor in (module.weight, getattr(module, "bias", None)):
                    if isinstance(tensor, Tensor) and tensor.grad is not None:
                        along = axis if tensor.dim() > 1 else 0
                        pull = tensor.detach().index_select(along, index) * (self._strength * done)
                        tensor.grad.index_add_(along, index, pull)

    def after_step(self, network: nn.Module, done: float, step: float) -> None:
        """Nothing."""
