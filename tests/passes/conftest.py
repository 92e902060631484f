"""The scheme that pass tests bind to, so that they do not depend on this machine's probe, and a model under it."""

from dataclasses import replace

import pytest

from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.types import Context, IntegerFormat, Model, Scheme


@pytest.fixture
def scheme() -> Scheme:
    return Scheme(
        name="u8s8",
        activation=IntegerFormat(storage="uint8", qmin=0, qmax=255),
        weight=IntegerFormat(storage="int8", qmin=-127, qmax=127, zero_point=0),
    )


@pytest.fixture
def pair(tiny: Model, context: Context, scheme: Scheme) -> tuple[Model, Model]:
    """The small network folded, and the same quantized."""
    folded = FoldBatchNorm()(tiny, context).model
    return folded, QuantizeStatic(scheme=scheme)(folded, context).model


@pytest.fixture
def repairing(pair: tuple[Model, Model], context: Context) -> Context:
    """The context of passes behind QuantizeStatic."""
    return replace(context, unquantized=pair[0])
