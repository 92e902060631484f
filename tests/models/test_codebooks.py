import pytest
import torch
from torch import Tensor, fx, nn

from pocketlens.models.codebooks import SharedCodes, shared_codes, tie
from pocketlens.models.unrounding import float_layer
from pocketlens.ops.quantized import QuantizedLinear


def linear(codes: Tensor, codebook: tuple[int, int] | None = None) -> QuantizedLinear:
    scale = 0.5 + torch.arange(len(codes)) / 8
    return QuantizedLinear(codes, scale, torch.zeros(len(codes)), "int8", codebook)


def network(*leaves: QuantizedLinear) -> fx.GraphModule:
    """Each of them reads the input."""
    root, graph = nn.Module(), fx.Graph()
    x = graph.placeholder("x")
    made = []
    for place, leaf in enumerate(leaves):
        root.add_module(f"layer_{place}", leaf)
        made.append(graph.call_module(f"layer_{place}", (x,)))
    graph.output(tuple(made))
    return fx.GraphModule(root, graph)


def rebuilt(start: SharedCodes) -> Tensor:
    return start.book.values[start.places.long()]


def test_a_book_a_layer_by_hand() -> None:
    codes = torch.tensor([[5, 0, -3], [5, 5, 0]], dtype=torch.int8)
    (start,) = shared_codes(network(linear(codes))).values()
    assert start.book.values.tolist() == [-3, 0, 5]
    assert start.book.live.tolist() == [True, False, True]
    assert start.places.tolist() == [[2, 1, 0], [2, 2, 1]]
    # Scales 0.5 and 0.625: -3 stands once in the first row; 5 once there and twice in the second.
    assert start.book.power.tolist() == pytest.approx([0.25, 0.25 + 0.390625, 0.25 + 2 * 0.390625])
    assert start.book.reach == 5
    # Counted so, a number is as long as its weights are together.
    length = start.book.values[2] / start.book.counted(relative=False)[2]
    assert float(length) == pytest.approx(float(torch.tensor([2.5, 3.125, 3.125]).norm()))
    assert start.book.counted(relative=False)[1] == 0


@pytest.mark.parametrize("vector", [2, 4])
def test_entries_of_vectors(vector: int) -> None:
    entries = torch.tensor([[1, -2, 3, -4], [0, 0, 0, 0], [7, 0, 0, 7]], dtype=torch.int8)[:, :vector]
    codes = entries[torch.tensor([[0, 1, 2], [2, 2, 1]])].reshape(2, 3 * vector)
    (start,) = shared_codes(network(linear(codes, (vector, 2)))).values()
    assert len(start.book.values) == 3 * vector
    assert int(start.book.live.sum()) == 2 * vector  # a number that is 0 in an entry that is not may move
    assert torch.equal(rebuilt(start), codes.float())
    pairs = start.places.reshape(-1, vector)
    assert all((pairs[:, j] == pairs[:, 0] + j).all() for j in range(vector))


def test_groups_of_channels_share_nothing() -> None:
    codes = torch.tensor([[1, 2], [2, 1], [1, 3]], dtype=torch.int8)
    (start,) = shared_codes(network(linear(codes, (1, 2)))).values()
    assert start.book.values.tolist() == [1, 2, 1, 3]
    assert start.places.tolist() == [[0, 1], [1, 0], [2, 3]]


def test_one_book_for_the_network_is_one_parameter() -> None:
    a, b = (torch.tensor([row], dtype=torch.int8) for row in ([1, -9, 1], [-9, 4, 0]))
    graph = network(linear(a, (1, 0)), linear(b, (1, 0)), linear(a))
    shared = shared_codes(graph)
    first, second, alone = shared.values()
    assert first.book is second.book
    assert alone.book is not first.book
    assert first.book.values.tolist() == [-9, 0, 1, 4]
    assert first.book.reach == second.reach == 9
    for path, start in shared.items():
        graph.set_submodule(path, float_layer(start.leaf))
    steps = {path: start.hold(graph, path, learned=True, relative=False) for path, start in shared.items()}
    tie(graph, shared)
    assert len([p for p in graph.parameters() if tuple(p.shape) == (4,)]) == 1
    x = torch.tensor([[1.0, 2.0, 4.0]])
    sum(y.sum() for y in graph(x)).backward()
    (book,) = (p for p in graph.parameters() if tuple(p.shape) == (4,))
    assert book.grad is not None
    # All three scales are 0.5; -9 reads 2 in the first layer and 1 in the second.
    counted = first.book.counted(relative=False)
    assert book.grad.tolist() == pytest.approx((counted * 0.5 * torch.tensor([2 + 1, 4, 1 + 4, 2.0])).tolist())
    with torch.no_grad():
        book += torch.tensor([0.0, 5.0, 2.0, 0.0]) / counted.clamp(min=1e-6)
    hard = [shared[path].harden(graph, path, steps[path]) for path in shared]
    assert [leaf.codes.tolist() for leaf in hard] == [[[3, -9, 3]], [[-9, 4, 0]], [[1, -9, 1]]]
    assert [leaf.codebook for leaf in hard] == [(1, 0), (1, 0), None]


@pytest.mark.parametrize("relative", [True, False])
def test_nothing_learned_is_the_same_layer(relative: bool) -> None:
    codes = torch.randint(-127, 128, (6, 8), generator=torch.Generator().manual_seed(0)).to(torch.int8)
    graph = network(linear(codes, (2, 3)))
    x = torch.randn(3, 8)
    (before,) = graph(x)
    ((path, start),) = shared_codes(graph).items()
    graph.set_submodule(path, float_layer(start.leaf))
    steps = start.hold(graph, path, learned=True, relative=relative)
    assert torch.allclose(graph(x)[0], before, atol=1e-3)
    hard = start.harden(graph, path, steps)
    assert torch.equal(hard.codes, codes)
    assert torch.allclose(hard.weight_scale, start.leaf.weight_scale)
