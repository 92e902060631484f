import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from pocketlens import recipe as recipes
from pocketlens.errors import ConfigError, PassError, RecipeError, UnknownNameError
from pocketlens.passes.correct_bias import CorrectBias
from pocketlens.passes.distil import Distil
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.prune_channels import PruneChannels
from pocketlens.passes.prune_weights import PruneWeights
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.recipe import Chain, bind, check, from_json, from_toml, iterate, read, to_json, to_toml
from pocketlens.types import Context, Fact, IntegerFormat, Model, PassResult, Profile, Scheme

SCHEME = Scheme(
    name="u8s8",
    activation=IntegerFormat(storage="uint8", qmin=0, qmax=255),
    weight=IntegerFormat(storage="int8", qmin=-127, qmax=127, zero_point=0),
)

PROFILE = Profile(
    device="this", system="", cpu="", cores=1, threads=1, memory_bytes=1, caches_bytes={}, instructions=(),
    runtime="test 1", scheme=SCHEME,
)  # fmt: skip


def test_shipped_recipes_are_in_order() -> None:
    shipped = recipes.shipped_recipes()
    assert set(shipped) >= {"int8", "half"}
    for name in shipped:
        check(read(name), frozenset({"batchnorm"}))
        assert shipped[name]


def test_bind_fills_what_the_target_decides_and_nothing_else() -> None:
    recipe = read("int8")
    bound = bind(recipe, PROFILE)
    assert bound.passes[1] == replace(recipe.passes[1], scheme=SCHEME)  # pyright: ignore
    assert bound.passes[0] == recipe.passes[0]
    assert recipe.passes[1].scheme == "auto"  # pyright: ignore
    with pytest.raises(ConfigError, match="no scheme"):
        bind(recipe, replace(PROFILE, scheme=None))


def test_a_bound_recipe_round_trips_through_json_and_toml() -> None:
    bound = bind(read("int8"), PROFILE)
    assert from_json(json.loads(json.dumps(to_json(bound)))) == bound
    assert from_toml(to_toml(bound)) == bound


def test_a_wrong_order_is_refused_with_the_way_out() -> None:
    with pytest.raises(RecipeError, match=r"pass 1 of 1, QuantizeStatic, requires .*folded.*FoldBatchNorm"):
        check(Chain(QuantizeStatic()))
    with pytest.raises(RecipeError, match=r"CorrectBias, requires .*quantized"):
        check(Chain(FoldBatchNorm(), CorrectBias()))
    with pytest.raises(RecipeError, match=r"pass 3 of 3, FoldBatchNorm, cannot follow"):
        check(Chain(FoldBatchNorm(), QuantizeStatic(), FoldBatchNorm()))


def test_a_chain_is_a_pass_with_the_facts_of_its_parts() -> None:
    chain = Chain(FoldBatchNorm(), QuantizeStatic())
    assert chain.requires == frozenset()
    assert chain.establishes == {"folded", "quantized"}
    assert chain.destroys == {"batchnorm"}
    assert "quantized" in chain.forbids
    assert Chain(CorrectBias()).requires == {"quantized"}


def test_a_chain_of_chains_gives_the_same_model(tiny: Model, context: Context) -> None:
    flat = bind(read("int8"), PROFILE)
    nested = Chain(flat.passes[0], Chain(*flat.passes[1:]))
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(nested(tiny, context).model.graph(x), flat(tiny, context).model.graph(x))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "at least one"),
        ("name = 3 = 4", "TOML"),
        ("colour = 'red'\n[[pass]]\nuse='FoldBatchNorm'", "colour"),
        ("[[pass]]\nactivations='mse'", "use"),
        ("[[pass]]\nuse='QuantizeStatic'\nbits=4", "no field bits.*activations"),
        ("[[pass]]\nuse='QuantizeStatic'\nactivations='entropy'", "minmax, percentile or mse"),
        ("[[pass]]\nuse='QuantizeStatic'\nbatch_size='many'", "QuantizeStatic"),
        ("[[pass]]\nuse='FoldBatchNorm'\ndeep=true", "has no fields"),
    ],
)
def test_a_malformed_recipe_is_told_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises((RecipeError, ConfigError), match=problem):
        from_toml(text)


def test_unknown_names_list_the_valid_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'int8'.*half"):
        read("int9")
    with pytest.raises(UnknownNameError, match=r"CastHalf.*CorrectBias"):
        from_toml("[[pass]]\nuse='Fold'")
    with pytest.raises(RecipeError, match="cannot read"):
        read(tmp_path / "missing.toml")


@dataclass(frozen=True, kw_only=True)
class Broken:
    requires: ClassVar[frozenset[Fact]] = frozenset()
    forbids: ClassVar[frozenset[Fact]] = frozenset()
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __call__(self, model: Model, context: Context) -> PassResult:
        raise ConfigError("the ratio is too large")


def test_a_failing_pass_is_named_with_its_place(tiny: Model, context: Context) -> None:
    with pytest.raises(PassError, match=r"pass 2 of 2, Broken \(after FoldBatchNorm\): the ratio") as caught:
        recipes.run(Chain(FoldBatchNorm(), Broken()), tiny, context)
    assert caught.value.exit_code == 2


def test_iterating_ends_where_one_cut_would() -> None:
    chain = iterate(PruneChannels(macs=0.488, multiple=1), Distil(epochs=1), 3)
    assert [type(p).__name__ for p in chain.passes] == ["PruneChannels", "Distil"] * 3
    assert chain.passes[0].macs == pytest.approx(0.2)  # pyright: ignore  1 - 0.512 ** (1 / 3)
    with pytest.raises(ConfigError, match="rounds"):
        iterate(PruneChannels(), Distil(), 0)


def test_iterating_a_ratio() -> None:
    chain = iterate(PruneChannels(ratio=0.36), Distil(), 2)
    assert chain.passes[2].ratio == pytest.approx(0.2)  # pyright: ignore


def test_layers_given_one_by_one_survive_toml() -> None:
    chain = Chain(PruneChannels(layers={"stem_0": 0.5, "odd name.x": 0.25}), PruneWeights(skip=("a", "b")))
    assert from_toml(to_toml(chain)) == chain
