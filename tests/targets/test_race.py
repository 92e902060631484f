import os
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pocketlens.errors import TargetError
from pocketlens.targets.onnxruntime.lower import lower
from pocketlens.targets.race import race
from pocketlens.types import Artifact, Model, RacePlan

PLAN = RacePlan(rounds=3, runs=2, warmup=1)


@pytest.fixture
def artifact(folded: Model, tmp_path: Path) -> Artifact:
    return lower(folded, "fp32", tmp_path)


def children() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "worker" in " ".join(p.cmdline())]


def test_no_worker_outlives_the_race(artifact: Artifact) -> None:
    race([artifact, replace(artifact, name="again")], PLAN)
    assert not children()


def test_no_worker_outlives_a_failure(artifact: Artifact) -> None:
    missing = replace(artifact, name="missing", graph=artifact.graph.with_name("nowhere.onnx"))
    with pytest.raises(TargetError, match=r"timing missing failed: .*nowhere\.onnx"):
        race([artifact, missing], PLAN)
    assert not children()


def test_an_input_that_does_not_fit_is_told_by_the_worker(artifact: Artifact) -> None:
    wide = replace(artifact, spec=replace(artifact.spec, input_shape=(5, 32, 32)))
    with pytest.raises(TargetError, match=r"timing fp32 failed: .*\(1, 5, 32, 32\)"):
        race([wide], PLAN)


def test_a_relative_path_means_the_callers_folder(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # A file that the worker must not mistake for the module of that name.
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    weights = artifact.weights
    here = replace(artifact, graph=Path(artifact.graph.name), weights=weights and Path(weights.name))
    (timing,) = race([here], PLAN)
    assert len(timing.turns_ms) == 3


def test_a_worker_uses_no_processor_while_another_has_its_turn(artifact: Artifact) -> None:
    """With 2 threads ONNX Runtime's threads would spin on for 15 ms and slow the other's turn."""
    plan = RacePlan(threads=2, rounds=30, runs=1, warmup=0)
    before, start = os.times(), time.perf_counter()
    race([artifact, replace(artifact, name="again")], plan)
    seconds, after = time.perf_counter() - start, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    # Two spinning workers of two threads would use two processors all along.
    assert used < 1.5 * seconds


def test_the_empty_race() -> None:
    assert race([], PLAN) == ()
