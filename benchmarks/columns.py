"""Columns that several benchmarks write."""

from pocketlens.types import Measurement


def latency_columns(m: Measurement) -> dict[str, object]:
    """Median, spread and speed-up over fp32 of a file, for each thread count."""
    found: dict[str, object] = {}
    for threads, spread in m.latency_ms.items():
        own = m.speedup[threads]
        found |= {
            f"latency_ms_{threads}t": spread.median,
            f"latency_p10_ms_{threads}t": spread.p10,
            f"latency_p90_ms_{threads}t": spread.p90,
            f"speedup_over_fp32_{threads}t": own.estimate,
            f"speedup_low_{threads}t": own.low,
            f"speedup_high_{threads}t": own.high,
        }
    return found
