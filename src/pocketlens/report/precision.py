"""Where the marks go in the picture of mixed precision: bits of each layer upwards, its bytes downwards."""

from collections.abc import Sequence
from dataclasses import dataclass

from pocketlens.report import figures
from pocketlens.report.data import ReportData, Stage
from pocketlens.report.plots import Axis
from pocketlens.types import Json

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 10
_BETWEEN = 26
"""Pixels from the foot of the bits to the head of the bytes: room for a line of text."""

_SHARE = 0.6
"""Of the height, for the bits."""

_FILL = 0.76
"""Share of a layer's room that its column takes."""


@dataclass(frozen=True, kw_only=True)
class BitColumn:
    """One layer.

    Args:
        bits: of its weights.
        x: of the column's middle, px.
        top: where its bits end, px.
        foot: where its bytes end, px.
        floats: whether it reads and gives float activations.
        tip: all figures.
    """

    bits: int
    x: float
    top: float
    foot: float
    floats: bool
    tip: str


@dataclass(frozen=True, kw_only=True)
class WidthShare:
    """All layers of one width: how many, and what they weigh."""

    bits: int
    layers: int
    size_bytes: float


@dataclass(frozen=True, kw_only=True)
class PrecisionPlot:
    """Bits and bytes of each layer, first layer to the left.

    Args:
        stage: for people, for example "3. MixPrecision".
        width: of the picture, px.
        height: of the picture, px.
        wide: px of a column.
        bits: the axis of the bits, upwards.
        kilobytes: the axis of the bytes, downwards.
        columns: in graph order.
        shares: the widths that occur, rising.
        summary: of the record.
        notes: of the record.
    """

    stage: str
    width: int
    height: int
    wide: float
    bits: Axis
    kilobytes: Axis
    columns: tuple[BitColumn, ...]
    shares: tuple[WidthShare, ...]
    summary: Json
    notes: tuple[str, ...]


def precision_plots(data: ReportData, width: int, height: int) -> tuple[PrecisionPlot, ...]:
    """One picture a pass whose record gives bits and bytes of layers."""
    plots = []
    for place, stage in enumerate(data.stages, 1):
        layers = [x for x in stage.record.layers if figures.present(x.get("bits")) and figures.known(x.get("bytes"))]
        if layers:
            plots.append(_plot(f"{place}. {stage.record.name}", stage, layers, width, height))
    return tuple(plots)


def _plot(name: str, stage: Stage, layers: Sequence[Json], width: int, height: int) -> PrecisionPlot:
    middle = _TOP + _SHARE * (height - _TOP - _BOTTOM - _BETWEEN)
    bits = Axis(low=0.0, high=8.0, start=middle, end=_TOP)
    most = max(float(x["bytes"]) for x in layers) / 1e3
    kilobytes = Axis(low=0.0, high=max(most, 1e-3), start=middle + _BETWEEN, end=height - _BOTTOM)
    room = (width - _RIGHT - _LEFT) / len(layers)
    widths = sorted({int(x["bits"]) for x in layers})
    return PrecisionPlot(
        stage=name,
        width=width,
        height=height,
        wide=max(room * _FILL, 1.5),
        bits=bits,
        kilobytes=kilobytes,
        columns=tuple(
            BitColumn(
                bits=int(x["bits"]),
                x=_LEFT + (i + 0.5) * room,
                top=bits.at(float(x["bits"])),
                foot=kilobytes.at(float(x["bytes"]) / 1e3),
                floats=bool(x.get("float_activations")),
                tip=_tip(x),
            )
            for i, x in enumerate(layers)
        ),
        shares=tuple(_share(b, [x for x in layers if int(x["bits"]) == b]) for b in widths),
        summary=stage.record.summary,
        notes=stage.record.notes,
    )


def _share(bits: int, layers: Sequence[Json]) -> WidthShare:
    return WidthShare(bits=bits, layers=len(layers), size_bytes=sum(float(x["bytes"]) for x in layers))


def _tip(layer: Json) -> str:
    lines = [
        str(layer.get("layer", "")),
        f"{layer['bits']} bits, {figures.megabytes(layer['bytes'])} for {figures.count(layer.get('weights'))} weights",
    ]
    if figures.known(layer.get("sqnr_db")):
        lines.append(f"alone: SQNR {figures.decibels(layer['sqnr_db'])}, KL {figures.scientific(layer.get('kl'))}")
    return "\n".join([*lines, "reads and gives floats"] if layer.get("float_activations") else lines)
