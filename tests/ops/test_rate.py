import math

import pytest
import torch

from pocketlens.ops.rate import bfloat16_above, code_lengths, entropy_bytes, least_error, round_for_rate, step_for

ONE = torch.tensor(1.0)


def test_lengths_by_hand() -> None:
    codes = torch.tensor([0, 0, 5, 5, 5, 5, 5, 7], dtype=torch.int8)
    lengths = code_lengths(codes)
    assert lengths[128] == 2  # 2 of 8
    assert lengths[128 + 7] == lengths[128 + 9] == 3  # 1 of 8, and what does not occur
    assert lengths[128 + 5] == pytest.approx(math.log2(8 / 5))
    assert entropy_bytes(codes) == pytest.approx((2 * 2 + 3 + 5 * math.log2(8 / 5)) / 8)


def test_the_step_by_hand() -> None:
    assert step_for(math.log(2) / 6, 1.0) == pytest.approx(1)
    assert step_for(math.log(2) / 6, 4.0) == pytest.approx(0.5)
    assert step_for(1.0, 0.0) > 1e6


def test_unlike_inputs_and_no_price_of_bits_round_to_the_nearest() -> None:
    values = torch.tensor([[[0.4, 0.6, -1.4, -1.6, 200.0]]])
    assert round_for_rate(values, torch.eye(5)[None], ONE, 127, 0.0).flatten().tolist() == [0, 1, -1, -2, 127]


def test_one_weight_makes_up_for_another_by_hand() -> None:
    # Both weights read the same input: only their sum counts, 0.4 + 0.4 is nearer to 1 than to 0.
    codes = round_for_rate(torch.full((1, 1, 2), 0.4), torch.ones(1, 2, 2), ONE, 127, 0.0)
    assert sorted(codes.flatten().tolist()) == [0, 1]


def test_what_a_weight_is_worth_by_hand() -> None:
    # Alone 4 and 1; where both read the same input, the second makes up for the first, but for the damping.
    assert least_error(torch.diag(torch.tensor([4.0, 1.0]))[None]).flatten().tolist() == pytest.approx([4, 1], rel=0.03)
    first, second = least_error(torch.ones(1, 2, 2)).flatten().tolist()
    assert first < 0.03
    assert second == pytest.approx(1, rel=0.03)


def test_a_rare_code_is_given_up_where_it_costs_more_than_it_saves() -> None:
    # To zero costs 0.36 of error instead of 0.16, and saves most of the 12 bits of the only 1.
    values, alone = torch.tensor([0.0] * 4000 + [0.6]).reshape(-1, 1, 1), torch.ones(4001, 1, 1)
    assert round_for_rate(values, alone, ONE, 127, 0.01)[-1] == 1
    assert round_for_rate(values, alone, ONE, 127, 0.05)[-1] == 0
    weighty = torch.ones(4001)
    weighty[-1] = 100
    assert round_for_rate(values, alone, weighty, 127, 0.05)[-1] == 1


def test_cheaper_codes_do_not_shrink_the_output() -> None:
    """Inputs that are all positive, as after a ReLU: rounding to zero must not add up."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(2000, 32, generator=draw)
    values = 2 * torch.randn(1, 64, 32, generator=draw)
    price = math.log(2) / 6 * float(least_error((x.T @ x / 2000)[None]).mean())
    codes = round_for_rate(values, (x.T @ x / 2000)[None], ONE, 127, price)
    nearest = values.round().to(torch.int8)
    error, plain = (x @ (c.float() - values)[0].T for c in (codes, nearest))
    assert entropy_bytes(codes) < 0.99 * entropy_bytes(nearest)
    assert error.square().mean() < plain.square().mean()


def test_a_higher_price_never_packs_larger() -> None:
    values = 20 * torch.randn(1, 100, 50, generator=torch.Generator().manual_seed(0))
    moment = torch.eye(50)[None]
    sizes = [entropy_bytes(round_for_rate(values, moment, ONE, 127, price)) for price in (0, 0.03, 0.1, 0.3)]
    assert sizes == sorted(sizes, reverse=True)


def test_a_scale_in_few_digits_by_hand() -> None:
    # Between 1 and 2 a bfloat16 has steps of 2^-7, between 1/4 and 1/2 of 2^-9.
    scale = torch.tensor([1.0, 1 + 2**-23, 1.0078125, 1.99999, 0.25 + 2**-10, 3e-5])
    above = bfloat16_above(scale)
    assert above[:5].tolist() == [1.0, 1 + 2**-7, 1.0078125, 2.0, 0.25 + 2**-9]
    assert (above >= scale).all()
    assert (above <= scale * (1 + 2**-7)).all()
    assert not (above.view(torch.int32) & 0xFFFF).any()
    assert bfloat16_above(torch.tensor(1.001)) == 1 + 2**-7  # one scale for all channels
