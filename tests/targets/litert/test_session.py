from pathlib import Path

import numpy as np
import pytest

from pocketlens.errors import TargetError
from pocketlens.targets.litert.lower import lower
from pocketlens.targets.litert.session import open_session
from pocketlens.types import Artifact, Model


@pytest.fixture
def artifact(folded: Model, tmp_path: Path) -> Artifact:
    return lower(folded, "fp32", tmp_path)


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 3, 32, 32), np.float32)


def test_outputs_have_names_and_a_batch_is_its_images(artifact: Artifact) -> None:
    session = open_session(artifact.graph, None, {}, 1)
    x = images(3)
    outputs = session.run_all(x)
    assert {name: value.shape for name, value in outputs.items()} == {"logits": (3, 4), "embedding": (3, 8)}
    assert np.array_equal(outputs["logits"], session.run(x))
    assert np.array_equal(outputs["logits"][1:2], session.run(x[1:2]))
    kept = outputs["logits"].copy()
    session.run(x * 3)
    assert np.array_equal(outputs["logits"], kept)


def test_content_opens_too_and_input_of_any_kind(artifact: Artifact) -> None:
    session = open_session(artifact.graph.read_bytes(), None, {}, 2)
    x = images(2)
    wanted = session.run(x)
    assert np.array_equal(session.run(np.asfortranarray(x)), wanted)
    assert np.array_equal(session.run(x.astype(np.float64)), wanted)
    assert session.input_grid is None


@pytest.mark.parametrize("shape", [(1, 5, 32, 32), (1, 32, 32, 3), (3, 32, 32), (1, 3, 16, 16)])
def test_a_wrong_shape_says_what_came_and_what_is_taken(shape: tuple[int, ...], artifact: Artifact) -> None:
    session = open_session(artifact.graph, None, {}, 1)
    with pytest.raises(TargetError, match=r"failed, the model takes \(n, 3, 32, 32\)") as caught:
        session.run(np.zeros(shape, np.float32))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("kind", ["empty", "junk", "cut", "gone"])
def test_what_is_no_model_is_refused(
    kind: str, artifact: Artifact, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = artifact.graph.read_bytes()
    content = {"empty": b"", "junk": b"no model", "cut": whole[: len(whole) // 2]}
    place = tmp_path / f"{kind}.tflite"
    if kind in content:
        place.write_bytes(content[kind])
    with pytest.raises(TargetError, match=rf"{kind}\.tflite: LiteRT cannot open it: \S") as caught:
        open_session(place, None, {}, 1)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_threads_must_be_positive(artifact: Artifact) -> None:
    with pytest.raises(TargetError, match="`threads` must be at least 1, got 0"):
        open_session(artifact.graph, None, {}, 0)
