"""Rows of the report's tables that need more than a look-up."""

from collections.abc import Mapping
from dataclasses import dataclass

from pocketlens.report import figures
from pocketlens.report.data import ReportData
from pocketlens.types import Interval, Json, Measurement, Spread

TOP_OPERATORS = 15
"""So many of the slowest operators are shown."""


@dataclass(frozen=True, kw_only=True)
class LatencyRow:
    """One graph at one thread count.

    Args:
        name: of the graph.
        threads: intra-op threads.
        spread: its timings, or None.
        speedup: against the original; None for the original itself.
        original: whether it is the original.
        strip: (p10, median, p90) as shares of the longest p90 at that thread count, or None.
    """

    name: str
    threads: int
    spread: Spread | None
    speedup: Interval | None
    original: bool
    strip: tuple[float, float, float] | None


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One graph's figure with its length.

    Args:
        graph: whose it is.
        place: of that graph among the columns; the same place is the same colour everywhere.
        latency_ms: the figure.
        length: its share of the longest bar of the table, 0..1.
        operator: what the runtime runs a layer as.
    """

    graph: str
    place: int
    latency_ms: float
    length: float
    operator: str = ""


@dataclass(frozen=True, kw_only=True)
class TimeRow:
    """One layer or operator, a bar for every graph that has it."""

    name: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, kw_only=True)
class LayerTimes:
    """Time by layer and by operator.

    Args:
        graphs: the columns: the original first.
        layers: the slowest layers of any graph.
        hidden: how many layers are not shown.
        operators: all operators, summed over layers.
    """

    graphs: tuple[str, ...]
    layers: tuple[TimeRow, ...]
    hidden: int
    operators: tuple[TimeRow, ...]


def measured(data: ReportData) -> tuple[Measurement, ...]:
    """The original, then the graphs."""
    return (data.baseline, *data.graphs)


def latency_rows(data: ReportData) -> tuple[LatencyRow, ...]:
    """Every graph at every thread count, grouped by the latter."""
    counts = list(dict.fromkeys(t for m in measured(data) for t in m.latency_ms))
    rows = []
    for threads in counts:
        spreads = [m.latency_ms.get(threads) for m in measured(data)]
        longest = max((s.p90 for s in spreads if s and figures.present(s.p90)), default=0.0)
        for m, spread in zip(measured(data), spreads, strict=True):
            shown = spread and all(figures.present(v) for v in (spread.p10, spread.median, spread.p90))
            rows.append(
                LatencyRow(
                    name=m.name,
                    threads=threads,
                    spread=spread,
                    speedup=None if m is data.baseline else m.speedup.get(threads),
                    original=m is data.baseline,
                    strip=(spread.p10 / longest, spread.median / longest, spread.p90 / longest)
                    if spread and shown
                    else None,
                )
            )
    return tuple(rows)


def layer_times(data: ReportData) -> LayerTimes | None:
    """Time by layer and by operator, layers paired by name. Returns: None when no graph was profiled."""
    order = [data.baseline.name, *(g.name for g in data.graphs)]
    known = {name: times for name in order if (times := data.layer_times.get(name))}
    if not known:
        return None
    layers = {name: _summed(times, "layer") for name, times in known.items()}
    operators = {name: _summed(times, "operator") for name, times in known.items()}
    called: dict[tuple[str, str], str] = {}
    for name, times in known.items():
        for item in times:  # slowest first: a layer that runs as several operators is called by the first
            called.setdefault((name, str(item.get("layer"))), str(item.get("operator", "")))
    rows = _rows(layers, called)
    return LayerTimes(
        graphs=tuple(known),
        layers=rows[:TOP_OPERATORS],
        hidden=max(0, len(rows) - TOP_OPERATORS),
        operators=_rows(operators, {}),
    )


def splits(data: ReportData) -> list[tuple[str, Json]]:
    """(role, split) in the order that they are used in."""
    return [(role, split) for role, split in data.data.items() if isinstance(split, dict)]


def skipped(data: ReportData) -> list[tuple[str, str, str]]:
    """(role, image, reason) of every image that could not be read."""
    return [
        (role, str(key), str(why)) for role, split in splits(data) for key, why in (split.get("skipped") or {}).items()
    ]


def size_bars(data: ReportData, field: str) -> dict[str, float]:
    """Graph name -> its size as a share of the largest, 0..1. `field` is a size of Measurement."""
    sizes = {m.name: getattr(m, field) for m in measured(data)}
    sizes = {name: size if figures.present(size) else 0 for name, size in sizes.items()}
    largest = max(sizes.values()) or 1
    return {name: size / largest for name, size in sizes.items()}


def _summed(times: tuple[Json, ...], by: str) -> dict[str, float]:
    """Total ms by layer or by operator; what was not measured counts as nothing."""
    total: dict[str, float] = {}
    for item in times:
        latency = item.get("latency_ms")
        if latency is not None and figures.known(latency):
            name = str(item.get(by, ""))
            total[name] = total.get(name, 0.0) + latency
    return total


def _rows(by_graph: Mapping[str, dict[str, float]], called: Mapping[tuple[str, str], str]) -> tuple[TimeRow, ...]:
    """One row a name, the slowest in any graph first."""
    slowest: dict[str, float] = {}
    for times in by_graph.values():
        for name, latency in times.items():
            slowest[name] = max(slowest.get(name, 0.0), latency)
    longest = max(slowest.values(), default=0.0) or 1.0
    return tuple(
        TimeRow(
            name=name,
            bars=tuple(
                Bar(
                    graph=graph,
                    place=place,
                    latency_ms=times[name],
                    length=max(0.0, times[name]) / longest,
                    operator=called.get((graph, name), ""),
                )
                for place, (graph, times) in enumerate(by_graph.items())
                if name in times
            ),
        )
        for name in sorted(slowest, key=lambda n: -slowest[n])
    )
