"""Every target, unasked: its files compute what torch computes, its races and profiles are whole."""

import json
import operator
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pocketlens.errors import TargetError
from pocketlens.models.canonical import clone
from pocketlens.models.head import features_of
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.types import Artifact, Context, Model, RacePlan, Target


def images(model: Model, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, *model.spec.input_shape), np.float32)


def torch_outputs(model: Model, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model.graph(torch.from_numpy(x)).numpy()


def run(target: Target, artifact: Artifact, x: np.ndarray) -> np.ndarray:
    return next(iter(target.outputs(artifact, [x], threads=1)))


@pytest.mark.parametrize("name", ["tiny", "folded", "weight_only"])
def test_a_float_graph_computes_what_torch_computes(
    name: str, target: Target, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(name)
    artifact = target.lower(model, "g", tmp_path)
    for n in (1, 3):
        x = images(model, n)
        y = run(target, artifact, x)
        assert y.dtype == np.float32
        assert y.shape == (n, 4)
        np.testing.assert_allclose(y, torch_outputs(model, x), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "tolerance"), [("tiny", 1e-5), ("half", 0.01), ("weight_only", 0.02), ("quantized", 0.1)]
)
def test_every_graph_gives_nearly_the_same_embedding(
    name: str, tolerance: float, target: Target, tiny: Model, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What the classifier of the float network reads; off by no more than the rounding of weights and activations."""
    model = request.getfixturevalue(name)
    artifact = target.lower(model, "g", tmp_path)
    x = images(model, 3)
    outputs = next(iter(target.all_outputs(artifact, [x], threads=1)))
    assert np.array_equal(outputs["logits"], run(target, artifact, x))
    with torch.inference_mode():
        wanted = features_of(tiny)(torch.from_numpy(x)).numpy()
    assert outputs["embedding"].dtype == np.float32
    assert outputs["embedding"].shape == (3, 8)
    assert np.linalg.norm(outputs["embedding"] - wanted) <= tolerance * np.linalg.norm(wanted)


def test_a_network_without_a_linear_end_gives_logits_alone(target: Target, tiny: Model, tmp_path: Path) -> None:
    model = clone(tiny)
    output = next(node for node in model.graph.graph.nodes if node.op == "output")
    with model.graph.graph.inserting_before(output):
        output.args = (model.graph.graph.call_function(operator.mul, (output.args[0], 2.0)),)
    model.graph.recompile()
    outputs = next(iter(target.all_outputs(target.lower(model, "g", tmp_path), [images(model, 2)])))
    assert list(outputs) == ["logits"]


def test_an_integer_graph_computes_what_the_simulation_computes(
    target: Target, folded: Model, context: Context, tmp_path: Path
) -> None:
    scheme = target.profile().scheme
    assert scheme is not None
    model = QuantizeStatic(scheme=scheme, activations="minmax")(folded, context).model
    artifact = target.lower(model, "int8", tmp_path)
    assert artifact.arithmetic == "int8"
    for n in (1, 3):
        x = images(model, n)
        wanted = torch_outputs(model, x)
        # A half-way case may round either way, one step on one grid; a wrong scale or zero point is far beyond 2%.
        assert np.abs(run(target, artifact, x) - wanted).max() <= 0.02 * np.abs(wanted).max()


def test_a_half_precision_graph_takes_and_gives_float32(target: Target, half: Model, tmp_path: Path) -> None:
    artifact = target.lower(half, "half", tmp_path)
    assert artifact.arithmetic == "float16"
    x = images(half, 2)
    y, wanted = run(target, artifact, x), torch_outputs(half, x)
    assert y.dtype == np.float32
    assert np.abs(y - wanted).max() <= 5e-3 * np.abs(wanted).max()


def test_lowering_leaves_the_model_alone_and_prints_nothing(
    target: Target, quantized: Model, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    x = images(quantized, 2)
    before = torch_outputs(quantized, x)
    target.lower(quantized, "g", tmp_path)
    assert np.array_equal(torch_outputs(quantized, x), before)
    assert capfd.readouterr() == ("", "")


def test_the_artifact_says_what_it_is(target: Target, folded: Model, tmp_path: Path) -> None:
    artifact = target.lower(folded, "float", tmp_path)
    assert (artifact.name, artifact.target, artifact.spec) == ("float", target.name, folded.spec)
    assert artifact.arithmetic == "float32"
    # stem 3*8*9 + 8, expand 8*16 + 16, depthwise 16*9 + 16, project 16*8 + 8, classifier 8*4 + 4.
    assert artifact.parameters == 224 + 144 + 160 + 136 + 36
    # at 16 x 16: stem 27*8, expand 8*16, depthwise 9*16, project 16*8 a position; then the classifier.
    assert artifact.macs == 256 * (216 + 128 + 144 + 128) + 32
    assert artifact.size_bytes >= 4 * (artifact.parameters - 100)


def test_files_lie_in_the_folder_and_hold_no_pickle(target: Target, quantized: Model, tmp_path: Path) -> None:
    artifact = target.lower(quantized, "int8", tmp_path)
    files = [path for path in (artifact.graph, artifact.weights) if path is not None]
    for path in files:
        assert path.parent == tmp_path
        assert not zipfile.is_zipfile(path)
        assert path.read_bytes()[:1] != b"\x80"  # where every pickle of protocol 2 and later starts


def test_a_layer_that_cannot_be_lowered_is_named(target: Target, folded: Model, tmp_path: Path) -> None:
    model = clone(folded)
    graph = model.graph
    start = next(node for node in graph.graph.nodes if node.op == "placeholder")
    with graph.graph.inserting_after(start):
        odd = graph.graph.create_node("call_function", torch.linalg.inv, (start,), name="odd_one")
    start.replace_all_uses_with(odd, delete_user_cb=lambda user: user is not odd)
    graph.recompile()
    with pytest.raises(TargetError, match=r"layer odd_one of tiny.*; put other operations there, or") as caught:
        target.lower(model, "g", tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_outputs_stream(target: Target, folded: Model, tmp_path: Path) -> None:
    artifact = target.lower(folded, "float", tmp_path)
    pulled = []

    def batches() -> Iterator[np.ndarray]:
        for n in (2, 1):
            pulled.append(n)
            yield images(folded, n)

    outputs = target.outputs(artifact, batches(), threads=1)
    assert next(outputs).shape == (2, 4)
    assert pulled == [2]
    assert next(outputs).shape == (1, 4)
    assert next(outputs, None) is None


def test_a_race_times_every_artifact(target: Target, folded: Model, quantized: Model, tmp_path: Path) -> None:
    plan = RacePlan(rounds=4, runs=2, warmup=1)
    artifacts = [target.lower(model, name, tmp_path) for name, model in (("float", folded), ("int8", quantized))]
    timings = target.race(artifacts, plan)
    assert [timing.artifact for timing in timings] == ["float", "int8"]
    for timing in timings:
        assert len(timing.turns_ms) == plan.rounds
        assert min(timing.turns_ms) > 0
        assert timing.load_ms > 0
        assert timing.peak_memory_bytes > 1e6


def test_a_race_with_a_broken_artifact_is_refused_by_name(target: Target, folded: Model, tmp_path: Path) -> None:
    good = target.lower(folded, "good", tmp_path)
    (tmp_path / "broken").write_bytes(b"no model")
    bad = replace(good, name="bad", graph=tmp_path / "broken")
    with pytest.raises(TargetError, match="timing bad failed") as caught:
        target.race([good, bad], RacePlan(rounds=2, runs=1, warmup=0))
    assert "\n" not in str(caught.value)


def test_layer_times_share_the_whole(target: Target, quantized: Model, tmp_path: Path) -> None:
    rows = target.layer_times(target.lower(quantized, "int8", tmp_path))
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert all(row["latency_ms"] >= 0 for row in rows)
    assert [row["latency_ms"] for row in rows] == sorted((row["latency_ms"] for row in rows), reverse=True)
    assert {"stem_0", "expand_0", "depthwise_0", "project_0", "classifier"} <= {row["layer"] for row in rows}


def test_the_profile_is_probed_and_remembered(target: Target) -> None:
    profile = target.profile()
    json.dumps([asdict(profile) | {"scheme": None}, profile.peak, dict(profile.probe)])
    assert 1 <= profile.cores <= profile.threads
    assert profile.memory_bytes > 2**28
    assert profile.runtime
    assert profile.scheme is not None
    chosen = [name for name, figures in profile.probe.items() if figures["chosen"]]
    assert chosen == [profile.scheme.name]
    assert all(value > 0 for value in profile.peak.values())
    assert set(profile.peak) == {"fp32_gmacs", "int8_gmacs", "bandwidth_gbs"}
    assert target.profile() == profile
