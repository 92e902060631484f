import json
from typing import Any

import pytest

from pocketlens.bundle.spec_json import spec_from_json, spec_to_json
from pocketlens.errors import ConfigError
from pocketlens.types import ModelSpec, Preprocessing

SPEC = ModelSpec(
    name="lite0",
    input_shape=(3, 224, 192),
    preprocessing=Preprocessing(resize=256, crop=(224, 192), mean=(127.0, 126.5, 0.1), std=(128.0, 1.0, 2.0)),
    class_ids=("n01440764", "n01443537"),
    labels=("tench", "goldfish"),
)


def test_as_json_by_hand() -> None:
    assert spec_to_json(SPEC) == {
        "name": "lite0",
        "task": "classification",
        "input_shape": [3, 224, 192],
        "preprocessing": {
            "resize": 256,
            "crop": [224, 192],
            "interpolation": "bicubic",
            "mean": [127.0, 126.5, 0.1],
            "std": [128.0, 1.0, 2.0],
        },
        "class_ids": ["n01440764", "n01443537"],
        "labels": ["tench", "goldfish"],
    }


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        ModelSpec(name="bare", input_shape=(3, 8, 8), preprocessing=Preprocessing(resize=None, crop=(8, 8))),
    ],
    ids=["full", "bare"],
)
def test_round_trip_through_text(spec: ModelSpec) -> None:
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("name", 3, "spec.name: expected a text, got the number 3"),
        ("name", "a\x1b[2J", "spec.name: expected a text without control characters"),
        ("name", "a\ud800", "spec.name: expected a text without control characters"),
        ("input_shape", [3, 224], "spec.input_shape: expected a list of 3 whole numbers"),
        ("input_shape", [3, True, 192], "spec.input_shape: expected a list of 3 whole numbers"),
        ("input_shape", [3, 0, 192], "spec.input_shape: expected a whole number in 1..8192, got 0"),
        ("input_shape", [3, 224, 224], r"spec: the crop is the model's input, so it must be \(224, 224\)"),
        ("labels", ["tench", None], "spec.labels: expected a list of texts, got a list with null"),
        ("labels", ["tench"], "spec: class_ids and labels must be as many, got 2 and 1"),
        ("preprocessing", [], "spec.preprocessing: expected an object, got a list"),
        ("preprocessing.resize", 1.5, "spec.preprocessing.resize: expected a whole number, got the number 1.5"),
        ("preprocessing.resize", 100, "spec.preprocessing: `resize` must be at least the crop"),
        ("preprocessing.interpolation", "lanczos", "spec.preprocessing: `interpolation` must be"),
        ("preprocessing.std", [1, 0, 1], "spec.preprocessing: `mean` and `std`"),
        ("preprocessing.std", [1, float("inf"), 1], "spec.preprocessing.std: expected a list of 3 finite numbers"),
        ("preprocessing.gamma", 2.2, "spec.preprocessing: holds fields this pocketlens does not know: gamma"),
    ],
)
def test_wrong_fields_are_named(path: str, value: Any, message: str) -> None:
    data = spec_to_json(SPEC)
    *parents, last = path.split(".")
    place = data
    for name in parents:
        place = place[name]
    place[last] = value
    with pytest.raises(ConfigError, match="^" + message):
        spec_from_json(data)


@pytest.mark.parametrize("name", ["name", "task", "input_shape", "preprocessing", "class_ids", "labels"])
def test_missing_fields_are_named(name: str) -> None:
    data = spec_to_json(SPEC)
    del data[name]
    with pytest.raises(ConfigError, match=rf"^spec\.{name}: expected .*, but the field is missing"):
        spec_from_json(data)


@pytest.mark.parametrize("data", [None, [], "spec", 3, True])
def test_what_is_no_object_is_refused(data: object) -> None:
    with pytest.raises(ConfigError, match=r"^spec: expected an object, got"):
        spec_from_json(data)
