import pytest

from pocketlens.types import Interval, Measurement, Spread, saves_download_only
from pocketlens.verdict import judge


def measurement(
    size: int, *, disk: int = 0, agreement: float = 1.0, sqnr: float = 999.0, **fidelity: object
) -> Measurement:
    return Measurement(
        name="m",
        size_bytes=size,
        disk_bytes=disk or size,
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
    assert verdict.fidelity == "same answer as the original on 99.0% of 100 images, SQNR 21.0 dB"
    assert verdict.sentence.startswith("QuantizeStatic paid: smaller. Download 18.6 -> 4.80 MB (3.9x smaller); ")


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


def test_what_saves_download_only_is_judged_by_that_and_says_so() -> None:
    before = measurement(3_600_000, disk=5_000_000, agreement=0.985, sqnr=24.1)
    after = measurement(2_950_000, disk=5_000_000, agreement=0.981, sqnr=23.8)
    verdict = judge("RoundForRate", before, after, speedup=interval(0.99, 1.01), packs=True)
    assert verdict.outcome == "paid"
    assert verdict.sentence == (
        "RoundForRate paid: smaller to download. Download 3.60 -> 2.95 MB (18% smaller), on disk as before; "
        "no faster, as intended (0.99 to 1.01x); "
        "same answer as the original on 98.1% of 100 images, SQNR 24.1 -> 23.8 dB."
    )


def test_a_packing_pass_that_was_not_timed_or_got_faster_is_told_as_any_other() -> None:
    before, after = measurement(3_600_000, disk=5_000_000), measurement(2_950_000, disk=5_000_000)
    assert judge("x", before, after, speedup=None, packs=True).latency == "latency not measured"
    assert "faster (1.20 to 1.30)" in judge("x", before, after, speedup=interval(1.2, 1.3), packs=True).latency
    same = judge("x", before, before, speedup=interval(0.99, 1.01), packs=True)
    assert (same.outcome, same.size) == ("no difference", "3.60 MB as before")


def test_accuracy_is_no_price_for_a_download() -> None:
    before = measurement(3_600_000, disk=5_000_000, agreement=0.985)
    after = measurement(2_000_000, disk=5_000_000, agreement=0.7)
    verdict = judge("ClusterWeights", before, after, speedup=interval(0.99, 1.01), packs=True)
    assert verdict.outcome == "did not pay"
    assert "did not pay: less accurate, though it is smaller to download." in verdict.sentence


@pytest.mark.parametrize(
    ("download", "disk", "only"),
    [(2_950_000, 5_000_000, True), (2_950_000, 4_000_000, False), (3_590_000, 5_000_000, False)],
)
def test_download_only_is_a_smaller_download_of_as_many_bytes_on_disk(download: int, disk: int, only: bool) -> None:
    before = measurement(3_600_000, disk=5_000_000)
    assert saves_download_only(before, measurement(download, disk=disk)) is only


def test_small_changes_of_size_are_told_in_percent() -> None:
    assert judge("x", SMALL, measurement(5_280_000), speedup=None).size == "4.80 -> 5.28 MB (10% larger)"
    assert judge("x", SMALL, measurement(9_600_000), speedup=None).size == "4.80 -> 9.60 MB (2.0x larger)"
