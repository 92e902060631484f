"""PruneWeights: single weights become zero and stay so."""

import time
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from pocketlens.datasets.choose import teaching_images
from pocketlens.errors import ConfigError
from pocketlens.models.canonical import clone
from pocketlens.ops import masks
from pocketlens.ops.masks import Mask
from pocketlens.ops.sparsity import cubic, pattern_mask, threshold_masks
from pocketlens.training.course import Course, Trained, lesson_of
from pocketlens.training.loop import train
from pocketlens.training.plan import TrainingPlan
from pocketlens.training.record import training_record
from pocketlens.types import Context, Fact, Model, PassResult, Record, with_facts

_UPDATES = 100
"""How often masks change during training: each update ranks all weights."""

NOTE = (
    "single zeros make nothing faster without kernels that skip them, and the file no smaller until it is coded; "
    "PruneChannels makes both smaller at once"
)


@dataclass(frozen=True, kw_only=True)
class PruneWeights(TrainingPlan):
    """Set the weights that matter least to zero: at once, or gradually while the others learn to do without.

    Args:
        sparsity: share of the weights of convolutions and linear layers that becomes zero, in [0, 1).
        score: "magnitude" (|w|), or "movement": how far training moves a weight away from zero (Sanh et al. 2020,
            arXiv:2005.07683); it needs the gradual schedule.
        scope: "global" ranks all layers together, "local" each for itself.
        schedule: "once", without training; "gradual" follows a cubic over `epochs` (Zhu & Gupta 2018).
        pattern: "n:m", for example "2:4", keeps n of every m along the input channels, in layers whose input is
            divisible by m; then `sparsity` and `scope` do not count. Only hardware with kernels for it gains.
        skip: layers that stay dense.
        (the rest): see TrainingPlan.
    """

    sparsity: float = 0.5
    score: Literal["magnitude", "movement"] = "magnitude"
    scope: Literal["global", "local"] = "global"
    schedule: Literal["once", "gradual"] = "once"
    pattern: str = ""
    skip: tuple[str, ...] = ()

    requires: ClassVar[frozenset[Fact]] = frozenset()
    forbids: ClassVar[frozenset[Fact]] = frozenset({"quantized", "half", "clustered", "tied"})
    establishes: ClassVar[frozenset[Fact]] = frozenset({"masked"})
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.sparsity < 1:
            raise ConfigError(
                f"`sparsity` must be in [0, 1), got {self.sparsity}: 1 would empty a layer. To prune 20% use 0.2."
            )
        choices = {"score": ("magnitude", "movement"), "scope": ("global", "local"), "schedule": ("once", "gradual")}
        for name, valid in choices.items():
            if getattr(self, name) not in valid:
                raise ConfigError(f"`{name}` must be one of {', '.join(valid)}, got {getattr(self, name)!r}")
        if self.score == "movement" and self.schedule == "once":
            raise ConfigError('`score` = "movement" is seen while training: set `schedule` = "gradual"')
        if self.pattern:
            _parse(self.pattern)

    @property
    def trains(self) -> bool:
        """Whether masks grow while the network is trained."""
        return self.schedule == "gradual"

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with zeros."""
        start = time.perf_counter()
        result = clone(model)
        names = [n for n in _layers(result.graph) if n not in self.skip]
        if self.schedule == "once":
            scores = {n: _weight(result.graph, n).detach().abs() for n in names}
            with masks.held(result.graph, self.masks_of(scores, self.sparsity)):
                pass
            record = Record(name="PruneWeights", config=asdict(self), seconds=time.perf_counter() - start)
        else:
            trained = self._train(result, names, context)
            result = trained.model
            seconds = time.perf_counter() - start
            record = training_record(self, trained, len(teaching_images(context.data)), seconds)
        layers, share = _sparsities(result.graph, names)
        record = Record(
            name=record.name,
            config=record.config,
            summary={**record.summary, "sparsity": share},
            layers=(*record.layers, *layers),
            notes=(*record.notes, NOTE, *self._left_dense(result.graph, names)),
            seconds=record.seconds,
        )
        facts = with_facts(result, add=self.establishes)
        return PassResult(Model(graph=result.graph, spec=result.spec, facts=facts), record)

    def masks_of(self, scores: dict[str, Tensor], sparsity: float) -> dict[str, Tensor]:
        """Layer -> mask, by pattern or by rank."""
        if not self.pattern:
            return threshold_masks(scores, sparsity, everywhere=self.scope == "global")
        n, m = _parse(self.pattern)
        return {name: pattern_mask(s, n, m) for name, s in scores.items() if s.shape[1] % m == 0}

    def _train(self, model: Model, names: list[str], context: Context) -> Trained:
        objective, teachers = lesson_of(context, self.label_smoothing)
        whole = {n: torch.ones_like(_weight(model.graph, n)) for n in names}
        constraint = GrowingSparsity(self, tuple(names))
        course = Course.within(
            context, objective, teachers=teachers, constraints=(constraint,), masks=whole, choose="last"
        )
        return train(model, self, course)

    def _left_dense(self, graph: fx.GraphModule, names: list[str]) -> tuple[str, ...]:
        if not self.pattern:
            return ()
        _, m = _parse(self.pattern)
        dense = [n for n in names if _weight(graph, n).shape[1] % m]
        return (f"dense, since their input is not divisible by {m}: {', '.join(dense[:5])}",) if dense else ()


class GrowingSparsity:
    """Raises the sparsity of held masks while a network is trained.

    Args:
        plan: sparsity, score, schedule.
        names: of the layers, masked.
    """

    def __init__(self, plan: PruneWeights, names: tuple[str, ...]) -> None:
        self._plan, self._names = plan, names

    def __str__(self) -> str:
        return f"GrowingSparsity({', '.join(self._names)})"

    def before_step(self, network: nn.Module, done: float) -> None:
        """Movement sums -w dL/dw as it goes (Sanh et al. 2020, eq. 4)."""
        if self._plan.score != "movement":
            return
        for name in self._names:
            original = _original(network, name)
            if original.grad is not None:
                _mask(network, name).score.sub_(original.detach() * original.grad)

    def after_step(self, network: nn.Module, done: float, step: float) -> None:
        """Choose masks anew a hundred times a run, and after the last step."""
        if int(done * _UPDATES) == int((done - step) * _UPDATES) and done + step < 1:
            return
        scores = {name: self._score(network, name) for name in self._names}
        for name, mask in self._plan.masks_of(scores, cubic(done, self._plan.sparsity)).items():
            _mask(network, name).mask.copy_(mask)

    def _score(self, network: nn.Module, name: str) -> Tensor:
        if self._plan.score == "movement":
            return _mask(network, name).score
        return _original(network, name).detach().abs()


def _original(network: nn.Module, name: str) -> Tensor:
    """The weight behind the mask."""
    layer: Any = network.get_submodule(name)
    return layer.parametrizations.weight.original


def _mask(network: nn.Module, name: str) -> Mask:
    layer = network.get_submodule(name)
    assert parametrize.is_parametrized(layer, "weight")
    return next(p for p in layer.parametrizations.weight if isinstance(p, Mask))  # pyright: ignore


def _layers(graph: fx.GraphModule) -> list[str]:
    """Convolutions and linear layers that multiply many inputs: depthwise filters are too small to thin."""
    names: dict[str, None] = {}
    for node in graph.graph.nodes:
        if node.op == "call_module":
            layer = graph.get_submodule(str(node.target))
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear) and layer.weight.shape[1] > 1:
                names[str(node.target)] = None
    return list(names)


def _weight(graph: nn.Module, name: str) -> Tensor:
    weight = graph.get_submodule(name).weight
    assert isinstance(weight, Tensor)
    return weight


def _sparsities(graph: fx.GraphModule, names: list[str]) -> tuple[tuple[dict[str, object], ...], float]:
    rows, zeros, total = [], 0, 0
    for name in names:
        weight = _weight(graph, name)
        count = int((weight == 0).sum())
        zeros, total = zeros + count, total + weight.numel()
        rows.append({"layer": name, "sparsity": count / weight.numel(), "weights": weight.numel()})
    return tuple(rows), zeros / max(total, 1)


def _parse(pattern: str) -> tuple[int, int]:
    parts = pattern.split(":")
    if len(parts) != 2 or not all(p.isdecimal() for p in parts) or not 0 < int(parts[0]) < int(parts[1]):
        raise ConfigError(f'`pattern` must be "n:m" with 0 < n < m, for example "2:4", got {pattern!r}')
    return int(parts[0]), int(parts[1])
