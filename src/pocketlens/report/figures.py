"""Numbers as people read them. What is None, NaN or no number at all is "not measured", never blank or 0."""

import math
import re
from typing import Any

from pocketlens.tasks import DB_LIMIT
from pocketlens.types import Interval

NOT_MEASURED = "not measured"

_FIXED = "\u00a0"
"""A space where no line may break: between a number and its unit."""

MINUS = "\u2212"
"""A true minus sign is as wide as a plus, so columns line up."""


def known(value: Any) -> bool:
    """Whether `value` is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def present(value: Any) -> bool:
    """Whether `value` is a finite number above 0: sizes, times and counts that nobody measured are 0."""
    return known(value) and value > 0


def megabytes(size_bytes: Any) -> str:
    """Decimal megabytes, as app stores count: 4871234 -> "4.87 MB"; small files in kB."""
    if not present(size_bytes):
        return NOT_MEASURED
    if size_bytes < 100e3:
        return f"{size_bytes / 1e3:.1f} kB"
    return f"{size_bytes / 1e6:.2f} MB" if size_bytes < 10e6 else f"{size_bytes / 1e6:,.1f} MB"


def binary_bytes(size_bytes: Any) -> str:
    """Caches and memory in powers of two, as data sheets give them: 49152 -> "48 KiB"."""
    if not present(size_bytes):
        return NOT_MEASURED
    power = min(int(math.log2(size_bytes) / 10), 4)
    return f"{size_bytes / 1024**power:.4g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def milliseconds(latency_ms: Any) -> str:
    """Three significant digits: 11.72 -> "11.7 ms"."""
    if not present(latency_ms):
        return NOT_MEASURED
    return f"{_three_digits(latency_ms)} ms"


def spread_ms(low: Any, high: Any) -> str:
    """Two latencies as a range: "11.5 to 12.1 ms"."""
    if not (present(low) and present(high)):
        return NOT_MEASURED
    return f"{_three_digits(low)} to {_three_digits(high)} ms"


def duration(seconds: Any) -> str:
    """Wall time: 4.2 -> "4.2 s", 83 -> "1 min 23 s"."""
    if not known(seconds):
        return NOT_MEASURED
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def percent(fraction: Any, decimals: int = 1) -> str:
    """A fraction of one as percent: 0.985 -> "98.5%"."""
    return f"{fraction:.{decimals}%}" if known(fraction) else NOT_MEASURED


def points(fraction: Any) -> str:
    """A change of a fraction in percentage points: -0.001 -> "−0.1 pt"."""
    return f"{_signed(100 * fraction)} pt" if known(fraction) else NOT_MEASURED


def points_range(low: Any, high: Any) -> str:
    """An interval of such a change: "−0.4 to +0.2 pt"."""
    return f"{_signed(100 * low)} to {_signed(100 * high)} pt" if known(low) and known(high) else NOT_MEASURED


def decibels(value: Any) -> str:
    """A signal-to-noise ratio; identical outputs have no noise to give one."""
    if not known(value):
        return NOT_MEASURED
    if abs(value) >= DB_LIMIT:
        return "identical" if value > 0 else "no finite output"
    return f"{value:.1f} dB".replace("-", MINUS)


def scientific(value: Any) -> str:
    """Small numbers such as KL divergences: 0.00312 -> "0.0031"."""
    return f"{value:.2g}".replace("-", MINUS) if known(value) else NOT_MEASURED


def count(value: Any) -> str:
    """A whole number with thousands apart; millions and more by their prefix: 4652008 -> "4.65 M"."""
    if not known(value):
        return NOT_MEASURED
    for size, prefix in ((1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:,.0f}"


def factor(value: Any) -> str:
    """How many times: 3.87 -> "3.9×"; near 1 with the digits that tell: "1.06×"."""
    if not present(value):
        return NOT_MEASURED
    return f"{value:.1f}×" if value >= 2 else f"{value:.2f}×"


def speed(speedup: Interval | None) -> str:
    """A ratio of latencies in words: "1.94× faster", "1.08× slower", or "no difference" when 1 is inside."""
    if speedup is None or not (known(speedup.estimate) and known(speedup.low) and known(speedup.high)):
        return NOT_MEASURED
    if 1.0 in speedup:
        return "no difference"
    return f"{factor(speedup.estimate)} faster" if speedup.estimate > 1 else f"{factor(1 / speedup.estimate)} slower"


def ratio_range(speedup: Interval | None) -> str:
    """The interval of a ratio of latencies, the way round that `speed` says it: slower than 1 is turned over."""
    if speedup is None or not (present(speedup.low) and present(speedup.high)):
        return NOT_MEASURED
    if speedup.high < 1.0:
        return f"{1 / speedup.high:.2f} to {1 / speedup.low:.2f}×"
    return f"{speedup.low:.2f} to {speedup.high:.2f}×"


def prose(clause: str) -> str:
    """A verdict's plain-text clause with proper arrows, minus signs and multiplication signs."""
    clause = clause.replace(" -> ", f"{_FIXED}→{_FIXED}")
    clause = clause.replace("SQNR ", f"SQNR{_FIXED}")
    clause = re.sub(r"(?<=\d) (?=(?:MB|kB|ms|pt|dB)\b)", _FIXED, clause)
    clause = re.sub(r"(?<![\w.])-(?=\d)", MINUS, clause)
    return re.sub(r"(?<=\d)x\b", "×", clause)


def words(name: str) -> str:
    """A field's name for people: "largest_shift" -> "largest shift"."""
    return name.replace("_", " ")


def value(item: Any) -> str:
    """A figure of a record, whatever its type."""
    if item is None:
        return NOT_MEASURED
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, float):
        return f"{item:.4g}".replace("-", MINUS) if math.isfinite(item) else NOT_MEASURED
    if isinstance(item, int):
        return count(item)
    if isinstance(item, list | tuple):
        return ", ".join(value(part) for part in item) or "none"
    if isinstance(item, dict):
        return ", ".join(f"{words(str(k))} {value(v)}" for k, v in item.items()) or "none"
    return str(item)


def _three_digits(number: float) -> str:
    decimals = 0 if number >= 100 else 1 if number >= 10 else 2 if number >= 1 else 3
    return f"{number:,.{decimals}f}"


def _signed(number: float) -> str:
    text = f"{number:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", MINUS)
