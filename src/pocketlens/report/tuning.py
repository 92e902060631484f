"""Where the marks go in the plots of pruning and training: widths before and after, scores by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

from pocketlens.report import figures
from pocketlens.report.data import ReportData, Stage
from pocketlens.report.plots import Axis
from pocketlens.types import Json

_LEFT, _BOTTOM, _TOP = 52, 34, 14
_FILL = 0.72
"""Share of a layer's room that its bar takes."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One layer: its width before, and what stays of it."""

    x: float
    y_before: float
    y_after: float
    tip: str


@dataclass(frozen=True, kw_only=True)
class WidthPlot:
    """Channels of each layer before and after a pass.

    Args:
        stage: for people, for example "2. PruneChannels".
        wide: px of a column.
        columns: in the order of the record.
    """

    stage: str
    width: int
    height: int
    wide: float
    y: Axis
    columns: tuple[Column, ...]


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch in a curve."""

    x: float
    y: float
    tip: str


@dataclass(frozen=True, kw_only=True)
class LessonPlot:
    """Scores by epoch.

    Args:
        stage: for people, for example "3. Distil".
        validation: the curve that chose the epoch, may be empty.
        training: on the (distorted) train images.
        best: the epoch whose weights were kept; None where it is unknown, or none was as good as what came in.
    """

    stage: str
    width: int
    height: int
    x: Axis
    y: Axis
    validation: tuple[Epoch, ...]
    training: tuple[Epoch, ...]
    best: Epoch | None


def width_plots(data: ReportData, width: int, height: int) -> tuple[WidthPlot, ...]:
    """One plot a pass whose record gives widths before and after."""
    plots = []
    for place, stage in enumerate(data.stages, 1):
        layers = [x for x in stage.record.layers if figures.known(x.get("before")) and figures.known(x.get("after"))]
        if layers:
            plots.append(_widths(f"{place}. {stage.record.name}", layers, width, height))
    return tuple(plots)


def lesson_plots(data: ReportData, width: int, height: int) -> tuple[LessonPlot, ...]:
    """One plot a pass that trained for at least two epochs."""
    plots = []
    for place, stage in enumerate(data.stages, 1):
        epochs = _epochs(stage)
        if len(epochs) >= 2:
            plots.append(_lesson(f"{place}. {stage.record.name}", epochs, _kept(stage), width, height))
    return tuple(plots)


def _widths(stage: str, layers: Sequence[Json], width: int, height: int) -> WidthPlot:
    largest = max(float(layer["before"]) for layer in layers)
    y = Axis(low=0.0, high=max(largest * 1.05, 1.0), start=height - _BOTTOM, end=_TOP)
    room = (width - 14 - _LEFT) / len(layers)
    return WidthPlot(
        stage=stage,
        width=width,
        height=height,
        wide=max(room * _FILL, 1.5),
        y=y,
        columns=tuple(
            Column(
                x=_LEFT + (i + 0.5) * room,
                y_before=y.at(float(layer["before"])),
                y_after=y.at(float(layer["after"])),
                tip=_width_tip(layer),
            )
            for i, layer in enumerate(layers)
        ),
    )


def _width_tip(layer: Json) -> str:
    kind = layer.get("kind", "channels")
    lines = [str(layer.get("layer", "")), f"{layer['after']} of {layer['before']} {kind} stay"]
    return "\n".join([*lines, str(layer["locked"])] if layer.get("locked") else lines)


def _lesson(stage: str, epochs: Sequence[Json], kept: Json | None, width: int, height: int) -> LessonPlot:
    found = [float(e[k]) for e in epochs for k in ("validation", "accuracy") if figures.known(e.get(k))]
    low, high = min(found), max(found)
    slack = max(0.02, 0.08 * (high - low))
    y = Axis(low=100 * max(0.0, low - slack), high=100 * min(1.0, high + slack), start=height - _BOTTOM, end=_TOP)
    x = Axis(low=1, high=len(epochs), start=_LEFT + 12, end=width - 26)
    validation, training = (_curve(epochs, key, x, y) for key in ("validation", "accuracy"))
    best = None if kept is None else Epoch(x=x.at(kept["epoch"]), y=y.at(100 * kept["validation"]), tip=_tip(kept))
    return LessonPlot(
        stage=stage, width=width, height=height, x=x, y=y, validation=validation, training=training, best=best
    )


def _kept(stage: Stage) -> Json | None:
    """The last epoch with the score of what the pass returned."""
    scores = [value for key, value in stage.record.summary.items() if key.startswith("validation_")]
    return next((e for e in reversed(_epochs(stage)) if scores and e.get("validation") == scores[0]), None)


def _curve(epochs: Sequence[Json], key: str, x: Axis, y: Axis) -> tuple[Epoch, ...]:
    return tuple(
        Epoch(x=x.at(int(e["epoch"])), y=y.at(100 * float(e[key])), tip=_tip(e))
        for e in epochs
        if figures.known(e.get(key))
    )


def _tip(epoch: Json) -> str:
    lines = [f"epoch {epoch['epoch']}"]
    if figures.known(epoch.get("validation")):
        lines.append(f"validation {figures.percent(epoch['validation'])}")
    lines += [f"training {figures.percent(epoch.get('accuracy'))}", f"loss {figures.value(epoch.get('loss'))}"]
    return "\n".join(lines)


def _epochs(stage: Stage) -> list[Json]:
    return [x for x in stage.record.layers if figures.known(x.get("epoch")) and figures.known(x.get("accuracy"))]
