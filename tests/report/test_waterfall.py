import re
from dataclasses import replace

import pytest

from pocketlens.report.data import ReportData, Stage
from pocketlens.report.html import render
from pocketlens.report.waterfall import StepRow, WaterfallPlot, waterfall
from pocketlens.types import Record

from .conftest import of

_LETTER = 6.7
"""Pixels of an average letter."""


def drawn(data: ReportData, width: int) -> WaterfallPlot:
    plot = waterfall(data, width)
    assert plot is not None
    return plot


def blocks(row: StepRow) -> list[tuple[float, float, str]]:
    return [(round(b.x, 3), round(b.width, 3), b.look) for b in row.blocks]


def test_bars_by_hand(packed: ReportData) -> None:
    """10 MB are the 360 px from 170 on, so that a megabyte takes 36."""
    plot = drawn(packed, 960)
    original, halved, rounded, bundle = plot.rows
    assert blocks(original) == [(170, 360, "original")]
    assert blocks(halved) == [(170, 180, "after"), (350, 180, "before")]
    assert blocks(rounded) == [(170, 144, "after"), (314, 36, "before")]
    assert blocks(bundle) == [
        (170, pytest.approx(120.96), "part0"),
        (pytest.approx(290.96), pytest.approx(15.12), "part1"),
        (pytest.approx(306.08), pytest.approx(15.12), "part2"),
    ]
    assert [round(x) for x, _, _ in plot.links] == [530, 350, 314]
    assert not plot.adds


def test_without_its_parts_the_bundle_shows_what_was_added(packed: ReportData) -> None:
    plot = drawn(replace(packed, contents={}), 960)
    assert blocks(plot.rows[-1]) == [(170, 144, "after"), (314, pytest.approx(7.2), "added")]
    assert plot.adds


def test_same_answers_lie_on_an_axis_of_their_own(packed: ReportData) -> None:
    """The least is 98%, so the axis runs from there, and only what was scored on the same images is joined."""
    plot = drawn(packed, 960)
    left, right = plot.ends
    assert [head.text for head in plot.heads] == ["download", "98%", "100%", "same answer", "SQNR"]
    assert [row.dot[0] for row in plot.rows[:3] if row.dot] == [right, left, left]
    assert plot.curve == tuple(row.dot for row in plot.rows[:3])
    unscored = replace(packed.stages[0], measurement=replace(of(5.0, 5.5), fidelity={}))
    plot = drawn(replace(packed, stages=(unscored, *packed.stages[1:])), 960)
    assert plot.rows[1].dot is None
    assert len(plot.curve) == 2
    assert any(label.text == "not measured" for label in plot.rows[1].labels)


def test_tips_hold_all_three_sizes(packed: ReportData) -> None:
    assert drawn(packed, 360).rows[2].tip == (
        "3. RoundForRate\ndownload 4.00 MB (\u221220%)\non disk 5.50 MB\nin memory 99.5 MB\n"
        "same answer 98.0%\nSQNR 24.0 dB"
    )


@pytest.mark.parametrize("width", [960, 360])
def test_no_label_lies_on_another_or_leaves_the_picture(packed: ReportData, width: int) -> None:
    long = Stage(record=Record(name="ATechniqueOfAVeryLongName", config={}), measurement=of(3.9, 5.5))
    plot = drawn(replace(packed, stages=(*packed.stages, long)), width)
    boxes = []
    for label in [*plot.heads, *(label for row in plot.rows for label in row.labels)]:
        wide = _LETTER * len(label.text)
        start = label.x - (wide if label.anchor == "end" else wide / 2 if label.look == "middle" else 0)
        boxes.append((label.text, start, start + wide, label.y))
        assert start >= -2
        assert start + wide <= width + 2
        assert 0 < label.y <= plot.height
    for i, (text, start, end, y) in enumerate(boxes):
        for other, other_start, other_end, other_y in boxes[:i]:
            assert abs(y - other_y) > 11 or end <= other_start or other_end <= start, (text, other)


def test_the_report_shows_it(packed: ReportData) -> None:
    page = render(packed)
    assert page.count('id="bytes"') == 1
    assert 'href="#bytes"' in page
    assert "\u221220%, download only" in page
    assert "98.0% same answer, SQNR 24.0 dB; download only" in page
    assert re.search(r"scales and biases <b>0\.42 MB</b> 10\.0%", page)
    assert "takes 4.95 MB on disk and 99.5 MB in memory" in page


def test_a_report_in_which_nothing_shrank_has_no_such_section(packed: ReportData) -> None:
    same = tuple(replace(g, size_bytes=10_000_000) for g in packed.graphs)
    page = render(replace(packed, stages=(), graphs=same))
    assert 'id="bytes"' not in page
    assert 'href="#bytes"' not in page
