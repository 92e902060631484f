from dataclasses import replace
from pathlib import Path

import pytest

from pocketlens.errors import ConfigError, DataError
from pocketlens.passes import pass_class
from pocketlens.recipe import check, from_toml, run, to_toml
from pocketlens.search.ladder import NAME, RUNGS, START, Rung, Wanted, _add, climb
from pocketlens.stages import StageStore
from pocketlens.targets import load_target
from pocketlens.types import Context, Data, Json, Model, Target

QUICK = tuple(
    replace(r, step=pass_class("RoundAdaptively")(iterations=20)) if r.instead_of == "MatchMoments" else r
    for r in RUNGS
)
UNREACHABLE = Wanted(agreement=1.0, sqnr_db=99.0)


@pytest.fixture(scope="module")
def target() -> Target:
    return load_target("onnxruntime")


def test_it_stops_on_the_first_rung_that_is_true_enough(tiny: Model, context: Context, target: Target) -> None:
    found = climb(tiny, context, target, wanted=Wanted(agreement=0.5, sqnr_db=1.0))
    assert found.met
    assert [type(p).__name__ for p in found.recipe.passes] == [type(p).__name__ for p in START.passes]
    (only,) = found.rungs
    assert only["kept"]
    assert only["n"] == 24


def test_it_climbs_to_the_end_and_keeps_what_helps(
    tiny: Model, context: Context, target: Target, tmp_path: Path
) -> None:
    stages = tmp_path / "shared"
    found = climb(tiny, context, target, wanted=UNREACHABLE, rungs=QUICK, stages=stages)
    assert not found.met
    assert [r["rung"] for r in found.rungs[1:]] == [type(r.step).__name__ for r in QUICK]
    names = [type(p).__name__ for p in found.recipe.passes]
    kept = {r["rung"]: r["kept"] for r in found.rungs[1:]}
    assert kept["KeepFloat"] == ("KeepFloat" in names)
    assert kept["RoundAdaptively"] == ("RoundAdaptively" in names) != ("MatchMoments" in names)
    # TinyNet has ReLU6 everywhere: equalisation has nothing to move.
    assert "EqualizeChannels" not in names
    # The chain is a recipe like any other: bound, in a right order, and it says what each rung added.
    check(found.recipe, tiny.facts)
    assert from_toml(to_toml(found.recipe)) == found.recipe
    assert found.recipe.name == NAME
    for words in ("EqualizeChannels", "RoundAdaptively", "KeepFloat", "24 calibration images", "not as true"):
        assert words in found.recipe.description
    # Its stages are there to be reused.
    store = StageStore(stages)
    assert "quantized" in run(found.recipe, tiny, context, store=store)[0].facts
    assert len(list(stages.iterdir())) >= len(names)


def test_what_stays_by_hand() -> None:
    """0.1 dB, or half a point of agreement for next to nothing, or what was asked for."""
    wanted, before = Wanted(), figures(0.97, 25.0)
    assert wanted.better(figures(0.97, 25.1), before)
    assert wanted.better(figures(0.975, 24.95), before)
    assert wanted.better(figures(0.995, 23.0), before)
    assert not wanted.better(figures(0.972, 25.05), before)
    assert not wanted.better(figures(0.98, 24.5), before)


def test_luck_is_not_enough_by_hand() -> None:
    """At 1,000 images the standard error of 99.2% is 0.28 points, and of 99.4% it is 0.24."""
    wanted = Wanted()
    assert not wanted.met(figures(0.992, 25.0))
    assert wanted.met(figures(0.994, 25.0))
    assert not wanted.met(figures(0.994, 22.0))
    assert wanted.met(figures(1.0, 25.0) | {"n": 4})


def figures(agreement: float, sqnr_db: float) -> Json:
    return {"agreement": agreement, "sqnr_db": sqnr_db, "n": 1000}


def test_bad_input(tiny: Model, context: Context, target: Target) -> None:
    with pytest.raises(DataError, match="validation"):
        climb(tiny, replace(context, data=Data(calibration=context.data.calibration)), target)
    with pytest.raises(ConfigError, match="goes by CorrectBias"):
        climb(tiny, context, target, wanted=UNREACHABLE, rungs=(Rung(pass_class("KeepFloat")(), after="CorrectBias"),))
    with pytest.raises(ConfigError, match="agreement"):
        Wanted(agreement=99)
    with pytest.raises(ConfigError, match="images"):
        Wanted(images=0)


def test_rungs_fit_on_one_another() -> None:
    """All of them together: equalised, some layers in float, adaptive rounding for matched moments."""
    chain = START
    for rung in RUNGS:
        chain = _add(chain, rung)
    names = [type(step).__name__ for step in chain.passes]
    assert names == ["FoldBatchNorm", "EqualizeChannels", "QuantizeStatic", "KeepFloat", "RoundAdaptively"]
    check(chain)
