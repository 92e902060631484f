import functools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests import networks
from tests.conftest import SPEC
from torch import nn
from torch.nn import functional as F

from pocketlens.datasets.folder import folder
from pocketlens.errors import DataError
from pocketlens.models.canonical import canonicalise
from pocketlens.models.channels import channel_groups
from pocketlens.models.saliency import _by_unit, _slices, scores
from pocketlens.ops.criteria import CRITERIA
from pocketlens.ops.groups import ChannelGroup, Member
from pocketlens.types import Context, Data, Model


@functools.cache
def prepared(network: type[nn.Module]) -> tuple[Model, tuple[ChannelGroup, ...]]:
    """A network and those of its groups that may shrink."""
    model = canonicalise(networks.shaken(network()), SPEC)
    return model, tuple(g for g in channel_groups(model) if not g.locked)


def test_rows_go_to_their_units() -> None:
    rows = torch.tensor([[1.0, 2], [3, 4], [5, 6]])
    place = Member("a", "out", torch.arange(3), torch.tensor([2, 0, 2]))
    # unit 0 has one row, unit 1 none, unit 2 two
    assert _by_unit(rows, place, 3).tolist() == [[3, 4, 0, 0], [0, 0, 0, 0], [1, 2, 5, 6]]


def test_a_flattened_unit_holds_all_its_columns() -> None:
    model = canonicalise(networks.shaken(networks.Flattened()), SPEC)
    group = next(g for g in channel_groups(model) if g.name == "second_0")
    made, gain, read = _slices(model.graph, group)
    assert (made.side, gain.side, read.side) == ("out", "norm", "in")
    assert (made.values.shape, gain.values.shape, read.values.shape) == ((6, 72), (6, 1), (6, 60))
    hidden = model.graph.get_submodule("hidden").weight.detach()  # pyright: ignore
    assert read.values[2].square().sum() == pytest.approx(float(hidden[:, 12:18].square().sum()))


def test_slopes_and_norms_without_gain_are_left_out() -> None:
    model = canonicalise(networks.shaken(networks.Slopes()), SPEC)
    groups = {g.name: g for g in channel_groups(model)}
    assert [s.side for s in _slices(model.graph, groups["first"])] == ["out", "in"]
    assert [s.side for s in _slices(model.graph, groups["third"])] == ["out", "in"]


def test_l1_by_hand(tiny: Model, context: Context) -> None:
    groups = channel_groups(tiny)
    got = scores(tiny, groups, "l1", context, 8)
    expand, depthwise = (tiny.graph.get_submodule(n).weight.detach() for n in ("expand_0", "depthwise_0"))
    wanted = expand.abs().flatten(1).sum(1) + depthwise.abs().flatten(1).sum(1)  # pyright: ignore
    name = next(g.name for g in groups if g.width == 16)
    assert torch.allclose(got[name], wanted)


@pytest.mark.parametrize("criterion", sorted(CRITERIA))
@pytest.mark.parametrize("network", [networks.JoinedThenAdded, networks.Transposed, networks.Vit, networks.Slopes])
def test_one_finite_score_a_unit(network: type[nn.Module], criterion: str, context: Context) -> None:
    model, groups = prepared(network)
    got = scores(model, groups, criterion, context, 8)
    assert {n: len(s) for n, s in got.items()} == {g.name: g.width for g in groups}
    assert all(torch.isfinite(s).all() and (s >= 0).all() for s in got.values())
    assert all(p.grad is None for p in model.graph.parameters())


def test_taylor_by_hand(tiny: Model, context: Context) -> None:
    """The squared sum over the gains of a unit of gain times gradient, of one batch."""
    groups = channel_groups(tiny)
    name = next(g.name for g in groups if g.width == 16)
    got = scores(tiny, groups, "taylor", context, 24)[name]
    assert context.data.train is not None
    (batch,) = context.data.train.batches(SPEC.preprocessing, 24)
    F.cross_entropy(tiny.graph(torch.from_numpy(batch.images)), torch.from_numpy(batch.labels)).backward()
    first, second = (tiny.graph.get_submodule(n).weight for n in ("expand_1", "depthwise_1"))
    wanted = (first * first.grad + second * second.grad).detach().square()  # pyright: ignore
    assert torch.allclose(got, wanted, rtol=1e-3, atol=1e-9)


def test_without_labels_the_models_own_answers_serve(tiny: Model, context: Context, photos: Path) -> None:
    loose = folder(photos / "cat")
    assert not loose.labelled
    groups = channel_groups(tiny)
    got = scores(tiny, groups, "taylor", replace(context, data=Data(calibration=loose)), 6)
    name = next(g.name for g in groups if g.width == 16)
    (batch,) = loose.batches(SPEC.preprocessing, 6)
    answers = tiny.graph(torch.from_numpy(batch.images))
    F.cross_entropy(answers, answers.detach().argmax(dim=1)).backward()
    first, second = (tiny.graph.get_submodule(n).weight for n in ("expand_1", "depthwise_1"))
    wanted = (first * first.grad + second * second.grad).detach().square()  # pyright: ignore
    assert torch.allclose(got[name], wanted, rtol=1e-3, atol=1e-9)


def test_gradients_need_images(tiny: Model, context: Context) -> None:
    groups = channel_groups(tiny)
    bare = replace(context, data=Data())
    for criterion in ("taylor", "hessian_diagonal"):
        with pytest.raises(DataError, match="--data"):
            scores(tiny, groups, criterion, bare, 8)
    assert scores(tiny, groups, "l2", bare, 8)


def test_fewer_images_are_spread_over_all(tiny: Model, context: Context) -> None:
    groups = channel_groups(tiny)
    few, all_of_them = (scores(tiny, groups, "taylor", context, n) for n in (4, 24))
    assert any(not torch.allclose(few[g.name], all_of_them[g.name]) for g in groups)
    more = scores(tiny, groups, "taylor", context, 1000)
    assert all(torch.equal(more[g.name], all_of_them[g.name]) for g in groups)


def test_random_follows_the_seed(tiny: Model, context: Context) -> None:
    groups = channel_groups(tiny)
    one, other = (scores(tiny, groups, "random", replace(context, seed=s), 8) for s in (0, 1))
    assert all(torch.equal(one[n], scores(tiny, groups, "random", context, 8)[n]) for n in one)
    assert any(not torch.equal(one[n], other[n]) for n in one)
