"""Each runtime, with a cache of its own; and the tiny network in every form that a target must take."""

from collections.abc import Iterator

import pytest

from pocketlens.errors import TargetError
from pocketlens.models.grids import without_grids
from pocketlens.passes.cast_half import CastHalf
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.targets import TARGETS, load_target
from pocketlens.types import Context, IntegerFormat, Model, Scheme, Target


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The probe runs once a test session and leaves the user's cache alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POCKETLENS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(params=sorted(TARGETS))
def target(request: pytest.FixtureRequest) -> Target:
    try:
        return load_target(request.param)
    except TargetError as error:
        pytest.skip(str(error))


@pytest.fixture
def scheme() -> Scheme:
    """u8s8, so that tests do not depend on what this machine's probe chooses."""
    return Scheme(
        name="u8s8",
        activation=IntegerFormat(storage="uint8", qmin=0, qmax=255),
        weight=IntegerFormat(storage="int8", qmin=-127, qmax=127, zero_point=0),
    )


@pytest.fixture
def folded(tiny: Model, context: Context) -> Model:
    return FoldBatchNorm()(tiny, context).model


@pytest.fixture
def quantized(folded: Model, context: Context, scheme: Scheme) -> Model:
    return QuantizeStatic(scheme=scheme, activations="minmax")(folded, context).model


@pytest.fixture
def weight_only(quantized: Model) -> Model:
    return without_grids(quantized)


@pytest.fixture
def half(folded: Model, context: Context) -> Model:
    return CastHalf()(folded, context).model
