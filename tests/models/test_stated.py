import json
from pathlib import Path

import pytest
from tests.conftest import SPEC

from pocketlens.bundle.spec_json import spec_to_json
from pocketlens.errors import ConfigError
from pocketlens.models.stated import stated_preprocessing

WHOLE = spec_to_json(SPEC)["preprocessing"]
MODEL = Path("model.onnx")


def test_a_convention_takes_the_size_of_the_model_or_its_own() -> None:
    stated = stated_preprocessing(MODEL, "imagenet")
    assert stated is not None
    assert stated.size is None
    assert stated.complete(224, 224).resize == 256
    assert stated.complete(48, 320).resize is None
    sized = stated_preprocessing(MODEL, "unit:96")
    assert sized is not None
    assert (sized.size, sized.complete(96, 96).std) == ((96, 96), (255.0, 255.0, 255.0))


def test_a_json_file_is_read_where_it_is_named_or_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps(WHOLE))
    for given in (None, str(tmp_path / "model.json")):
        stated = stated_preprocessing(tmp_path / "model.onnx", given)
        assert stated is not None
        assert stated.complete(32, 32) == SPEC.preprocessing
    assert stated_preprocessing(tmp_path / "other.onnx", None) is None


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ("imagenets", "must be imagenet"),
        ("imagenet:0", "1 to 4096"),
        ("imagenet:big", "1 to 4096"),
        ("nowhere.json", "cannot read"),
    ],
)
def test_what_means_nothing_is_told(given: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        stated_preprocessing(MODEL, given)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"{", "valid JSON"),
        (b"[]", "preprocessing"),
        (json.dumps({**WHOLE, "std": [0, 1, 1]}).encode(), "std"),
        (json.dumps({**WHOLE, "interpolation": "lanczos"}).encode(), "lanczos"),
        (json.dumps({k: v for k, v in WHOLE.items() if k != "mean"}).encode(), "mean"),
    ],
)
def test_a_file_that_is_wrong_is_told(content: bytes, word: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(ConfigError, match=word) as raised:
        stated_preprocessing(MODEL, str(tmp_path / "p.json"))
    assert "p.json" in str(raised.value)
