"""The integer scheme that pass tests bind to, so that they do not depend on this machine's probe."""

import pytest

from pocketlens.types import IntegerFormat, Scheme


@pytest.fixture
def scheme() -> Scheme:
    return Scheme(
        name="u8s8",
        activation=IntegerFormat(storage="uint8", qmin=0, qmax=255),
        weight=IntegerFormat(storage="int8", qmin=-127, qmax=127, zero_point=0),
    )
