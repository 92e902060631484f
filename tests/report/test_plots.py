from dataclasses import replace

import pytest

from pocketlens.report.data import ReportData
from pocketlens.report.plots import Axis, layer_errors, pareto


def test_an_axis_by_hand() -> None:
    axis = Axis(low=0, high=20, start=100, end=0)
    assert axis.at(5) == 75
    assert axis.ticks() == ((100, "0"), (75, "5"), (50, "10"), (25, "15"), (0, "20"))


def test_ticks_have_the_decimals_of_their_step() -> None:
    assert [text for _, text in Axis(low=11.9, high=12.9, start=0, end=1).ticks()] == [
        "12.0",
        "12.2",
        "12.4",
        "12.6",
        "12.8",
    ]


def test_marks_are_where_their_figures_are(lite0: ReportData) -> None:
    plot = pareto(lite0, 960, 400)
    assert plot is not None
    by_name = {mark.name: mark for mark in plot.marks}
    assert list(by_name) == ["fp32", "int8", "float", "1 FoldBatchNorm", "2 QuantizeStatic", "3 MatchMoments"]
    int8 = by_name["int8"]
    assert int8.x == pytest.approx(plot.x.at(4.792))
    assert int8.y == pytest.approx(plot.y.at(11.7 / 0.931))  # the original's median over the paired speed-up
    assert int8.y_high == pytest.approx(plot.y.at(11.7 / 0.919))
    assert [m.name for m in plot.marks if m.preferred] == ["float"]
    assert by_name["fp32"].colour is None
    assert by_name["float"].colour == 0  # 99.3%
    assert int8.colour == 1  # 98.6%
    assert by_name["2 QuantizeStatic"].colour == 2  # 97.75%


def test_a_small_difference_looks_small(lite0: ReportData) -> None:
    plot = pareto(replace(lite0, stages=()), 960, 400)
    assert plot is not None
    assert plot.y.high - plot.y.low >= 0.3 * 11.7


@pytest.mark.parametrize("width", [360, 960])
def test_labels_stay_inside_and_apart(lite0: ReportData, width: int) -> None:
    plot = pareto(lite0, width, 360)
    assert plot is not None
    boxes = []
    for mark in plot.marks:
        assert mark.label
        wide = 6.7 * len(mark.label)
        left = mark.label_x if mark.anchor == "start" else mark.label_x - wide
        assert left >= 0
        assert left + wide <= width
        boxes.append((left, mark.label_y - 12, left + wide, mark.label_y + 2))
    for i, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[:i]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


def test_a_crowd_drops_labels_rather_than_overlapping(lite0: ReportData) -> None:
    plot = pareto(replace(lite0, stages=lite0.stages * 20), 960, 400)
    assert plot is not None
    assert len(plot.marks) == 63
    assert any(not mark.label for mark in plot.marks)
    assert all(mark.tip for mark in plot.marks)


def test_nothing_to_plot(lite0: ReportData) -> None:
    assert pareto(replace(lite0, baseline=replace(lite0.baseline, latency_ms={})), 960, 400) is None
    assert layer_errors(replace(lite0, layer_errors=()), 960, 280) is None


def test_layer_errors_mark_the_worst_and_clip_the_exact(lite0: ReportData) -> None:
    layers = tuple(
        {"layer": name, "kind": "conv", "sqnr_db": db}
        for name, db in (("a", 300.0), ("b", 12.0), ("c", float("nan")), ("d", 30.0))
    )
    plot = layer_errors(replace(lite0, layer_errors=layers), 360, 280, worst=1)
    assert plot is not None
    assert [(s.layer, s.worst) for s in plot.stems] == [("a", False), ("b", True), ("d", False)]
    assert plot.stems[0].y == pytest.approx(plot.y.at(60))
    assert "300.0 dB" in plot.stems[0].tip
