"""Passes: what a technique is, what it may use, what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from pocketlens.types.images import Data
from pocketlens.types.json import Json
from pocketlens.types.models import Fact, Model

T = TypeVar("T")


class Progress(Protocol):
    """Shows that something long is moving. The CLI's draws bars; the default is silent."""

    def track(self, items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        """Yield `items`, showing how far along they are."""
        ...

    def note(self, text: str) -> None:
        """Show `text` beside what is being tracked, for example a loss."""
        ...


class Silent:
    """Progress that shows nothing."""

    def track(self, items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        """Yield `items`."""
        yield from items

    def note(self, text: str) -> None:
        """Show nothing."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a pass may use besides the model.

    Args:
        data: never its `test` split.
        original: the model as it came in, in float.
        work: an existing folder for what a pass wants to keep, its own; a run that was killed finds it again.
        cache: an existing folder that passes and runs share, for what is dear to compute; None means `work`.
        teachers: for distillation; empty means `original`.
        unquantized: the model as it last was before it became integers; the chain keeps it for passes that repair
            what quantization did.
        seed: makes a pass repeatable.
        device: a torch device string.
        progress: see Progress.
    """

    data: Data
    original: Model
    work: Path
    cache: Path | None = None
    teachers: tuple[Model, ...] = ()
    unquantized: Model | None = None
    seed: int = 0
    device: str = "cpu"
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a pass did, as plain JSON-able data. Reports are made from these and measurements alone.

    Args:
        name: the class name of the pass.
        config: its fields.
        summary: what a reader wants first, a few numbers.
        layers: one mapping a layer that was touched; each has "layer".
        notes: sentences for the reader.
        seconds: how long it took.
    """

    name: str
    config: Json
    summary: Json = field(default_factory=dict)
    layers: tuple[Json, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class PassResult:
    """A new model and what was done to get it; the input model is untouched."""

    model: Model
    record: Record


class Pass(Protocol):
    """One technique: a frozen keyword-only dataclass whose fields are its configuration."""

    @property
    def requires(self) -> frozenset[Fact]:
        """Facts that must hold before."""
        ...

    @property
    def forbids(self) -> frozenset[Fact]:
        """Facts that must not hold before."""
        ...

    @property
    def establishes(self) -> frozenset[Fact]:
        """Facts that hold afterwards."""
        ...

    @property
    def destroys(self) -> frozenset[Fact]:
        """Facts that no longer hold afterwards."""
        ...

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return a new model. The output shape stays."""
        ...
