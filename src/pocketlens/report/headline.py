"""What the reader wants first: three numbers and one honest sentence."""

from dataclasses import dataclass
from typing import Literal

from pocketlens.report import figures
from pocketlens.report.data import ReportData
from pocketlens.types import SIZE_NOISE, Interval, Measurement

Tone = Literal["better", "worse", "same", "unknown"]
"""What a figure means for the reader; drawn as colour, always beside the word."""

_SEEN_AGREEMENT = 0.95
"""Below this share of same answers a reader should see a warning, as in `verdict`."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One of the three numbers.

    Args:
        label: what it is of.
        figure: the number, large.
        unit: what stands beside it, small.
        tone: see Tone.
        detail: before and after.
        conditions: what makes it repeatable.
    """

    label: str
    figure: str
    unit: str
    tone: Tone
    detail: str
    conditions: str


def headlines(data: ReportData) -> tuple[Headline, Headline, Headline]:
    """Size, latency and fidelity of the preferred graph against the original."""
    return _size(data), _latency(data), _fidelity(data)


def sentence(data: ReportData) -> str:
    """What to make of it, in words: the graph that won here, then how the others fared."""
    best = data.result
    smaller = _size_words(data.baseline, best)
    if data.made_for:
        return (
            f"The {best.name} graph is made for another device, {data.made_for}: it is {smaller} than "
            f"{data.baseline.name}. Speed was not measured on that device; fidelity was computed here, in floats on "
            "the file's own grids."
        )
    pace = _pace(_speedup(best, data.threads))
    said = f"On this machine the {best.name} graph wins: it is {smaller} than {data.baseline.name} and {pace}."
    if len(data.graphs) == 1:
        said = f"The {best.name} graph is {smaller} than {data.baseline.name} and {pace} on this machine."
    for other in data.graphs:
        if other.name != best.name:
            said += f" {_other(other, data)}"
    return said


def _other(other: Measurement, data: ReportData) -> str:
    """One clause on a graph that did not win."""
    speedup = _speedup(other, data.threads)
    name = _computation(other.name)
    if figures.speed(speedup) == figures.NOT_MEASURED:
        return f"The latency of {name} was not measured."
    assert speedup is not None
    if 1.0 in speedup:
        return f"{name} was no faster than {data.baseline.name} here."
    if speedup.estimate > 1:
        return f"{name} was {figures.speed(speedup)} than {data.baseline.name}, but not the best choice."
    best = _speedup(data.result, data.threads)
    kept = ""
    if best is not None and best.high >= 1.0:
        kept = f"; the {data.result.name} graph keeps the small download and the speed"
    return f"{name} was {figures.speed(speedup)} than {data.baseline.name} here{kept}."


def _computation(name: str) -> str:
    return "Int8 computation" if name == "int8" else f"The {name} graph"


def _size_words(before: Measurement, after: Measurement) -> str:
    if not (figures.present(before.size_bytes) and figures.present(after.size_bytes)):
        return "of unmeasured size rather"
    change = before.size_bytes / after.size_bytes
    if abs(change - 1) <= SIZE_NOISE:
        return "no smaller"
    return f"{figures.factor(change)} smaller" if change > 1 else f"{figures.factor(1 / change)} larger"


def _pace(speedup: Interval | None) -> str:
    word = figures.speed(speedup)
    if word == figures.NOT_MEASURED:
        return "its latency was not measured"
    return "as fast" if word == "no difference" else word


def _speedup(measurement: Measurement, threads: int | None) -> Interval | None:
    return None if threads is None else measurement.speedup.get(threads)


def _size(data: ReportData) -> Headline:
    before, after = data.baseline.size_bytes, data.result.size_bytes
    detail = f"{figures.megabytes(before)} → {figures.megabytes(after)}"
    conditions = "; ".join(["what a user fetches", *_other_sizes(data)])
    if not (figures.present(before) and figures.present(after)):
        return Headline(
            label="Download",
            figure="–",
            unit=figures.NOT_MEASURED,
            tone="unknown",
            detail=detail,
            conditions=conditions,
        )
    words = _size_words(data.baseline, data.result)
    if words == "no smaller":
        figure, unit, tone = "same", "size", "same"
    else:
        figure, unit = words.split(" ")
        tone = "better" if unit == "smaller" else "worse"
    return Headline(label="Download", figure=figure, unit=unit, tone=tone, detail=detail, conditions=conditions)


def _other_sizes(data: ReportData) -> list[str]:
    """On disk and in memory, before and after; what was not measured is left out."""
    before, after = data.baseline, data.result
    sizes = {
        "on disk": (before.disk_bytes, after.disk_bytes),
        "in memory": (before.peak_memory_bytes, after.peak_memory_bytes),
    }
    return [
        f"{name} {figures.megabytes(first)} → {figures.megabytes(last)}"
        for name, (first, last) in sizes.items()
        if figures.present(last)
    ]


def _latency(data: ReportData) -> Headline:
    threads, best = data.threads, data.result
    spreads = [m.latency_ms.get(threads) if threads is not None else None for m in (data.baseline, best)]
    before, after = (figures.milliseconds(s.median if s else None) for s in spreads)
    detail = f"{before} → {after}"
    speedup = _speedup(best, threads)
    word = figures.speed(speedup)
    plural = "" if threads == 1 else "s"
    conditions = f"median of one photo, {threads} thread{plural}, {best.name} graph" if threads else "no race was run"
    if data.made_for:
        conditions = f"speed was not measured on that device, {data.made_for}"
    if word == figures.NOT_MEASURED or speedup is None:
        return Headline(label="Latency", figure="–", unit=word, tone="unknown", detail=detail, conditions=conditions)
    conditions += f"; {speedup.level:.0%} interval of the ratio {figures.ratio_range(speedup)}"
    if word == "no difference":
        return Headline(
            label="Latency",
            figure=f"{speedup.estimate:.2f}×",
            unit=word,
            tone="same",
            detail=detail,
            conditions=conditions,
        )
    figure, unit = word.split(" ")
    tone = "better" if unit == "faster" else "worse"
    return Headline(label="Latency", figure=figure, unit=unit, tone=tone, detail=detail, conditions=conditions)


def _fidelity(data: ReportData) -> Headline:
    """Accuracy where labels are known, else fidelity to the original, called so."""
    found = data.result.fidelity
    images = f"{figures.count(found.get('n'))} images"
    if figures.known(found.get("top1_change")):
        return _accuracy(data, images)
    same = found.get("agreement")
    interval = found.get("agreement_interval") or (None, None)
    detail = f"SQNR of the outputs: {figures.decibels(found.get('sqnr_db'))}"
    if not figures.known(same):
        return Headline(
            label="Fidelity", figure="–", unit=figures.NOT_MEASURED, tone="unknown", detail=detail, conditions=images
        )
    assert same is not None
    tone: Tone = "same" if same >= _SEEN_AGREEMENT else "worse"
    conditions = f"agreement with the original, not accuracy: no labels; {images}"
    if figures.known(interval[0]) and figures.known(interval[1]):
        conditions += f"; 90% interval {figures.percent(interval[0])} to {figures.percent(interval[1])}"
    return Headline(
        label="Fidelity to the original",
        figure=figures.percent(same),
        unit="same answer",
        tone=tone,
        detail=detail,
        conditions=conditions,
    )


def _accuracy(data: ReportData, images: str) -> Headline:
    found = data.result.fidelity
    low, high = found.get("top1_change_interval") or (None, None)
    before = found.get("reference_top1", data.baseline.fidelity.get("top1"))
    detail = f"{figures.percent(before)} → {figures.percent(found.get('top1'))}"
    conditions = f"paired 90% interval {figures.points_range(low, high)}; {images}"
    tone: Tone = "unknown"
    if low is not None and high is not None:
        tone = "same" if low <= 0 <= high else "better" if low > 0 else "worse"
    unit = {"same": "no difference", "better": "more accurate", "worse": "less accurate"}.get(tone, "")
    figure = figures.points(found["top1_change"])
    return Headline(label="Accuracy, top-1", figure=figure, unit=unit, tone=tone, detail=detail, conditions=conditions)
