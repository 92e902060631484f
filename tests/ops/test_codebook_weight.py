import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from pocketlens.ops.codebook_weight import CodebookWeight

PLACES = torch.tensor([[0, 1, 1], [2, 0, 1]])


def weight(**changes: object) -> CodebookWeight:
    """Codes -40, 0 and 3 in two channels with the scales 0.5 and 2."""
    given: dict[str, object] = {
        "start": torch.tensor([0.5, 2.0]),
        "places": PLACES,
        "values": torch.tensor([3.0, -40.0, 0.0]),
        "counted": torch.tensor([1.0, 1.0, 0.0]),
        "reach": 127,
        "learned": True,
    }
    return CodebookWeight(**(given | changes))  # pyright: ignore[reportArgumentType]


def test_the_gradient_of_a_centroid_is_the_sum_over_its_members_by_hand() -> None:
    """Han et al. 2016, equation 3: dL/dC_k is the sum of dL/dw where the index is k; here w is scale * code."""
    rounding = weight()
    numbers = rounding.right_inverse(torch.empty(2, 3)).requires_grad_()
    made = rounding(numbers)
    assert made.tolist() == [[1.5, -20, -20], [0, 6, -80]]
    made.backward(torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
    # Entry 0: 1 * 0.5 + 5 * 2. Entry 1: (2 + 3) * 0.5 + 6 * 2. Entry 2 is 0 and stays.
    assert numbers.grad is not None
    assert numbers.grad.tolist() == [10.5, 14.5, 0]
    # Scales: 1 * 3 + (2 + 3) * -40, and 5 * 3 + 6 * -40.
    assert rounding.step.grad is not None
    assert rounding.step.grad.tolist() == [-197, -225]


def test_rounding_passes_the_gradient_straight_through() -> None:
    rounding = weight()
    numbers = torch.tensor([3.4, -39.6, 7.0], requires_grad=True)
    assert rounding(numbers).tolist() == [[1.5, -20, -20], [0, 6, -80]]
    assert rounding.codes(numbers).tolist() == [[3, -40, -40], [0, 3, -40]]
    rounding(numbers).sum().backward()
    assert numbers.grad is not None
    assert numbers.grad.tolist() == [2.5, 3, 0]


def test_codes_stay_within_reach() -> None:
    numbers = torch.tensor([90.0, -90.0, 0.0])
    assert weight(reach=63).codes(numbers).tolist() == [[63, -63, -63], [0, 63, -63]]


def test_units_change_how_it_is_counted_and_not_what_it_is() -> None:
    rounding = weight(counted=torch.tensor([0.5, 4.0, 0.0]), unit=torch.tensor([0.5, 0.25]))
    numbers = rounding.right_inverse(torch.empty(2, 3)).requires_grad_()
    assert numbers.tolist() == [6, -10, 0]
    made = rounding(numbers)
    assert made.tolist() == [[1.5, -20, -20], [0, 6, -80]]
    made.backward(torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
    assert numbers.grad is not None
    assert numbers.grad.tolist() == [0.5 * 10.5, 4 * 14.5, 0]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_any_loop_keeps_it(kind: type[torch.optim.Optimizer]) -> None:
    """The layer's parameter is the codebook; what shares an entry moves as one, zeros and indices stay."""
    layer = nn.Linear(3, 2)
    parametrize.register_parametrization(layer, "weight", weight(learned=False))
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {
        "bias": (2,),
        "parametrizations.weight.original": (3,),
    }
    before = layer.weight.detach().clone()
    optimizer = kind(layer.parameters(), lr=2.0)
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.tensor([[1.0, 2.0, 3.0]])).sum().backward()
        optimizer.step()
    after = layer.weight.detach()
    assert (after != before)[PLACES != 2].all()
    assert (after == 0).equal(PLACES == 2)
    codes = after / torch.tensor([[0.5], [2.0]])
    assert torch.equal(codes, codes.round())
    assert all(len(torch.unique(codes[k == PLACES])) == 1 for k in range(3))
