from dataclasses import replace
from pathlib import Path

import pytest

from pocketlens.errors import ConfigError, DataError
from pocketlens.passes.equalize_channels import EqualizeChannels
from pocketlens.passes.keep_float import KeepFloat
from pocketlens.passes.round_adaptively import RoundAdaptively
from pocketlens.recipe import check, from_toml, run, to_toml
from pocketlens.search.ladder import NAME, RUNGS, START, Rung, Wanted, climb
from pocketlens.targets import load_target
from pocketlens.types import Context, Data, Model, Target

QUICK = tuple(replace(r, step=RoundAdaptively(iterations=20)) if r.after == "QuantizeStatic" else r for r in RUNGS)
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


def test_it_climbs_to_the_end_and_keeps_what_helps(tiny: Model, context: Context, target: Target) -> None:
    found = climb(tiny, context, target, wanted=UNREACHABLE, rungs=QUICK)
    assert not found.met
    assert [r["rung"] for r in found.rungs[1:]] == ["EqualizeChannels", "RoundAdaptively", "KeepFloat"]
    names = [type(p).__name__ for p in found.recipe.passes]
    for rung in found.rungs[1:]:
        assert rung["kept"] == (rung["added_db"] >= 0.1)
        assert rung["kept"] == (rung["rung"] in names)
    # A chain that was kept is never less true than the one below it.
    kept = [r["sqnr_db"] for r in found.rungs if r["kept"]]
    assert kept == sorted(kept)
    # EqualizeChannels finds nothing to move on TinyNet (ReLU6 everywhere), so it is left out.
    assert "EqualizeChannels" not in names


def test_the_chain_is_a_recipe_that_can_be_run_again(
    tiny: Model, context: Context, target: Target, tmp_path: Path
) -> None:
    """It is bound, passes the check, survives TOML, says what each rung added; a second run reuses its stages."""
    stages = tmp_path / "shared"
    found = climb(tiny, context, target, wanted=UNREACHABLE, rungs=QUICK, stages=stages)
    check(found.recipe, tiny.facts)
    assert from_toml(to_toml(found.recipe)) == found.recipe
    assert found.recipe.name == NAME
    for name in ("EqualizeChannels", "RoundAdaptively", "KeepFloat", "24 validation images", "not as true"):
        assert name in found.recipe.description
    again = climb(tiny, context, target, wanted=UNREACHABLE, rungs=QUICK, stages=stages)
    assert again.recipe == found.recipe
    assert "quantized" in run(found.recipe, tiny, context)[0].facts


def test_bad_input(tiny: Model, context: Context, target: Target) -> None:
    with pytest.raises(DataError, match="validation"):
        climb(tiny, replace(context, data=Data(calibration=context.data.calibration)), target)
    with pytest.raises(ConfigError, match="follows CorrectBias"):
        climb(tiny, context, target, wanted=UNREACHABLE, rungs=(Rung(KeepFloat(), after="CorrectBias"),))
    with pytest.raises(ConfigError, match="agreement"):
        Wanted(agreement=99)
    with pytest.raises(ConfigError, match="images"):
        Wanted(images=0)


def test_the_shipped_ladder_follows_its_own_chain() -> None:
    assert isinstance(RUNGS[0].step, EqualizeChannels)
    assert {r.after for r in RUNGS} <= {type(p).__name__ for p in START.passes}
