"""The app's engine gives Python's logits, answers and embeddings of the same pixels."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.app.jobs import Json, RunJobs, write_pixels
from tests.app.networks import CLASSES, FEATURES, SIDE, blob, graph, half_graph

from pocketlens.bundle.archive import write_bundle
from pocketlens.bundle.confidence import Confidence
from pocketlens.bundle.manifest import GraphEntry
from pocketlens.bundle.whitening import Whitening
from pocketlens.runtime.recognizer import Recognizer
from pocketlens.types import ModelSpec, Preprocessing

PICTURES = 24

SPEC = ModelSpec(
    name="small",
    input_shape=(3, SIDE, SIDE),
    preprocessing=Preprocessing(
        resize=36, crop=(SIDE, SIDE), interpolation="bicubic", mean=(123.675, 116.28, 103.53), std=(128.0, 128.0, 128.0)
    ),
    class_ids=tuple(f"n{index}" for index in range(CLASSES)),
    labels=("apple", "Birne", "cerise", "dátil", "elderberry"),
)


@pytest.fixture(scope="module")
def lens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of all kinds of graphs."""
    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("bundle") / "small.lens"
    options = {"session.disable_quant_qdq": "1"}
    write_bundle(
        path,
        spec=SPEC,
        graphs=(
            GraphEntry(name="float", graph="graphs/float.onnx", weights="weights.bin", session=options),
            GraphEntry(name="int8", graph="graphs/int8.onnx", weights="weights.bin"),
            GraphEntry(name="half", graph="graphs/half.onnx"),
        ),
        preferred="float",
        recipe={},
        baseline={},
        target={},
        members={
            "graphs/float.onnx": graph(integers=False),
            "graphs/int8.onnx": graph(integers=True),
            "graphs/half.onnx": half_graph(),
            "weights.bin": blob(),
        },
        confidence=Confidence(temperature=0.7, unknown_below=0.05),
        whitening=Whitening.of_rows(rng.normal(0.2, 0.1, FEATURES), rng.normal(0, 1, (8, FEATURES))),
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return path


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Coloured gradients with noise, of many sizes."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(PICTURES):
        height, width = (int(side) for side in rng.integers(20, 200, 2))
        base = rng.uniform(0, 255, 3) + np.linspace(-80, 80, width)[None, :, None] * rng.uniform(-1, 1, 3)
        found.append((base + rng.normal(0, 25, (height, width, 3))).clip(0, 255).astype(np.uint8))
    return found


def _look(folder: Path, lens: Path, graph: str, pictures: list[np.ndarray], run_jobs: RunJobs) -> list[Json]:
    way = {"graph": graph, "provider": "wasm", "threads": 1}
    jobs = [
        {"task": "look", "bundle": str(lens), "way": way, **write_pixels(folder, f"{index}.rgba", pixels)}
        for index, pixels in enumerate(pictures)
    ]
    results = run_jobs(folder, jobs)
    assert all("ok" in result for result in results), results
    return [result["ok"] for result in results]


@pytest.mark.parametrize(("graph", "tolerance"), [("float", 1e-4), ("half", 2e-3)])
def test_looks_are_those_of_python(
    graph: str, tolerance: float, lens: Path, pictures: list[np.ndarray], tmp_path: Path, run_jobs: RunJobs
) -> None:
    looks = _look(tmp_path, lens, graph, pictures, run_jobs)
    unknown = []
    with Recognizer.open(lens, graph=graph) as recognizer:
        for pixels, look in zip(pictures, looks, strict=True):
            image = Image.fromarray(pixels)
            wanted = recognizer.recognize(image, top_k=CLASSES)
            assert [answer["label"] for answer in look["answers"]] == [answer.label for answer in wanted.answers]
            assert [answer["classId"] for answer in look["answers"]] == [answer.class_id for answer in wanted.answers]
            found = [answer["confidence"] for answer in look["answers"]]
            np.testing.assert_allclose(found, [answer.probability for answer in wanted.answers], atol=tolerance)
            np.testing.assert_allclose(look["embedding"], recognizer.embed(image)[0], atol=tolerance)
            assert look["unknown"] == wanted.unknown
            unknown.append(wanted.unknown)
    assert len(set(unknown)) == 2  # both occur, or the comparison says nothing


def test_logits_are_those_of_python(lens: Path, pictures: list[np.ndarray], tmp_path: Path, run_jobs: RunJobs) -> None:
    looks = _look(tmp_path, lens, "float", pictures, run_jobs)
    with Recognizer.open(lens, graph="float") as recognizer:
        for pixels, look in zip(pictures, looks, strict=True):
            answers = recognizer.recognize(Image.fromarray(pixels), top_k=CLASSES).answers
            # Softmax of logits / temperature: differences of its logarithms are those of the logits.
            wanted = 0.7 * np.log([answer.probability for answer in answers])
            found = np.array(look["logits"])[[answer.index for answer in answers]]
            np.testing.assert_allclose(found - found[0], wanted - wanted[0], atol=1e-3)


def test_integers_agree_with_python(lens: Path, pictures: list[np.ndarray], tmp_path: Path, run_jobs: RunJobs) -> None:
    # Kernels round sums in different orders, so a code may differ by one: the answers agree all the same.
    looks = _look(tmp_path, lens, "int8", pictures, run_jobs)
    with Recognizer.open(lens, graph="int8") as recognizer:
        wanted = [recognizer.recognize(Image.fromarray(pixels), top_k=1).answers[0].index for pixels in pictures]
    found = [look["answers"][0]["index"] for look in looks]
    assert np.mean(np.equal(found, wanted)) >= 0.95
