from dataclasses import replace

import pytest

from pocketlens.report.data import ReportData, Stage
from pocketlens.report.html import render
from pocketlens.report.precision import precision_plots
from pocketlens.types import Json, Record


def layer(name: str, bits: int, size_bytes: float, **more: object) -> Json:
    return {"layer": name, "bits": bits, "weights": 4000, "bytes": size_bytes, **more}


LAYERS = (
    layer("stem", 8, 900.0, harm=1e-4, sqnr_db=40.0, kl=1e-5),
    layer("<wide>", 4, 250_000.0, harm=1e-3, sqnr_db=30.0, kl=2e-4),
    layer("tail", 4, 125_000.0, harm=1e-2, sqnr_db=20.0, kl=3e-3, float_activations=True),
)

SUMMARY = {
    "layers": 3,
    "weights": 12_000,
    "packed_bytes": 375_900,
    "widest_bytes": 700_000,
    "predicted_sqnr_db": 19.54,
    "measured_sqnr_db": 18.96,
}


@pytest.fixture
def mixed(lite0: ReportData) -> ReportData:
    record = Record(name="MixPrecision", config={}, summary=SUMMARY, layers=LAYERS, notes=("Download <only>.",))
    return replace(lite0, stages=(Stage(record=record), *lite0.stages))


def test_bits_grow_upwards_and_bytes_downwards(mixed: ReportData) -> None:
    (plot,) = precision_plots(mixed, 960, 300)
    stem, wide, tail = plot.columns
    assert plot.stage == "1. MixPrecision"
    assert plot.bits.start - wide.top == pytest.approx((plot.bits.start - stem.top) / 2)
    assert tail.foot - plot.kilobytes.start == pytest.approx((wide.foot - plot.kilobytes.start) / 2)
    assert wide.foot == pytest.approx(plot.kilobytes.end)
    assert stem.top < plot.bits.start < plot.kilobytes.start < wide.foot < plot.height
    assert stem.x < wide.x < tail.x
    assert [c.floats for c in plot.columns] == [False, False, True]


def test_shares_by_hand(mixed: ReportData) -> None:
    (plot,) = precision_plots(mixed, 960, 300)
    assert [(s.bits, s.layers, s.size_bytes) for s in plot.shares] == [(4, 2, 375_000), (8, 1, 900)]


def test_tips_hold_all_figures(mixed: ReportData) -> None:
    (plot,) = precision_plots(mixed, 960, 300)
    assert plot.columns[1].tip == "<wide>\n4 bits, 0.25 MB for 4,000 weights\nalone: SQNR 30.0 dB, KL 0.0002"
    assert plot.columns[2].tip.endswith("reads and gives floats")


def test_a_layer_without_harm_has_a_tip_too(lite0: ReportData) -> None:
    record = Record(name="MixPrecision", config={}, layers=(layer("stem", 8, 0.0),))
    (plot,) = precision_plots(replace(lite0, stages=(Stage(record=record),)), 360, 280)
    assert plot.columns[0].tip == "stem\n8 bits, not measured for 4,000 weights"


def test_the_report_shows_it_and_escapes_names(mixed: ReportData) -> None:
    page = render(mixed)
    assert 'id="precision"' in page
    assert 'href="#precision"' in page
    assert "makes the download smaller, and nothing else" in page
    assert "4 bits: 2 layers, 0.38 MB" in page
    assert "8 bits: 1 layer, 0.9 kB" in page
    assert "adds up to an SQNR of 19.5 dB; all together measured 19.0 dB" in page
    assert "Download &lt;only&gt;." in page
    assert "&lt;wide&gt;" in page
    assert "<wide>" not in page


def test_a_report_without_it_has_no_such_section(lite0: ReportData) -> None:
    assert 'id="precision"' not in render(lite0)
