"""Where the marks go in the plot of sensitivity: which layer or grid, quantized alone, does most harm."""

from collections.abc import Sequence
from dataclasses import dataclass

from pocketlens.report import figures
from pocketlens.report.data import ReportData
from pocketlens.types import Json

_ROW, _TOP, _BOTTOM = 20, 6, 8
_LONGEST = 26
"""Letters of a label; the tooltip has the whole name."""

_PARTS = {"weights": "weight", "activations": "output"}


@dataclass(frozen=True, kw_only=True)
class HarmBar:
    """One thing that was quantized alone.

    Args:
        label: a short name of layer and part.
        weights: whether it is a weight, else an activation.
        y: of its row's top, px.
        length: of its bar, px.
        share: of the noise that all together make, as text.
        tip: all figures.
    """

    label: str
    weights: bool
    y: float
    length: float
    share: str
    tip: str


@dataclass(frozen=True, kw_only=True)
class SensitivityPlot:
    """The most harmful first.

    Args:
        left: where bars begin, px.
        tall: px of a bar.
        bars: from the worst on.
        hidden: how many more there are.
    """

    width: int
    height: int
    left: int
    tall: int
    bars: tuple[HarmBar, ...]
    hidden: int


def noise_shares(rows: Sequence[Json]) -> tuple[tuple[Json, float], ...]:
    """Each row with its share of the noise that all rows together make, the largest first.

    Errors of different quantizers are nearly independent, so their powers add.

    Args:
        rows: {"layer", "part", "sqnr_db", "kl"}; those without a figure are left out.
    """
    known = [row for row in rows if figures.known(row.get("sqnr_db"))]
    powers = [10 ** (-float(row["sqnr_db"]) / 10) for row in known]
    total = sum(powers) or 1.0
    shares = [power / total for power in powers]
    return tuple(sorted(zip(known, shares, strict=True), key=lambda pair: -pair[1]))


def sensitivity_plot(data: ReportData, width: int, shown: int = 16) -> SensitivityPlot | None:
    """Horizontal bars of noise shares. Returns: None when nothing was measured."""
    ranked = noise_shares(data.sensitivity)
    if not ranked:
        return None
    left, right = (190 if width > 600 else 150), width - 52
    largest = ranked[0][1]
    bars = tuple(
        HarmBar(
            label=_label(row),
            weights=row.get("part") == "weights",
            y=_TOP + i * _ROW,
            length=max((right - left) * share / largest, 1.0),
            share=figures.percent(share),
            tip=f"{row.get('layer', '')}, {_part(row)}\nalone: SQNR {figures.decibels(row['sqnr_db'])}, "
            f"KL {figures.scientific(row.get('kl'))}\n{figures.percent(share)} of the noise",
        )
        for i, (row, share) in enumerate(ranked[:shown])
    )
    return SensitivityPlot(
        width=width,
        height=_TOP + _ROW * len(bars) + _BOTTOM,
        left=left,
        tall=_ROW - 6,
        bars=bars,
        hidden=len(ranked) - len(bars),
    )


def _part(row: Json) -> str:
    return _PARTS.get(str(row.get("part")), str(row.get("part", "")))


def _label(row: Json) -> str:
    name = str(row.get("layer", ""))
    room = _LONGEST - len(_part(row)) - 1
    short = name if len(name) <= room else f"…{name[1 - room :]}"  # the end of a layer's name tells it apart
    return f"{short} {_part(row)}"
