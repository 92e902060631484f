import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.errors import ConfigError, DataError
from pocketlens.ops.affine import quantize
from pocketlens.ops.observers import (
    Histogram,
    MeanSquaredError,
    MinMax,
    Percentile,
    grid_parameters,
    observer,
    weight_scale,
)
from pocketlens.types import IntegerFormat

U8 = IntegerFormat(storage="uint8", qmin=0, qmax=255)


def test_minmax_holds_zero_and_grows() -> None:
    watch = MinMax()
    watch.update(torch.tensor([2.0, 3.0]))
    assert watch.range(U8) == (0.0, 3.0)
    watch.update(torch.tensor([-1.0]))
    assert watch.range(U8) == (-1.0, 3.0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(DataError, match="finite"):
        MinMax().update(torch.tensor([1.0, bad]))


def test_histogram_keeps_every_count_as_its_limit_doubles() -> None:
    watch = Histogram(bins=8)
    watch.update(torch.tensor([0.1, 0.9, -0.9]))
    watch.update(torch.tensor([3.0]))
    assert watch.limit == pytest.approx(3.6)
    assert watch.counts.sum() == 4
    # bins are 0.9 wide from -3.6: -0.9 falls in [-0.9, 0), 0.1 and 0.9 in [0, 0.9], 3.0 in [2.7, 3.6]
    assert watch.counts.tolist()[-1] == 1


def test_histogram_memory_does_not_grow() -> None:
    watch = Histogram(bins=64)
    for _ in range(20):
        watch.update(torch.randn(1000))
    assert watch.counts.numel() == 64
    assert watch.counts.sum() == 20_000


def test_percentile_leaves_out_the_tail_by_hand() -> None:
    watch = Percentile(kept=0.98, bins=2000)
    watch.update(torch.linspace(0, 1, 1001))
    watch.update(torch.tensor([100.0]))
    low, high = watch.range(U8)
    assert low == 0.0
    assert 0.95 < high < 1.2  # the 99th percentile of 0..1 is 0.99; bins are 0.1 wide once 100 came
    assert MinMax().range(U8) == (0.0, 0.0)


def test_mse_clips_a_lone_outlier_and_keeps_a_uniform_range() -> None:
    coarse = IntegerFormat(storage="uint8", qmin=0, qmax=15)
    lone = MeanSquaredError()
    lone.update(torch.cat([torch.rand(100_000), torch.tensor([2.0])]))
    assert lone.range(coarse)[1] < 1.3
    uniform = MeanSquaredError()
    uniform.update(torch.rand(100_000))
    assert uniform.range(coarse)[1] > 0.9


def test_grid_parameters_by_hand() -> None:
    assert grid_parameters(0.0, 255.0, U8) == (1.0, 0)
    scale, zero_point = grid_parameters(-1.0, 1.55, U8)
    assert scale == pytest.approx(0.01, rel=1e-6)
    assert zero_point == 100
    symmetric = IntegerFormat(storage="int8", qmin=-127, qmax=127, zero_point=0)
    assert grid_parameters(-2.54, 1.0, symmetric) == (pytest.approx(0.02), 0)


def test_the_grid_never_reaches_past_a_clipped_activation() -> None:
    scale, zero_point = grid_parameters(0.0, 6.0, U8)
    assert zero_point == 0
    assert torch.tensor(scale) * 255 <= 6.0


def test_all_zero_activations_give_a_usable_grid() -> None:
    scale, zero_point = grid_parameters(0.0, 0.0, U8)
    assert scale > 0
    assert zero_point == 0


@given(st.floats(-100, 0), st.floats(0, 100))
@settings(max_examples=60, deadline=None)
def test_zero_is_exact_and_the_range_is_covered(low: float, high: float) -> None:
    scale, zero_point = grid_parameters(low, high, U8)
    assert 0 <= zero_point <= 255
    if high - low > 1e-3:
        reach = scale * 255
        assert reach == pytest.approx(high - low, rel=1e-5)


def test_weight_scale_by_hand() -> None:
    weight = torch.tensor([[1.27, -0.5], [0.0, 0.0]])
    per_channel = weight_scale(weight, 127, 0)
    assert per_channel[0] == pytest.approx(0.01)
    assert per_channel[1] > 0  # a dead channel keeps a usable scale
    assert weight_scale(weight, 127, None) == pytest.approx(0.01)


def test_mse_weight_scale_is_never_worse_than_minmax() -> None:
    torch.manual_seed(0)
    weight = torch.randn(8, 64) ** 3
    errors = []
    for search in ("minmax", "mse"):
        scale = weight_scale(weight, 7, 0, search)
        codes = quantize(weight, scale, -7, 7)
        errors.append(float((codes * scale[:, None] - weight).square().sum()))
    assert errors[1] < errors[0]


def test_unknown_observers_and_fractions_are_refused() -> None:
    with pytest.raises(ConfigError, match="minmax, percentile or mse"):
        observer("entropy")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=r"0\.9999"):
        Percentile(kept=99.99)
