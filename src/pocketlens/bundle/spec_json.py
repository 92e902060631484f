"""A model's spec as plain data: bundles and the model store write it, every runtime reads it."""

from typing import Literal, cast

from pocketlens.bundle.fields import Fields
from pocketlens.errors import ConfigError
from pocketlens.types import Json, ModelSpec, Preprocessing

_LARGEST_SIDE = 8192


def spec_to_json(spec: ModelSpec) -> Json:
    """A spec as JSON-able data; docs/bundle.md says what each field means."""
    p = spec.preprocessing
    return {
        "name": spec.name,
        "task": spec.task,
        "input_shape": list(spec.input_shape),
        "preprocessing": {
            "resize": p.resize,
            "crop": list(p.crop),
            "interpolation": p.interpolation,
            "mean": list(p.mean),
            "std": list(p.std),
        },
        "class_ids": list(spec.class_ids),
        "labels": list(spec.labels),
    }


def spec_from_json(data: object, where: str = "spec") -> ModelSpec:
    """The inverse of `spec_to_json`.

    Args:
        data: parsed JSON of unknown origin.
        where: its name in errors.
    Raises: ConfigError naming the field that is missing, of a wrong type, out of range or at odds.
    """
    with Fields(data, where) as fields:
        channels, height, width = fields.integers("input_shape", 3, low=1, high=_LARGEST_SIDE)
        spec = ModelSpec(
            name=fields.text("name"),
            task=fields.text("task"),
            input_shape=(channels, height, width),
            preprocessing=_preprocessing(fields.child("preprocessing")),
            class_ids=fields.texts("class_ids"),
            labels=fields.texts("labels"),
        )
        if spec.preprocessing.crop != (height, width):
            crop = spec.preprocessing.crop
            raise ConfigError(f"the crop is the model's input, so it must be {(height, width)}, got {crop}")
        if spec.class_ids and spec.labels and len(spec.class_ids) != len(spec.labels):
            raise ConfigError(f"class_ids and labels must be as many, got {len(spec.class_ids)} and {len(spec.labels)}")
    return spec


def preprocessing_from_json(data: object, where: str) -> Preprocessing:
    """The `preprocessing` of a spec alone.

    Args:
        data: parsed JSON of unknown origin.
        where: its name in errors.
    Raises: ConfigError naming the field that is missing, of a wrong type or out of range.
    """
    return _preprocessing(Fields(data, where))


def _preprocessing(fields: Fields) -> Preprocessing:
    with fields:
        height, width = fields.integers("crop", 2, low=1, high=_LARGEST_SIDE)
        red_mean, green_mean, blue_mean = fields.numbers("mean", 3)
        red_std, green_std, blue_std = fields.numbers("std", 3)
        return Preprocessing(
            resize=fields.optional_integer("resize", low=1, high=_LARGEST_SIDE),
            crop=(height, width),
            # Preprocessing itself refuses any other name.
            interpolation=cast("Literal['nearest', 'bilinear', 'bicubic']", fields.text("interpolation")),
            mean=(red_mean, green_mean, blue_mean),
            std=(red_std, green_std, blue_std),
        )
