"""Where the marks go in the waterfall of bytes: the download after each pass, and what each left of the fidelity.

One row a step, so that names and figures have room, and a phone shows the same rows one below the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pocketlens.report import figures
from pocketlens.report.data import ReportData
from pocketlens.report.plots import Axis
from pocketlens.report.steps import Part, Step, parts, steps

_LONGEST = 22
"""Letters of a name; the tooltip has the whole."""

_LEAST = 1.5
"""Pixels that the thinnest bar takes, so that it is seen."""

_FLOORS = (0.99, 0.98, 0.95, 0.9, 0.8, 0.5, 0.0)
"""Where the axis of same answers may begin."""

_DIGIT = 7.2
"""Pixels of an average letter of a size in bold."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """A piece of text, with its baseline."""

    x: float
    y: float
    text: str
    look: str = ""
    anchor: Literal["start", "end"] = "start"


@dataclass(frozen=True, kw_only=True)
class Block:
    """A part of a bar."""

    x: float
    width: float
    look: str


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """One step.

    Args:
        y: of the bar's top, px.
        blocks: of the bar, from the left on.
        labels: name and figures.
        dot: where its share of same answers lies, (x, y), or None.
        tip: all figures.
    """

    y: float
    blocks: tuple[Block, ...]
    labels: tuple[Label, ...]
    dot: tuple[float, float] | None
    tip: str


@dataclass(frozen=True, kw_only=True)
class WaterfallPlot:
    """The rows and what joins them.

    Args:
        width: of the picture, px.
        height: of the picture, px.
        tall: px of a bar.
        rows: the original first, what ships last.
        links: (x, from y, to y): where a bar ends, down to the next.
        curve: the dots that were measured on the same images, in order.
        ends: pixels of the axis of same answers; empty where it is not drawn.
        heads: names of the columns.
    """

    width: int
    height: int
    tall: int
    rows: tuple[StepRow, ...]
    links: tuple[tuple[float, float, float], ...] = ()
    curve: tuple[tuple[float, float], ...] = ()
    ends: tuple[float, ...] = ()
    heads: tuple[Label, ...] = ()

    @property
    def adds(self) -> bool:
        """Whether a pass made the download larger."""
        return any(block.look == "added" for row in self.rows for block in row.blocks)


def waterfall(data: ReportData, width: int) -> WaterfallPlot | None:
    """The picture, for a desktop or, under 600 px, for a phone. Returns: None where nothing changed the download."""
    chain = steps(data)
    if not chain:
        return None
    return (_wide if width > 600 else _narrow)(chain, parts(data), width)


def _wide(chain: Sequence[Step], contents: Sequence[Part], width: int) -> WaterfallPlot:
    """Columns: name, bar with its size, same answers as a line, same answers and SQNR as figures."""
    top, pitch, tall = 32, 40, 18
    bars = _bars(chain, start=170, end=width - 430)
    floor = _floor(chain)
    line = Axis(low=floor, high=1.0, start=width - 300, end=width - 194)
    rows = []
    for y, step in zip(range(top, top + pitch * len(chain), pitch), chain, strict=True):
        blocks = _blocks(step, contents, bars)
        end, base = max(b.x + b.width for b in blocks) + 9, y + 13
        size, look = figures.megabytes(step.size_bytes), _look(step)
        labels = (
            Label(x=0, y=base, text=_short(step.name), look=look),
            Label(x=end, y=base, text=size, look=look),
            Label(x=end + 6 + _DIGIT * len(size), y=base, text=_change(step)),
            Label(x=width - 80, y=base, text=_same(step), anchor="end", look="name"),
            Label(x=width, y=base, text=_noise(step), anchor="end", look="name"),
        )
        dot = None if step.same is None else (line.at(step.same), y + tall / 2)
        rows.append(StepRow(y=y, blocks=blocks, labels=_said(labels), dot=dot, tip=_tip(step)))
    return WaterfallPlot(
        width=width,
        height=top + pitch * len(rows) - (pitch - tall) + 4,
        tall=tall,
        rows=tuple(rows),
        links=tuple(
            (bars.at(step.size_bytes), above.y + tall, below.y)
            for step, above, below in zip(chain, rows, rows[1:], strict=False)
        ),
        curve=tuple(row.dot for row, step in zip(rows, chain, strict=True) if row.dot and step.kind != "bundle"),
        ends=(line.start, line.end),
        heads=(
            Label(x=bars.start, y=10, text="download"),
            Label(x=line.start, y=10, text=figures.percent(floor, 0), look="middle"),
            Label(x=line.end, y=10, text="100%", look="middle"),
            Label(x=width - 80, y=10, text="same answer", anchor="end"),
            Label(x=width, y=10, text="SQNR", anchor="end"),
        ),
    )


def _narrow(chain: Sequence[Step], contents: Sequence[Part], width: int) -> WaterfallPlot:
    """Three lines a step: name and size, bar, fidelity."""
    pitch, tall = 66, 14
    bars = _bars(chain, start=0, end=width)
    rows = []
    for y, step in zip(range(18, 18 + pitch * len(chain), pitch), chain, strict=True):
        size, look = figures.megabytes(step.size_bytes), _look(step)
        fidelity = "" if step.kind == "original" else f"{_same(step)} same answer, SQNR {_noise(step)}"
        labels = (
            Label(x=0, y=y - 7, text=_short(step.name), look=look),
            Label(x=width, y=y - 7, text=size, look=look, anchor="end"),
            Label(x=width - 6 - _DIGIT * len(size), y=y - 7, text=step.change, anchor="end"),
            Label(x=0, y=y + tall + 15, text=f"{fidelity}{'; download only' if step.download_only else ''}"),
        )
        blocks = _blocks(step, contents, bars)
        rows.append(StepRow(y=y, blocks=blocks, labels=_said(labels), dot=None, tip=_tip(step)))
    return WaterfallPlot(width=width, height=pitch * len(rows) - 10, tall=tall, rows=tuple(rows))


def _bars(chain: Sequence[Step], start: float, end: float) -> Axis:
    return Axis(low=0.0, high=float(max(step.size_bytes for step in chain)), start=start, end=end)


def _blocks(step: Step, contents: Sequence[Part], bars: Axis) -> tuple[Block, ...]:
    """What is there, solid; then, pale, what the step took away, or in another colour what it added."""
    end, before = bars.at(step.size_bytes), bars.at(step.before.size_bytes)
    gone = [Block(x=end, width=before - end, look="before")] if before - end > 0.5 else []
    if step.kind == "bundle" and contents:
        room = end - bars.start
        own = [
            Block(x=bars.start + part.start * room, width=part.share * room, look=f"part{i}")
            for i, part in enumerate(contents)
        ]
        return (*own, *gone)
    kept = min(end, before)
    look = "original" if step.kind == "original" else "after"
    own = [Block(x=bars.start, width=max(kept - bars.start, _LEAST), look=look)]
    added = [Block(x=kept, width=end - kept, look="added")] if end - kept > 0.5 else []
    return (*own, *added, *gone)


def _floor(chain: Sequence[Step]) -> float:
    """Where the axis of same answers begins: at the highest round share that no step falls under."""
    least = min((step.same for step in chain if step.same is not None), default=0.0)
    return next(floor for floor in _FLOORS if least >= floor or floor == 0.0)


def _said(labels: Sequence[Label]) -> tuple[Label, ...]:
    return tuple(label for label in labels if label.text)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _look(step: Step) -> str:
    return "name strong" if step.kind == "bundle" else "name"


def _change(step: Step) -> str:
    return f"{step.change}, download only" if step.download_only else step.change


def _same(step: Step) -> str:
    return "" if step.kind == "original" else figures.percent(step.same)


def _noise(step: Step) -> str:
    return "" if step.kind == "original" else figures.decibels(step.measurement.fidelity.get("sqnr_db"))


def _tip(step: Step) -> str:
    m = step.measurement
    lines = [
        step.name,
        f"download {figures.megabytes(m.size_bytes)}" + (f" ({step.change})" if step.change else ""),
        f"on disk {figures.megabytes(m.disk_bytes)}",
        f"in memory {figures.megabytes(m.peak_memory_bytes)}",
    ]
    if step.kind != "original":
        lines += [f"same answer {_same(step)}", f"SQNR {_noise(step)}"]
    return "\n".join(lines)
