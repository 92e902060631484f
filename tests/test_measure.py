"""Measurement on real files through the real runtime."""

from dataclasses import replace
from pathlib import Path

import pytest

from pocketlens.measure import Entrant, MeasurePlan, fidelity, measure
from pocketlens.passes.set_input_size import SetInputSize
from pocketlens.targets import load_target
from pocketlens.types import Context, ImageSet, Model


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POCKETLENS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield load_target("onnxruntime")


def test_a_file_against_itself_and_a_damaged_one(tiny: Model, images: ImageSet, target, tmp_path: Path) -> None:
    same = target.lower(tiny, "fp32", tmp_path)
    with_noise = replace(tiny)
    next(iter(with_noise.graph.parameters())).data.mul_(0.7)
    (tmp_path / "other").mkdir()
    other = target.lower(with_noise, "other", tmp_path / "other")
    first, second = fidelity([same, other], target=target, images=images)
    assert (first["agreement"], first["kl"], first["n"]) == (1.0, 0.0, 24)
    assert second["sqnr_db"] < 40
    assert second["reference_top1"] == first["top1"]
    assert second["top1_change"] == pytest.approx(second["top1"] - first["top1"])


def test_every_figure_carries_its_conditions(tiny: Model, images: ImageSet, target, tmp_path: Path) -> None:
    artifact = target.lower(tiny, "fp32", tmp_path)
    entrant = Entrant(artifact=replace(artifact, name="again"), download_bytes=1234)
    plan = MeasurePlan(threads=(1,), rounds=5, runs=2)
    base, again = measure(artifact, [entrant], target=target, images=images, plan=plan)
    assert (base.size_bytes, again.size_bytes) == (artifact.size_bytes, 1234)
    assert again.latency_ms[1].n == 5
    assert again.speedup[1].low <= again.speedup[1].estimate <= again.speedup[1].high
    assert 0 < again.roofline["compute_share"] < 1.5
    assert again.peak_memory_bytes > 10e6
    assert {"device", "runtime", "batch", "threads", "turns", "images", "measured"} <= set(again.conditions)


def test_with_no_threads_nothing_is_timed(tiny: Model, images: ImageSet, target, tmp_path: Path) -> None:
    artifact = target.lower(tiny, "fp32", tmp_path)
    entrant = Entrant(artifact=replace(artifact, name="again"))
    _, again = measure(artifact, [entrant], target=target, images=images, plan=MeasurePlan(threads=()))
    assert again.fidelity["agreement"] == 1.0
    assert again.latency_ms == again.speedup == again.roofline == {}
    assert again.peak_memory_bytes == 0
    assert again.conditions["turns"] == 0


def test_each_file_is_scored_under_its_own_preprocessing(
    tiny: Model, images: ImageSet, target, tmp_path: Path, context: Context
) -> None:
    """A model for smaller pictures beside the original gets what it would get alone."""
    small = SetInputSize(size=16)(tiny, context).model
    artifacts = []
    for name, model in (("fp32", tiny), ("small", small)):
        (tmp_path / name).mkdir()
        artifacts.append(target.lower(model, name, tmp_path / name))
    _, beside = fidelity(artifacts, target=target, images=images)
    (alone,) = fidelity(artifacts[1:], target=target, images=images)
    assert beside["top1"] == alone["top1"]
    assert beside["n"] == 24
    assert beside["sqnr_db"] < 60
