from dataclasses import replace

import pytest

from pocketlens.report.data import ReportData
from pocketlens.report.steps import Step, parts, steps

from .conftest import of


def test_every_measured_step_with_what_it_changed(packed: ReportData) -> None:
    chain = steps(packed)
    assert [step.name for step in chain] == ["fp32", "1. QuantizeStatic", "3. RoundForRate", "bundle"]
    assert [step.kind for step in chain] == ["original", "pass", "pass", "bundle"]
    assert [step.change for step in chain] == ["", "\u221250%", "\u221220%", "+5%"]
    assert [step.download_only for step in chain] == [False, False, True, False]
    assert [step.same for step in chain] == [1.0, 0.98, 0.98, packed.result.fidelity["agreement"]]


def test_a_change_within_the_noise_is_none() -> None:
    step = Step(name="x", kind="pass", before=of(5.0, 5.0), measurement=of(4.96, 5.0))
    assert step.change == ""
    assert not step.download_only


def test_a_figure_that_is_missing_is_left_out(packed: ReportData) -> None:
    broken = replace(packed.stages[0], measurement=replace(of(5.0, 5.5), size_bytes=0))
    assert len(steps(replace(packed, stages=(broken, *packed.stages[1:])))) == 3
    unscored = replace(of(5.0, 5.5), fidelity={"agreement": None})
    assert Step(name="x", kind="pass", before=of(5.0, 5.5), measurement=unscored).same is None


def test_nothing_to_tell_where_no_byte_went(packed: ReportData) -> None:
    same = tuple(replace(g, size_bytes=10_000_000) for g in packed.graphs)
    assert steps(replace(packed, stages=(), graphs=same)) == ()
    unknown = tuple(replace(g, size_bytes=0) for g in packed.graphs)
    assert steps(replace(packed, stages=(), graphs=unknown, baseline=replace(packed.baseline, size_bytes=0))) == ()


def test_parts_lie_one_behind_the_other(packed: ReportData) -> None:
    found = parts(packed)
    assert [(p.name, p.size_bytes) for p in found] == [
        ("weights", 3_360_000),
        ("scales and biases", 420_000),
        ("manifest", 420_000),
    ]
    assert [(p.start, p.share) for p in found] == [
        pytest.approx((0.0, 0.8)),
        pytest.approx((0.8, 0.1)),
        pytest.approx((0.9, 0.1)),
    ]
    assert parts(replace(packed, contents={})) == ()
