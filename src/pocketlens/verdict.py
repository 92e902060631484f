"""Verdicts: was it worth it on this device, by the file's own figures."""

from pocketlens.types import SIZE_NOISE, Interval, Measurement, Outcome, Verdict, saves_download_only

LATENCY_NOISE = 0.02
"""A ratio whose interval reaches to within 2% of 1 is no difference: fresh processes of one file differ by that."""

TOLERATED_DROP = 0.01
"""A top-1 loss is held against a pass only when its whole interval lies beyond one point."""

TOLERATED_DISAGREEMENT = 0.05
"""Without labels: the share of changed answers beyond which, its whole interval, a pass is blamed."""

SQNR_GAIN_DB = 0.5
"""What a corrective pass must win back to have paid."""

TOP1_GAIN = 0.01
"""What a pass that trains must win back to have paid, where labels are known."""

_CLEAN_DB = 60.0
"""Above this nothing but float rounding is heard: no start for a comparison."""

_FACTOR_FROM = 1.5
"""Sizes that differ by less are compared in percent."""


def judge(
    name: str,
    before: Measurement,
    after: Measurement,
    *,
    speedup: Interval | None,
    corrects: bool = False,
    packs: bool = False,
) -> Verdict:
    """Judge what came between two measurements.

    Args:
        name: of the pass or graph.
        before: without it.
        after: with it.
        speedup: latency before / latency after, paired; None when it was not measured.
        corrects: whether it is there to win fidelity back, so that a gain in SQNR counts as paid.
        packs: whether it is there for fewer bytes to fetch, so that being no faster is as intended.
    """
    gains, losses = [], []
    change = after.size_bytes / before.size_bytes
    if change < 1 - SIZE_NOISE:
        gains.append("smaller to download" if saves_download_only(before, after) else "smaller")
    elif change > 1 + SIZE_NOISE:
        losses.append("larger")
    if speedup is not None and _differs(speedup):
        (gains if speedup.estimate > 1 else losses).append("faster" if speedup.estimate > 1 else "slower")
    fidelity_lost = _lost(before, after)
    if fidelity_lost:
        losses.append("less accurate")
    elif corrects and _top1(after) - _top1(before) >= TOP1_GAIN:
        gains.append("more accurate")
    elif corrects and _sqnr(after) - _sqnr(before) >= SQNR_GAIN_DB:
        gains.append("closer to the original")
    outcome = _outcome(gains, losses)
    size, fidelity = size_clause(before, after), fidelity_clause(before, after)
    intended = packs and speedup is not None and not _differs(speedup)
    latency = f"no faster, as intended {_range(speedup)}" if intended and speedup else latency_clause(speedup)
    what = {"paid": "paid", "did not pay": "did not pay", "no difference": "made no difference"}[outcome]
    if outcome == "paid" and losses:
        what = f"paid ({' and '.join(gains)}), though it is {' and '.join(losses)}"
    elif outcome == "did not pay" and gains:
        what = f"{what}: {' and '.join(losses)}, though it is {' and '.join(gains)}"
    elif gains or losses:
        what = f"{what}: {' and '.join(gains + losses)}"
    return Verdict(
        name=name,
        outcome=outcome,
        size=size,
        latency=latency,
        fidelity=fidelity,
        sentence=f"{name} {what}. Download {size}; {latency}; {fidelity}.",
    )


def size_clause(before: Measurement, after: Measurement) -> str:
    """Of the download: "18.6 -> 4.8 MB (3.9x smaller)", or "3.60 -> 2.95 MB (18% smaller), on disk as before"."""
    factor = before.size_bytes / after.size_bytes
    if abs(1 - 1 / factor) <= SIZE_NOISE:
        return f"{_mb(after.size_bytes)} MB as before"
    larger = max(factor, 1 / factor)
    if larger >= _FACTOR_FROM:
        word = f"{larger:.1f}x {'smaller' if factor > 1 else 'larger'}"
    else:
        word = f"{abs(1 - 1 / factor):.0%} {'smaller' if factor > 1 else 'larger'}"
    disk = ", on disk as before" if saves_download_only(before, after) else ""
    return f"{_mb(before.size_bytes)} -> {_mb(after.size_bytes)} MB ({word}){disk}"


def latency_clause(speedup: Interval | None) -> str:
    """For example "1.94x faster (1.90 to 1.98)"."""
    if speedup is None:
        return "latency not measured"
    if not _differs(speedup):
        return f"no difference in latency {_range(speedup)}"
    if speedup.estimate > 1:
        return f"{speedup.estimate:.2f}x faster ({speedup.low:.2f} to {speedup.high:.2f})"
    return f"{1 / speedup.estimate:.2f}x slower ({1 / speedup.high:.2f} to {1 / speedup.low:.2f})"


def fidelity_clause(before: Measurement, after: Measurement) -> str:
    """Accuracy with its interval where labels are known, then fidelity to the original, called so."""
    figures = after.fidelity
    same = f"same answer as the original on {figures['agreement']:.1%} of {figures['n']} images"
    noise = sqnr_clause(_sqnr(before), _sqnr(after))
    same = f"{same}, {noise}" if noise else same
    interval = figures.get("top1_change_interval")
    if interval is None:
        return same
    low, high = (100 * v for v in interval)
    change = 100 * figures["top1_change"]
    word = ": no difference" if low <= 0 <= high else ""
    return f"top-1 {change:+.1f} pt ({low:+.1f} to {high:+.1f}){word}, {same}"


def sqnr_clause(before: float, after: float) -> str:
    """For example "SQNR 24.1 -> 23.8 dB", or "SQNR 24.1 dB" where nothing was lost before; "" where nothing is now."""
    if after >= _CLEAN_DB:
        return ""
    return f"SQNR {after:.1f} dB" if before >= _CLEAN_DB else f"SQNR {before:.1f} -> {after:.1f} dB"


def _range(speedup: Interval) -> str:
    return f"({speedup.low:.2f} to {speedup.high:.2f}x)"


def _differs(speedup: Interval) -> bool:
    """Whether a ratio of latencies lies beyond the noise."""
    return speedup.low > 1 + LATENCY_NOISE or speedup.high < 1 - LATENCY_NOISE


def _lost(before: Measurement, after: Measurement) -> bool:
    interval = after.fidelity.get("top1_change_interval")
    if interval is not None:
        earlier = before.fidelity.get("top1_change") or 0.0
        return interval[1] < -TOLERATED_DROP and after.fidelity["top1_change"] < earlier - TOLERATED_DROP
    highest = after.fidelity.get("agreement_interval", (0.0, after.fidelity["agreement"]))[1]
    return highest < before.fidelity["agreement"] - TOLERATED_DISAGREEMENT


def _sqnr(measurement: Measurement) -> float:
    return float(measurement.fidelity["sqnr_db"])


def _top1(measurement: Measurement) -> float:
    """The change of top-1 against the original; 0 without labels."""
    return float(measurement.fidelity.get("top1_change") or 0.0)


def _outcome(gains: list[str], losses: list[str]) -> Outcome:
    """A gain pays for a loss of another kind, but for accuracy: nothing pays for that."""
    if "less accurate" in losses:
        return "did not pay"
    if gains:
        return "paid"
    return "did not pay" if losses else "no difference"


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.2f}" if size_bytes < 10e6 else f"{size_bytes / 1e6:.1f}"
