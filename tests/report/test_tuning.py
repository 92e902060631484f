from dataclasses import replace

import pytest

from pocketlens.report.data import ReportData, Stage
from pocketlens.report.html import render
from pocketlens.report.tuning import lesson_plots, width_plots
from pocketlens.types import Json, Record


def epoch(number: int, validation: float | None, accuracy: float) -> Json:
    return {"layer": f"epoch {number}", "epoch": number, "validation": validation, "accuracy": accuracy, "loss": 1.0}


@pytest.fixture
def tuned(lite0: ReportData) -> ReportData:
    pruned = Record(
        name="PruneChannels",
        config={},
        layers=(
            {"layer": "stem", "kind": "channels", "before": 32, "after": 16, "locked": ""},
            {"layer": "qkv", "kind": "heads", "before": 4, "after": 4, "locked": "too <narrow>"},
        ),
    )
    taught = Record(
        name="Distil",
        config={},
        summary={"validation_top1": 0.8},
        layers=(epoch(1, 0.5, 0.4), epoch(2, 0.8, 0.6), epoch(3, 0.8, 0.7), epoch(4, 0.7, 0.9)),
    )
    return replace(lite0, stages=(Stage(record=pruned), Stage(record=taught), *lite0.stages))


def test_columns_are_as_high_as_their_widths(tuned: ReportData) -> None:
    (plot,) = width_plots(tuned, 960, 240)
    assert plot.stage == "1. PruneChannels"
    stem, qkv = plot.columns
    assert stem.y_before == pytest.approx(plot.y.at(32))
    assert stem.y_after == pytest.approx(plot.y.at(16))
    assert "16 of 32 channels stay" in stem.tip
    assert "4 of 4 heads stay" in qkv.tip


def test_no_ring_where_what_came_in_stays(tuned: ReportData) -> None:
    stages = list(tuned.stages)
    stages[1] = Stage(record=replace(stages[1].record, summary={"validation_top1": 0.9}))
    report = replace(tuned, stages=tuple(stages))
    (plot,) = lesson_plots(report, 960, 280)
    assert plot.best is None
    assert "No epoch was as good as the network that came in" in render(report)
    assert "No epoch was as good" not in render(tuned)


def test_the_ring_is_on_the_last_of_the_best(tuned: ReportData) -> None:
    (plot,) = lesson_plots(tuned, 960, 280)
    assert plot.best == plot.validation[2]
    assert plot.training[0].y == pytest.approx(plot.y.at(40))


def test_without_validation_there_is_one_curve(lite0: ReportData) -> None:
    record = Record(name="Finetune", config={}, layers=(epoch(1, None, 0.4), epoch(2, None, 0.6)))
    (plot,) = lesson_plots(replace(lite0, stages=(Stage(record=record),)), 960, 280)
    assert plot.validation == ()
    assert plot.best is None
    assert len(plot.training) == 2


def test_the_report_shows_them_and_escapes_names(tuned: ReportData) -> None:
    page = render(tuned)
    assert 'id="tuning"' in page
    assert "too &lt;narrow&gt;" in page
    assert "too <narrow>" not in page


def test_a_report_without_training_has_no_such_section(lite0: ReportData) -> None:
    assert 'id="tuning"' not in render(lite0)
