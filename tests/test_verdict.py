import pytest

from pocketlens.types import Interval, Measurement, Spread
from pocketlens.verdict import judge


def measurement(size: int, *, agreement: float = 1.0, sqnr: float = 60.0, **fidelity: object) -> Measurement:
    return Measurement(
        name="m",
        size_bytes=size,
        disk_bytes=size,
        peak_memory_bytes=1,
        parameters=1,
        macs=1,
        fidelity={"n": 100, "agreement": agreement, "sqnr_db": sqnr, **fidelity},
        latency_ms={1: Spread(median=1.0, p10=1.0, p90=1.0, n=1)},
    )


def interval(low: float, high: float) -> Interval:
    return Interval(estimate=(low + high) / 2, low=low, high=high)


BIG, SMALL = measurement(18_600_000), measurement(4_800_000, agreement=0.99, sqnr=21)


def test_smaller_at_the_same_speed_paid() -> None:
    verdict = judge("QuantizeStatic", BIG, SMALL, speedup=interval(0.97, 1.03))
    assert verdict.outcome == "paid"
    assert verdict.size == "18.6 -> 4.80 MB (3.9x smaller)"
    assert "no difference" in verdict.latency
    assert verdict.fidelity == "same answer as the original on 99.0% of 100 images"


def test_slower_and_no_smaller_did_not_pay() -> None:
    verdict = judge("x", BIG, BIG, speedup=interval(0.5, 0.6))
    assert verdict.outcome == "did not pay"
    assert "slower" in verdict.latency


def test_smaller_but_slower_says_both() -> None:
    verdict = judge("x", BIG, SMALL, speedup=interval(0.5, 0.6))
    assert verdict.outcome == "paid"
    assert "though it is slower" in verdict.sentence


def test_nothing_changed_made_no_difference() -> None:
    assert judge("FoldBatchNorm", BIG, BIG, speedup=interval(0.99, 1.01)).outcome == "no difference"


def test_no_size_pays_for_lost_accuracy() -> None:
    broken = measurement(4_800_000, agreement=0.8, top1_change=-0.1, top1_change_interval=[-0.15, -0.05])
    verdict = judge("x", BIG, broken, speedup=interval(2.0, 2.1))
    assert verdict.outcome == "did not pay"
    assert "less accurate" in verdict.sentence


def test_an_interval_with_zero_in_it_is_no_difference() -> None:
    after = measurement(4_800_000, agreement=0.99, top1_change=-0.001, top1_change_interval=[-0.004, 0.002])
    verdict = judge("x", BIG, after, speedup=None)
    assert "top-1 -0.1 pt (-0.4 to +0.2): no difference" in verdict.fidelity
    assert verdict.latency == "latency not measured"


@pytest.mark.parametrize(("sqnr", "outcome"), [(21.0, "paid"), (19.2, "no difference")])
def test_a_corrective_pass_pays_in_sqnr(sqnr: float, outcome: str) -> None:
    before = measurement(4_800_000, agreement=0.98, sqnr=19)
    after = measurement(4_800_000, agreement=0.985, sqnr=sqnr)
    assert judge("CorrectBias", before, after, speedup=interval(0.99, 1.01), corrects=True).outcome == outcome


def test_training_that_wins_accuracy_back_paid() -> None:
    pruned = measurement(4_800_000, top1_change=-0.4, top1_change_interval=[-0.45, -0.35])
    tuned = measurement(4_800_000, top1_change=-0.01, top1_change_interval=[-0.02, 0.0])
    verdict = judge("Distil", pruned, tuned, speedup=interval(0.99, 1.01), corrects=True)
    assert verdict.outcome == "paid"
    assert "more accurate" in verdict.sentence
    assert judge("Distil", tuned, tuned, speedup=interval(0.99, 1.01), corrects=True).outcome == "no difference"
