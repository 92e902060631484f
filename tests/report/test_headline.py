from dataclasses import replace

from pocketlens.report.data import ReportData
from pocketlens.report.headline import headlines, sentence
from pocketlens.types import Interval


def with_speed(data: ReportData, name: str, estimate: float, half_width: float = 0.02) -> ReportData:
    """The same report with another speed-up of one graph at 1 thread."""
    interval = Interval(estimate=estimate, low=estimate - half_width, high=estimate + half_width)
    return replace(data, graphs=tuple(replace(g, speedup={1: interval}) if g.name == name else g for g in data.graphs))


def test_the_three_numbers(lite0: ReportData) -> None:
    size, latency, fidelity = headlines(lite0)
    assert (size.figure, size.unit, size.tone) == ("3.9×", "smaller", "better")  # 18.592 / 4.792 = 3.88
    assert (latency.figure, latency.unit, latency.tone) == ("1.00×", "no difference", "same")
    assert (fidelity.figure, fidelity.unit, fidelity.tone) == ("+0.1 pt", "no difference", "same")
    assert "1 thread, float graph" in latency.conditions


def test_faster_and_slower(lite0: ReportData) -> None:
    faster = headlines(with_speed(lite0, "float", 2.16))[1]
    assert (faster.figure, faster.unit, faster.tone) == ("2.2×", "faster", "better")
    slower = headlines(with_speed(lite0, "float", 0.8))[1]
    assert (slower.figure, slower.unit, slower.tone) == ("1.25×", "slower", "worse")
    assert "1.22 to 1.28×" in slower.conditions


def test_a_real_loss_of_accuracy(lite0: ReportData) -> None:
    lost = replace(
        lite0.result,
        fidelity={**lite0.result.fidelity, "top1_change": -0.026, "top1_change_interval": [-0.034, -0.018]},
    )
    fidelity = headlines(replace(lite0, graphs=(lite0.graphs[0], lost)))[2]
    assert (fidelity.figure, fidelity.unit, fidelity.tone) == ("\u22122.6 pt", "less accurate", "worse")


def test_without_labels_it_is_agreement(unlabelled: ReportData) -> None:
    fidelity = headlines(unlabelled)[2]
    assert (fidelity.label, fidelity.figure) == ("Fidelity to the original", "99.3%")
    assert "not accuracy" in fidelity.conditions


def test_the_sentence_says_that_int8_was_slower(lite0: ReportData) -> None:
    assert sentence(lite0) == (
        "On this machine the float graph wins: it is 3.9× smaller than fp32 and as fast. "
        "Int8 computation was 1.07× slower than fp32 here; the float graph keeps the small download and the speed."
    )


def test_the_sentence_where_int8_wins(lite0: ReportData) -> None:
    data = replace(with_speed(lite0, "int8", 2.16), preferred="int8")
    assert sentence(data) == (
        "On this machine the int8 graph wins: it is 3.9× smaller than fp32 and 2.2× faster. "
        "The float graph was no faster than fp32 here."
    )


def test_the_sentence_promises_no_speed_that_was_not_kept(lite0: ReportData) -> None:
    said = sentence(with_speed(lite0, "float", 0.95))
    assert "keeps" not in said
    assert "1.05× slower" in said


def test_nothing_measured(lite0: ReportData) -> None:
    bare = replace(lite0.result, size_bytes=0, speedup={}, latency_ms={}, fidelity={})
    data = replace(lite0, graphs=(bare,))
    assert [h.unit for h in headlines(data)] == ["not measured"] * 3
    assert "latency was not measured" in sentence(data)


def test_a_device_elsewhere_is_told_from_this_one(lite0: ReportData) -> None:
    bare = tuple(replace(g, speedup={}, latency_ms={}) for g in lite0.graphs)
    data = replace(lite0, graphs=bare, preferred="int8", made_for="Google Edge TPU (Coral)")
    assert sentence(data) == (
        "The int8 graph is made for another device, Google Edge TPU (Coral): it is 3.9× smaller than fp32. Speed was "
        "not measured on that device; fidelity was computed here, in floats on the file's own grids."
    )
    latency = headlines(data)[1]
    assert (latency.unit, latency.tone) == ("not measured", "unknown")
    assert latency.conditions == "speed was not measured on that device, Google Edge TPU (Coral)"
