import math

import pytest

from pocketlens.bundle.confidence import Confidence
from pocketlens.bundle.fields import Fields
from pocketlens.errors import ConfigError


@pytest.mark.parametrize("confidence", [Confidence(), Confidence(temperature=0.7, unknown_below=-3.5)])
def test_round_trip(confidence: Confidence) -> None:
    assert Confidence.from_fields(Fields(confidence.to_json())) == confidence


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_divides(temperature: float) -> None:
    with pytest.raises(ConfigError, match="temperature: must be a finite number above 0"):
        Confidence(temperature=temperature)


def test_a_threshold_compares() -> None:
    with pytest.raises(ConfigError, match="unknown_below: must be a finite number or null, got nan"):
        Confidence(unknown_below=math.nan)
