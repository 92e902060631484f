"""Where the marks of each plot go. Geometry only, in pixels of the SVG; the template draws it.

Inline SVG, since Plotly ships one script of 4.8 MB: too heavy to send to a colleague.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pocketlens.report import figures
from pocketlens.report.data import ReportData
from pocketlens.types import Measurement

MarkKind = Literal["original", "stage", "graph"]

FIDELITY_STEPS = ((0.99, "99% or more"), (0.98, "98 to 99%"), (0.95, "95 to 98%"), (0.0, "under 95%"))
"""Least share of same answers -> what the legend says; the place in this table is the colour."""

DB_CEILING = 60.0
"""Above this a layer's error is invisible: float rounding alone. The error plot clips here."""

_LETTER = 6.7
"""Pixels of an average letter at the 12 px of a label."""

_GAP = 16
"""Pixels from a mark's centre to its label: clear of the ring around the best one."""

_LONGEST_LABEL = 22
_LINE = 15
_LEAST_SPAN = 0.3
"""The latency axis spans at least this share of the original's: a smaller difference must look small."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A linear scale: `low` lies at `start` px, `high` at `end` px."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, wanted: int = 5) -> tuple[tuple[float, str], ...]:
        """(pixel, text) at round values, about `wanted` of them: steps are 1, 2 or 5 times a power of ten."""
        raw = (self.high - self.low) / wanted
        power = 10 ** math.floor(math.log10(raw))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
        decimals = max(0, -math.floor(math.log10(step)))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return tuple((self.at(i * step), f"{i * step:.{decimals}f}") for i in range(first, last + 1))


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One measured file in the size and latency plot.

    Args:
        name: the file's.
        kind: what it is.
        preferred: whether this device should run it.
        colour: index into FIDELITY_STEPS, or None when fidelity was not measured or it is the original.
        x: of its centre, px.
        y: of its centre, px.
        y_low: of the low end of the latency's interval, px.
        y_high: of its high end, px.
        tip: all figures, for the tooltip.
        label: short name; empty when no room was found beside the mark.
        label_x: where the label is anchored, px.
        label_y: its baseline, px.
        anchor: SVG's text-anchor.
    """

    name: str
    kind: MarkKind
    preferred: bool
    colour: int | None
    x: float
    y: float
    y_low: float
    y_high: float
    tip: str
    label: str = ""
    label_x: float = 0.0
    label_y: float = 0.0
    anchor: Literal["start", "end"] = "start"


@dataclass(frozen=True, kw_only=True)
class ParetoPlot:
    """Size against latency."""

    width: int
    height: int
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]


@dataclass(frozen=True, kw_only=True)
class Stem:
    """One layer in the error plot: its mark, and where a label goes when it is among the worst."""

    layer: str
    kind: str
    x: float
    y: float
    tip: str
    worst: bool


@dataclass(frozen=True, kw_only=True)
class ErrorPlot:
    """Signal-to-noise ratio of each layer's output, in graph order."""

    width: int
    height: int
    y: Axis
    stems: tuple[Stem, ...]


def pareto(data: ReportData, width: int, height: int) -> ParetoPlot | None:
    """Size against latency of the original, every measured stage and every graph.

    Stages and graphs ran in different races, so their latency is the original's median divided by the speed-up
    that was paired within each race: comparable where raw medians are not.

    Returns: None when nothing has both a size and a latency.
    """
    threads = data.threads
    base = data.baseline.latency_ms.get(threads) if threads is not None else None
    if threads is None or base is None or not figures.present(base.median):
        return None
    entries: list[tuple[Measurement, MarkKind]] = [(data.baseline, "original")]
    entries.extend((graph, "graph") for graph in data.graphs)
    entries.extend((stage.measurement, "stage") for stage in data.stages if stage.measurement)
    found: list[tuple[Measurement, MarkKind, tuple[float, float, float]]] = [
        (m, kind, span) for m, kind in entries if (span := _latency(m, threads, base.median, kind))
    ]
    found = [entry for entry in found if figures.present(entry[0].size_bytes)]
    if not found:
        return None
    largest = max(m.size_bytes for m, _, _ in found) / 1e6
    low, high = min(span[1] for _, _, span in found), max(span[2] for _, _, span in found)
    slack = max(0.12 * (high - low), (_LEAST_SPAN * base.median - (high - low)) / 2)
    x = Axis(low=0.0, high=largest * 1.12, start=58, end=width - 16)
    y = Axis(low=max(0.0, low - slack), high=high + slack, start=height - 46, end=14)
    marks = [
        Mark(
            name=m.name,
            kind=kind,
            preferred=kind == "graph" and m.name == data.preferred,
            colour=None if kind == "original" else _step(m.fidelity.get("agreement")),
            x=x.at(m.size_bytes / 1e6),
            y=y.at(span[0]),
            y_low=y.at(span[1]),
            y_high=y.at(span[2]),
            tip=_tip(m, kind, span, threads),
        )
        for m, kind, span in found
    ]
    return ParetoPlot(width=width, height=height, x=x, y=y, marks=_labelled(marks, x, y))


def layer_errors(data: ReportData, width: int, height: int, worst: int = 3) -> ErrorPlot | None:
    """The error of each layer, in graph order. Returns: None when no layer has a figure."""
    layers = [layer for layer in data.layer_errors if figures.known(layer.get("sqnr_db"))]
    if not layers:
        return None
    values = [min(float(layer["sqnr_db"]), DB_CEILING) for layer in layers]
    y = Axis(low=min(0.0, *values), high=max(10.0, *values) * 1.08, start=height - 34, end=14)
    left, right = 52, width - 14
    step = (right - left) / len(layers)
    lowest = sorted(range(len(layers)), key=values.__getitem__)[:worst]
    stems = tuple(
        Stem(
            layer=str(layer.get("layer", "")),
            kind=str(layer.get("kind", "")),
            x=left + (i + 0.5) * step,
            y=y.at(value),
            tip=f"{layer.get('layer', '')}\n{layer.get('kind', '')}, layer {i + 1} of {len(layers)}\n"
            f"SQNR {figures.decibels(layer['sqnr_db'])}",
            worst=i in lowest,
        )
        for i, (layer, value) in enumerate(zip(layers, values, strict=True))
    )
    return ErrorPlot(width=width, height=height, y=y, stems=stems)


def _latency(m: Measurement, threads: int, base_ms: float, kind: MarkKind) -> tuple[float, float, float] | None:
    """(estimate, low, high) in ms: paired where it can be, else the median with its 10th and 90th percentile."""
    paired = m.speedup.get(threads)
    if kind != "original" and paired and all(figures.present(v) for v in (paired.estimate, paired.low, paired.high)):
        return base_ms / paired.estimate, base_ms / paired.high, base_ms / paired.low
    spread = m.latency_ms.get(threads)
    if spread is None or not all(figures.present(v) for v in (spread.median, spread.p10, spread.p90)):
        return None
    if kind == "original":  # the others' intervals are relative to it
        return spread.median, spread.median, spread.median
    return spread.median, spread.p10, spread.p90


def _step(agreement: object) -> int | None:
    if not isinstance(agreement, float | int) or not figures.known(agreement):
        return None
    return next(i for i, (least, _) in enumerate(FIDELITY_STEPS) if agreement >= least or least == 0.0)


def _tip(m: Measurement, kind: MarkKind, span: tuple[float, float, float], threads: int) -> str:
    lines = [m.name, f"download {figures.megabytes(m.size_bytes)}"]
    lines.append(f"latency {figures.milliseconds(span[0])}, {threads} thread{'' if threads == 1 else 's'}")
    if kind != "original":
        paired = m.speedup.get(threads)
        lines.append(f"against the original: {figures.speed(paired)} ({figures.ratio_range(paired)})")
        lines.append(f"same answer {figures.percent(m.fidelity.get('agreement'))}")
        lines.append(f"SQNR {figures.decibels(m.fidelity.get('sqnr_db'))}")
    return "\n".join(lines)


def _labelled(marks: Sequence[Mark], x: Axis, y: Axis) -> tuple[Mark, ...]:
    """Give each mark the nearest free place for its label; the first marks choose first."""
    taken = [(m.x - 9, m.y - 9, m.x + 9, m.y + 9) for m in marks]
    placed = []
    for mark in marks:
        text = mark.name if len(mark.name) <= _LONGEST_LABEL else f"{mark.name[: _LONGEST_LABEL - 1]}…"
        wide = len(text) * _LETTER
        for shift in (0, -_LINE, _LINE, -2 * _LINE, 2 * _LINE, -3 * _LINE, 3 * _LINE, -4 * _LINE, 4 * _LINE):
            right, left = (mark.x + _GAP, mark.x + _GAP + wide), (mark.x - _GAP - wide, mark.x - _GAP)
            spot = next(
                (
                    (sides, anchor)
                    for sides, anchor in ((right, "start"), (left, "end"))
                    if _free((sides[0], mark.y + shift - 8, sides[1], mark.y + shift + 6), taken, x, y)
                ),
                None,
            )
            if spot:
                (start, end), anchor = spot
                taken.append((start, mark.y + shift - 8, end, mark.y + shift + 6))
                at = start if anchor == "start" else end
                mark = replace(mark, label=text, label_x=at, label_y=mark.y + shift + 4, anchor=anchor)
                break
        placed.append(mark)
    return tuple(placed)


Box = tuple[float, float, float, float]


def _free(box: Box, taken: Sequence[Box], x: Axis, y: Axis) -> bool:
    left, top, right, bottom = box
    if left < x.start or right > x.end + 10 or top < y.end - 10 or bottom > y.start:
        return False
    return not any(left < r and right > le and top < b and bottom > t for le, t, r, b in taken)
