import io
import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens.bundle.archive import open_bundle
from pocketlens.bundle.confidence import Confidence
from pocketlens.bundle.whitening import Whitening
from pocketlens.errors import BundleError, ConfigError, ImageError, TargetError, UnsupportedModelError
from pocketlens.runtime import Recognizer

Pack = Callable[..., Path]

CERTAIN = math.exp(4) / (math.exp(4) + 2)
"""A picture of one full colour has the logits 4, 0, 0."""


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (20, 12)) -> Image.Image:
    return Image.new("RGB", size, colour)


def test_answers_by_hand(lens: Path) -> None:
    with Recognizer.open(lens) as recognizer:
        found = recognizer.recognize(picture((0, 255, 0)), top_k=2)
    assert recognizer.graph_name == "int8"
    assert [(a.label, a.class_id, a.index) for a in found.answers] == [("green", "c1", 1), ("red", "c0", 0)]
    assert [a.probability for a in found.answers] == pytest.approx([CERTAIN, (1 - CERTAIN) / 2], rel=1e-5)
    assert found.preprocess_ms > 0
    assert found.inference_ms > 0
    json.dumps(asdict(found), allow_nan=False)


def test_the_temperature_calibrates_probabilities_and_nothing_else(pack: Pack) -> None:
    path = pack(confidence=Confidence(temperature=2.0, unknown_below=None))
    with Recognizer.open(path) as recognizer:
        found = recognizer.recognize(picture((0, 255, 0)))
    assert [a.label for a in found.answers] == ["green", "red", "blue"]
    assert found.answers[0].probability == pytest.approx(math.exp(2) / (math.exp(2) + 2), rel=1e-5)
    assert not found.unknown


@pytest.mark.parametrize(("brightness", "unknown"), [(255, False), (130, False), (125, True), (0, True)])
def test_unknown_is_what_reaches_no_logit(pack: Pack, brightness: int, unknown: bool) -> None:
    """The logit of the brightest colour is 4 * brightness / 255, whatever the temperature."""
    path = pack(confidence=Confidence(temperature=0.1, unknown_below=2.0))
    with Recognizer.open(path) as recognizer:
        found = recognizer.recognize(picture((0, brightness, 0)))
    assert found.unknown is unknown
    assert len(found.answers) == 3


WHITENING = Whitening(
    mean=np.array([0.0, 0.5, 0.5], np.float32),
    scale=np.array([1.0, 0.01], np.float32),
    codes=np.array([[1, 0, 0], [0, 100, 0]], np.int8),
)
"""Of a picture's mean colour (r, g, b) in 0..1: (r, g - 0.5)."""


def test_vectors_by_hand(pack: Pack, tmp_path: Path) -> None:
    picture((0, 255, 0)).save(tmp_path / "green.png")
    with Recognizer.open(pack(whitening=WHITENING)) as recognizer:
        assert recognizer.dimensions == 2
        vectors = recognizer.embed([picture((255, 255, 0)), tmp_path / "green.png"])
        single = recognizer.embed((tmp_path / "green.png").read_bytes())
        none = recognizer.embed([])
    assert vectors.dtype == np.float32
    # (1, 0.5) and (0, 0.5), to unit length.
    np.testing.assert_allclose(vectors, [[2 / 5**0.5, 1 / 5**0.5], [0, 1]], atol=1e-6)
    assert np.array_equal(single, vectors[1:])
    assert none.shape == (0, 2)


def test_the_fingerprint_is_the_bundles(lens: Path) -> None:
    with open_bundle(lens) as bundle, Recognizer.open(lens) as recognizer:
        assert recognizer.fingerprint == bundle.manifest.fingerprint


def test_a_bundle_without_embedding_says_the_way_out(lens: Path) -> None:
    with Recognizer.open(lens) as recognizer:
        assert recognizer.dimensions == 0
        with pytest.raises(BundleError, match="colours has no embedding to search with: squeeze it again"):
            recognizer.embed(picture((0, 0, 0)))


def test_a_graph_that_gives_another_embedding_than_its_bundle_says(pack: Pack) -> None:
    wide = Whitening(mean=np.zeros(5, np.float32), scale=WHITENING.scale, codes=np.ones((2, 5), np.int8))
    with (
        Recognizer.open(pack(whitening=wide)) as recognizer,
        pytest.raises(BundleError, match=r"'int8' should give an embedding \(1, 5\), got one of shape \(1, 3\)"),
    ):
        recognizer.embed(picture((0, 0, 0)))


def test_embedding_an_image_that_cannot_be_read(pack: Pack, tmp_path: Path) -> None:
    with Recognizer.open(pack(whitening=WHITENING)) as recognizer:
        with pytest.raises(ImageError, match="gone"):
            recognizer.embed([picture((0, 0, 0)), tmp_path / "gone.png"])
        recognizer.close()
        with pytest.raises(TargetError, match="closed"):
            recognizer.embed(picture((0, 0, 0)))


def test_files_bytes_and_pictures_give_one_answer(lens: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (30, 41, 3), np.uint8))
    image.save(tmp_path / "photo.png")
    with Recognizer.open(lens) as recognizer:
        sources = (image, tmp_path / "photo.png", (tmp_path / "photo.png").read_bytes(), image.convert("RGBA"))
        answers = [recognizer.recognize(source).answers for source in sources]
    assert answers[0] == answers[1] == answers[2] == answers[3]
    assert len(answers[0]) == 3


def test_a_graph_by_name(lens: Path) -> None:
    with Recognizer.open(lens, graph="biased", threads=2) as recognizer:
        assert recognizer.recognize(picture((255, 0, 0))).answers[0].label == "blue"
        assert recognizer.graph_name == "biased"
    with pytest.raises(BundleError, match="there is no graph 'half'; this bundle has int8, biased, broken"):
        Recognizer.open(lens, graph="half")


def test_labels_in_another_language(lens: Path) -> None:
    with Recognizer.open(lens, labels=("rojo", "verde", "azul")) as recognizer:
        assert recognizer.recognize(picture((0, 0, 255)), top_k=1).answers[0].label == "azul"
    with pytest.raises(ConfigError, match="`labels` must be 3, one an output, got 2"):
        Recognizer.open(lens, labels=("rojo", "verde"))


def test_images_that_cannot_be_read(lens: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with Recognizer.open(lens) as recognizer:
        for bad in (tmp_path / "cut.png", tmp_path / "gone.png", b"", b"junk"):
            with pytest.raises(ImageError):
                recognizer.recognize(bad)
        # It serves on.
        assert recognizer.recognize(picture((255, 0, 0))).answers[0].label == "red"


def test_a_model_that_gives_nan_is_named(lens: Path) -> None:
    with (
        Recognizer.open(lens, graph="broken") as recognizer,
        pytest.raises(TargetError, match="graph 'broken' gave NaN or an infinity; try another graph"),
    ):
        recognizer.recognize(picture((255, 0, 0)))


def test_closed_is_closed(lens: Path) -> None:
    recognizer = Recognizer.open(lens)
    recognizer.close()
    with pytest.raises(TargetError, match="closed"):
        recognizer.recognize(picture((0, 0, 0)))


def test_a_task_of_a_newer_pocketlens(lens: Path, pack: Pack) -> None:
    with open_bundle(lens) as bundle:
        spec = bundle.manifest.spec
    pack(spec=replace(spec, task="poetry"), force=True)
    with pytest.raises(BundleError, match=r"colours\.lens: .*the bundle needs 'poetry': upgrade"):
        Recognizer.open(lens)


def test_a_model_with_other_outputs_than_its_bundle_says(lens: Path, pack: Pack) -> None:
    with open_bundle(lens) as bundle:
        spec = bundle.manifest.spec
    pack(spec=replace(spec, class_ids=("c0", "c1"), labels=()), force=True)
    with Recognizer.open(lens) as recognizer, pytest.raises(UnsupportedModelError, match="expected 2 outputs"):
        recognizer.recognize(picture((0, 0, 0)))


def test_a_member_that_is_no_model(pack: Pack) -> None:
    members = {f"graphs/{name}.onnx": b"no model" for name in ("int8", "biased", "broken")}
    path = pack(members={**members, "weights.bin": b""})
    with pytest.raises(TargetError, match=r"colours\.lens, graph 'int8': .*cannot open it"):
        Recognizer.open(path)


def test_the_base_install_recognizes_without_torch(lens: Path) -> None:
    """An interpreter in which nothing but the base install's packages can be imported opens and runs a bundle."""
    buffer = io.BytesIO()
    picture((0, 0, 255)).save(buffer, "PNG")
    lens.with_suffix(".png").write_bytes(buffer.getvalue())
    code = """
import sys, json
HEAVY = {"torch", "torchvision", "timm", "onnx", "onnxscript", "scipy", "sklearn", "skimage", "pyarrow", "jinja2",
         "plotly", "safetensors", "av", "rich", "typer"}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ImportError(f"{name} is not in the base install, or not for this path")
sys.meta_path.insert(0, Refuse())
sys.modules["torch"] = None
import time
from pathlib import Path
start = time.perf_counter()
from pocketlens.bundle import open_bundle
from pocketlens.runtime import Recognizer
from pocketlens.tasks import TASKS
with open_bundle(Path(sys.argv[1])) as bundle:
    bundle.verify()
with Recognizer.open(Path(sys.argv[1])) as recognizer:
    found = recognizer.recognize(Path(sys.argv[2]))
print(json.dumps([found.answers[0].label, found.answers[0].probability, time.perf_counter() - start]))
"""
    command = [sys.executable, "-I", "-c", code, str(lens), str(lens.with_suffix(".png"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    label, probability, seconds = json.loads(done.stdout)
    assert (label, probability) == ("blue", pytest.approx(CERTAIN, rel=1e-5))
    # 0.4 s on an idle machine; the limit only catches a heavy import that slips in.
    assert seconds < 5
