"""How logits become confidences, and when nothing that the model knows is there."""

import math
from dataclasses import dataclass

from pocketlens.bundle.fields import Fields
from pocketlens.errors import ConfigError
from pocketlens.types import Json


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """What a reader needs to say how sure the model is.

    Args:
        temperature: logits are divided by it before the softmax (Guo et al. 2017); 1 leaves them as they are.
        unknown_below: an image whose largest logit, not divided, lies below it shows nothing that the model knows
            (Hendrycks et al. 2022); None when that was never measured: no image is unknown.
    """

    temperature: float = 1.0
    unknown_below: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ConfigError(f"temperature: must be a finite number above 0, got {self.temperature}")
        if self.unknown_below is not None and not math.isfinite(self.unknown_below):
            raise ConfigError(f"unknown_below: must be a finite number or null, got {self.unknown_below}")

    def to_json(self) -> Json:
        """As JSON-able data; docs/bundle.md says what each field means."""
        return {"temperature": self.temperature, "unknown_below": self.unknown_below}

    @classmethod
    def from_fields(cls, fields: Fields) -> "Confidence":
        """The inverse of `to_json`. Raises ConfigError naming the field."""
        with fields:
            return cls(
                temperature=fields.number("temperature"),
                unknown_below=fields.optional_number("unknown_below"),
            )
