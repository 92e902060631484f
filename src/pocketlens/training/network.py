"""A graph made ready to learn: what moves, what stays, what moves it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import fx, nn

from pocketlens.errors import ModelError
from pocketlens.ops.learned_step import RoundedActivation
from pocketlens.training.plan import TrainingPlan

_SLOWEST = 0.1


def prepare(graph: fx.GraphModule, plan: TrainingPlan) -> None:
    """Gradients where the plan wants them."""
    layers = layers_in_order(graph)
    frozen = set(layers[: round(plan.freeze * len(layers))])
    for name, module in graph.named_modules():
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(parameter.is_floating_point() and _owner(name) not in frozen)


def layers_in_order(graph: fx.GraphModule) -> list[str]:
    """Names of the submodules that hold parameters, from the input on, each once; activation grids are no layers."""
    seen: dict[str, None] = {}
    for node in graph.graph.nodes:
        module = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if module is not None and not isinstance(module, RoundedActivation) and any(True for _ in module.parameters()):
            seen[str(node.target)] = None
    return list(seen)


def _owner(name: str) -> str:
    """The layer that a parametrization belongs to."""
    return name.partition(".parametrizations")[0]


def train_mode(graph: fx.GraphModule, plan: TrainingPlan) -> None:
    """Training mode; batch norms whose weights are frozen, or all of them, keep their statistics."""
    graph.train()
    for module in graph.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            still = module.affine and not module.weight.requires_grad
            if plan.batchnorm == "frozen" or still:
                module.eval()


@contextmanager
def quick_statistics(graph: fx.GraphModule) -> Iterator[None]:
    """Within the context batch-norm statistics follow the weights at a rate of at least 0.1.

    EfficientNets come with 0.01, made for training of many epochs: after pruning, their statistics would lag hundreds
    of steps behind. The layers keep their own rate afterwards.
    """
    norms = [m for m in graph.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) and m.momentum is not None]
    rates = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = max(norm.momentum or 0.0, _SLOWEST)
    try:
        yield
    finally:
        for norm, rate in zip(norms, rates, strict=True):
            norm.momentum = rate


def make_optimizer(modules: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
    """Weight decay on weights alone: biases and norms (vectors) have none."""
    trained = [p for p in modules.parameters() if p.requires_grad]
    if not trained:
        raise ModelError("`freeze` leaves nothing to train; lower it")
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": plan.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    if plan.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(plan.momentum, 0.999))
    return torch.optim.SGD(groups, lr=plan.learning_rate, momentum=plan.momentum, nesterov=plan.momentum > 0)
