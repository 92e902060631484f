from dataclasses import replace

import pytest

from pocketlens.report.data import ReportData
from pocketlens.report.html import render
from pocketlens.report.sensitivity import noise_shares, sensitivity_plot
from pocketlens.types import Json


def row(layer: str, part: str, sqnr_db: float | None) -> Json:
    return {"layer": layer, "part": part, "sqnr_db": sqnr_db, "kl": 0.001}


@pytest.fixture
def measured(lite0: ReportData) -> ReportData:
    rows = [row("stem", "weights", 30.0), row("blocks_3_depthwise_convolution_0", "activations", 20.0)]
    return replace(lite0, sensitivity=(*rows, row("<b>", "weights", 30.0), row("unknown", "weights", None)))


def test_shares_by_hand() -> None:
    """20 dB is a hundredth of the signal, 30 dB a thousandth: 10 to 1 to 1."""
    shares = noise_shares([row("a", "weights", 30.0), row("b", "weights", 20.0), row("c", "weights", 30.0)])
    assert [r["layer"] for r, _ in shares] == ["b", "a", "c"]
    assert [s for _, s in shares] == pytest.approx([10 / 12, 1 / 12, 1 / 12])


def test_bars_are_as_long_as_their_shares(measured: ReportData) -> None:
    plot = sensitivity_plot(measured, 960, shown=2)
    assert plot is not None
    first, second = plot.bars
    assert second.length == pytest.approx(first.length / 10)
    assert plot.hidden == 1
    assert first.label.endswith("convolution_0 output")
    assert len(first.label) <= 26
    assert "blocks_3_depthwise_convolution_0, output" in first.tip
    assert not first.weights
    assert second.weights


def test_it_is_in_the_report_and_escaped(measured: ReportData, lite0: ReportData) -> None:
    page = render(measured)
    assert "what hurts alone" in page
    assert "&lt;b&gt; weight" in page
    assert "<b> weight" not in page
    assert "what hurts alone" not in render(replace(lite0, sensitivity=()))


def test_nothing_measured_gives_no_plot(lite0: ReportData) -> None:
    assert sensitivity_plot(replace(lite0, sensitivity=(row("a", "weights", None),)), 960) is None
