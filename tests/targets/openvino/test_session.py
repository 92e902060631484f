from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pocketlens.errors import TargetError
from pocketlens.targets.openvino.lower import lower
from pocketlens.targets.openvino.session import open_session
from pocketlens.types import Artifact, Model


@pytest.fixture
def artifact(folded: Model, tmp_path: Path) -> Artifact:
    return lower(folded, "fp32", tmp_path)


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 3, 32, 32), np.float32)


def test_outputs_have_names_and_are_the_callers_own(artifact: Artifact) -> None:
    session = open_session(artifact.graph, artifact.weights, {}, 1)
    first = session.run_all(images(2))
    assert {name: value.shape for name, value in first.items()} == {"logits": (2, 4), "embedding": (2, 8)}
    kept = first["logits"].copy()
    session.run(images(2) * 3)
    assert np.array_equal(first["logits"], kept)


def test_an_onnx_file_opens_too(folded: Model, artifact: Artifact, tmp_path: Path) -> None:
    from pocketlens.targets.onnxruntime.lower import lower as lower_to_onnx

    onnx = lower_to_onnx(folded, "other", tmp_path)
    x = images(2)
    wanted = open_session(artifact.graph, artifact.weights, {}, 1).run(x)
    np.testing.assert_allclose(open_session(onnx.graph, None, {}, 1).run(x), wanted, atol=1e-5)


def test_input_that_is_not_contiguous_or_not_float32(artifact: Artifact) -> None:
    session = open_session(artifact.graph, artifact.weights, {}, 1)
    x = images(2)
    wanted = session.run(x)
    assert np.array_equal(session.run(np.asfortranarray(x)), wanted)
    assert np.array_equal(session.run(x.astype(np.float64)), wanted)


def test_a_wrong_shape_says_what_came_and_what_is_taken(artifact: Artifact) -> None:
    session = open_session(artifact.graph, artifact.weights, {}, 1)
    with pytest.raises(TargetError, match=r"shape \(1, 5, 32, 32\) failed, the model takes \[\?,3,32,32\]") as caught:
        session.run(np.zeros((1, 5, 32, 32), np.float32))
    assert "\n" not in str(caught.value)


def test_what_is_no_model_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    for name, content in (
        ("empty.xml", b""),
        ("junk.xml", b"no model"),
        ("cut.xml", artifact.graph.read_bytes()[:900]),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TargetError, match=rf"{name}: OpenVINO cannot open it: \w") as caught:
            open_session(tmp_path / name, artifact.weights, {}, 1)
        assert "\n" not in str(caught.value)


def test_missing_weights_are_refused(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="cannot open it"):
        open_session(artifact.graph, tmp_path / "gone.bin", {}, 1)
    assert artifact.weights is not None
    cut = replace(artifact, weights=tmp_path / "cut.bin")
    (tmp_path / "cut.bin").write_bytes(artifact.weights.read_bytes()[:-64])
    with pytest.raises(TargetError, match="cannot open it"):
        open_session(cut.graph, cut.weights, {}, 1)


def test_threads_must_be_positive(artifact: Artifact) -> None:
    with pytest.raises(TargetError, match="`threads` must be at least 1, got 0"):
        open_session(artifact.graph, artifact.weights, {}, 0)


def test_the_runtime_stays_silent(artifact: Artifact, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    open_session(artifact.graph, artifact.weights, {}, 1).run(images(1))
    (tmp_path / "junk.xml").write_bytes(b"no model")
    with pytest.raises(TargetError):
        open_session(tmp_path / "junk.xml", None, {}, 1)
    assert capfd.readouterr() == ("", "")
