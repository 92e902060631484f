import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import networks
from tests.conftest import SPEC

from pocketlens.errors import ConfigError, DataError, UnknownNameError, UnsupportedModelError
from pocketlens.models import sources, store
from pocketlens.models.canonical import canonicalise
from pocketlens.models.channels import channel_groups, silence
from pocketlens.models.cifar_resnet import CifarResNet
from pocketlens.models.cost import count_macs, count_parameters
from pocketlens.ops.criteria import CRITERIA
from pocketlens.passes.prune_channels import PruneChannels
from pocketlens.recipe import Chain, from_toml, pass_from_json, pass_to_json, to_toml
from pocketlens.types import Context, Data, Model


def imported(module: torch.nn.Module) -> Model:
    return canonicalise(networks.shaken(module), replace(SPEC, name="network"))


def bare(model: Model, tmp_path: Path) -> Context:
    """A context without images."""
    return Context(data=Data(), original=model, work=tmp_path)


def widths(record: Any) -> dict[str, int]:
    return {layer["layer"]: layer["after"] for layer in record.layers}


def test_by_hand(tmp_path: Path) -> None:
    """Of 12 filters four are made small; those leave, and nothing else changes."""
    model = imported(networks.Chain())
    layer, norm = model.graph.get_submodule("m_1_0"), model.graph.get_submodule("m_1_1")
    weak, strong = [1, 2, 7, 10], [0, 3, 4, 5, 6, 8, 9, 11]
    with torch.no_grad():
        for tensor in (layer.weight, layer.bias, norm.weight, norm.bias, norm.running_mean):
            tensor[weak] *= 1e-6  # pyright: ignore
    step = PruneChannels(layers={"m_1_0": 1 / 3}, criterion="l2", multiple=1)
    pruned = step(model, bare(model, tmp_path)).model
    assert torch.equal(pruned.graph.get_submodule("m_1_0").weight, layer.weight[strong])  # pyright: ignore
    assert torch.equal(pruned.graph.get_submodule("m_2_0").weight, model.graph.get_submodule("m_2_0").weight[:, strong])  # pyright: ignore
    x = torch.randn(4, 3, 32, 32)
    assert torch.allclose(pruned.graph(x), model.graph(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("settings", [{"ratio": 0.0}, {"ratio": 0.0, "scope": "local"}, {"layers": {"expand_0": 0.0}}])
def test_no_share_is_the_identity(settings: dict[str, Any], tiny: Model, context: Context) -> None:
    settings = {
        k: dict.fromkeys([channel_groups(tiny)[0].name], 0.0) if k == "layers" else v for k, v in settings.items()
    }
    result = PruneChannels(**settings, multiple=1)(tiny, context)
    assert store.digest(result.model) == store.digest(tiny)
    assert result.record.summary["macs_after"] == result.record.summary["macs_before"]


@pytest.mark.parametrize("scope", ["global", "local"])
def test_the_pruned_model_is_the_silenced_one(scope: str, tiny: Model, context: Context) -> None:
    step = PruneChannels(ratio=0.5, multiple=1, scope=scope)  # pyright: ignore
    groups = channel_groups(tiny)
    everything = {"done": 1.0, "budget": count_macs(tiny), "widths": {g.name: g.width for g in groups}}
    doomed = step.doomed(tiny, groups, context, **everything)
    pruned = step(tiny, context).model
    assert sum(len(units) for units in doomed.values()) == 12  # of 8 + 16
    silence(tiny.graph, doomed, groups)
    x = torch.randn(4, 3, 32, 32)
    assert torch.allclose(pruned.graph(x), tiny.graph(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weigh", ["none", "macs"])
@pytest.mark.parametrize("scope", ["global", "local"])
@pytest.mark.parametrize("network", [networks.Chain, networks.Dense, networks.InvertedResidual, networks.SqueezeExcite])
def test_macs_are_held(network: type, scope: str, weigh: str, tmp_path: Path) -> None:
    model = imported(network())
    step = PruneChannels(macs=0.5, multiple=1, scope=scope, weigh=weigh)  # pyright: ignore
    result = step(model, bare(model, tmp_path))
    share = count_macs(result.model) / count_macs(model)
    assert share <= 0.5
    assert share > 0.3  # one channel of these narrow layers is up to a tenth of all
    assert result.record.summary["macs_after"] == count_macs(result.model)
    assert result.record.summary["parameters_after"] == count_parameters(result.model)


def test_macs_are_met_closely_where_layers_are_wide(tmp_path: Path) -> None:
    model = imported(CifarResNet(8, classes=4))
    result = PruneChannels(macs=0.3, multiple=1)(model, bare(model, tmp_path))
    share = count_macs(result.model) / count_macs(model)
    assert 0.68 < share <= 0.7


@pytest.mark.parametrize("steps", [1, 2])
def test_parameters_are_held_and_leave_before_arithmetic(steps: int, tmp_path: Path) -> None:
    model = imported(CifarResNet(8, classes=4))
    step = PruneChannels(parameters=0.3, weigh="parameters", multiple=1, steps=steps)
    result = step(model, bare(model, tmp_path))
    share = count_parameters(result.model) / count_parameters(model)
    assert 0.68 < share <= 0.7
    # The last layers are wide and see few places: most parameters and little of the arithmetic.
    assert count_macs(result.model) / count_macs(model) > share
    assert result.record.summary["macs_before"] == count_macs(model)


def test_given_layers_alone_shrink(tmp_path: Path) -> None:
    model = imported(networks.Chain())
    result = PruneChannels(layers={"m_0_0": 0.25, "m_2_0": 0.5}, multiple=1)(model, bare(model, tmp_path))
    assert widths(result.record) == {"m_0_0": 6, "m_1_0": 12, "m_2_0": 3}
    assert result.model.graph.get_submodule("m_1_0").in_channels == 6


def test_layers_win_over_shares(tmp_path: Path) -> None:
    model = imported(networks.Chain())
    result = PruneChannels(layers={"m_0_0": 0.25}, ratio=0.9, macs=0.9, multiple=1)(model, bare(model, tmp_path))
    assert widths(result.record) == {"m_0_0": 6, "m_1_0": 12, "m_2_0": 6}


def test_an_unknown_layer_is_told(tmp_path: Path) -> None:
    model = imported(networks.Chain())
    with pytest.raises(UnknownNameError, match=r"m_1_9.*m_1_0"):
        PruneChannels(layers={"m_1_9": 0.5})(model, bare(model, tmp_path))


def test_a_locked_layer_is_told_with_its_reason(tmp_path: Path) -> None:
    model = imported(networks.Shuffle())
    with pytest.raises(ConfigError, match=r"channels of stem_0 cannot be removed: .*fixed channel count.*reshape"):
        PruneChannels(layers={"stem_0": 0.5})(model, bare(model, tmp_path))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ratio": 1.0}, r"`ratio` must be in \[0, 1\), got 1\.0: 1 would empty a layer\. To prune 20% use 0\.2"),
        ({"ratio": 20}, r"`ratio` .*got 20"),
        ({"ratio": -0.1}, "`ratio`"),
        ({"ratio": float("nan")}, "`ratio`"),
        ({"macs": 1.0}, "`macs`"),
        ({"parameters": 1.0}, "`parameters`"),
        ({"macs": 0.3, "parameters": 0.3}, r"`macs` and `parameters` both say how much leaves, got 0\.3 and 0\.3"),
        ({"layers": {"stem": 1.0}}, r"`layers\.stem` must be in \[0, 1\)"),
        ({"smallest": 0.0}, r"`smallest` must be in \(0, 1\], got 0\.0; 0 would empty a layer"),
        ({"smallest": 1.1}, "`smallest`"),
        ({"multiple": 0}, "`multiple` must be at least 1"),
        ({"steps": 0}, "`steps` must be at least 1"),
        ({"images": 0}, "`images` must be at least 1"),
        ({"scope": "both"}, "`scope` must be global or local, got 'both'"),
        ({"weigh": "latency"}, "`weigh` must be none, macs or parameters"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PruneChannels(**settings)


def test_an_unknown_criterion_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match=r"tailor.*taylor"):
        PruneChannels(criterion="tailor")


def test_the_largest_share_leaves_something_everywhere(tmp_path: Path) -> None:
    for module in (networks.JoinedThenAdded(), networks.Grouped(), networks.Dense(), networks.Vit()):
        model = imported(module)
        result = PruneChannels(ratio=0.99, multiple=1, smallest=0.01)(model, bare(model, tmp_path)).model
        assert torch.isfinite(result.graph(torch.randn(2, 3, 32, 32))).all()
        assert all(p.numel() > 0 for p in result.graph.parameters())


@pytest.mark.parametrize("criterion", sorted(CRITERIA))
def test_a_layer_that_makes_part_of_a_sum_is_never_emptied(criterion: str, context: Context) -> None:
    model = imported(networks.JoinedThenAdded())
    few = model.graph.get_submodule("few_0")
    with torch.no_grad():
        few.weight.mul_(1e-3)  # pyright: ignore
        model.graph.get_submodule("few_1").weight.mul_(1e-3)  # pyright: ignore
    result = PruneChannels(ratio=0.6, multiple=1, criterion=criterion)(model, context).model
    assert result.graph.get_submodule("few_0").out_channels >= 1  # pyright: ignore
    assert result.graph(torch.randn(2, 3, 32, 32)).shape == (2, 4)


def test_widths_are_multiples(tmp_path: Path) -> None:
    model = imported(CifarResNet(8, classes=4))
    result = PruneChannels(ratio=0.4, multiple=8)(model, bare(model, tmp_path))
    open_layers = [layer for layer in result.record.layers if not layer["locked"]]
    assert all(layer["after"] % 8 == 0 for layer in open_layers)
    assert any(layer["after"] < layer["before"] for layer in open_layers)


def test_smallest_is_held(tmp_path: Path) -> None:
    model = imported(networks.Chain())
    result = PruneChannels(ratio=0.9, multiple=1, smallest=0.5)(model, bare(model, tmp_path))
    assert widths(result.record) == {"m_0_0": 4, "m_1_0": 6, "m_2_0": 3}


@pytest.mark.parametrize("settings", [{"ratio": 0.5, "scope": "local"}, {"layers": {"m_1_0": 0.5}}, {"macs": 0.5}])
def test_steps_end_where_one_does(settings: dict[str, Any], tmp_path: Path) -> None:
    model = imported(networks.Chain())
    once, often = (PruneChannels(**settings, multiple=1, steps=n)(model, bare(model, tmp_path)) for n in (1, 3))
    if "macs" in settings:
        assert count_macs(often.model) <= count_macs(model) / 2
    else:
        assert widths(often.record) == widths(once.record)
    assert [layer["before"] for layer in often.record.layers] == [layer["before"] for layer in once.record.layers]
    for layer in often.record.layers:
        assert model.graph.get_submodule(layer["layer"]).out_channels == layer["before"]
        assert often.model.graph.get_submodule(layer["layer"]).out_channels == layer["after"]


@pytest.mark.parametrize("criterion", sorted(CRITERIA))
def test_every_criterion_runs(criterion: str, tiny: Model, context: Context) -> None:
    result = PruneChannels(criterion=criterion, ratio=0.4, multiple=1, images=12)(tiny, context)
    assert count_macs(result.model) < count_macs(tiny)
    assert result.model.graph(torch.randn(2, 3, 32, 32)).shape == (2, 4)


def test_gradients_need_images(tiny: Model, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train or calibration images"):
        PruneChannels(criterion="taylor")(tiny, bare(tiny, tmp_path))


def test_heads_leave_whole_and_sizes_follow(tmp_path: Path) -> None:
    model = imported(networks.Vit())
    result = PruneChannels(layers={"qkv": 0.5}, multiple=8)(model, bare(model, tmp_path))  # `multiple` is of channels
    assert widths(result.record)["qkv"] == 2
    shapes = [n.args[1] for n in result.model.graph.graph.nodes if n.target is torch.reshape]
    assert (-1, 16, 3, 2, 4) in shapes
    assert (-1, 16, 8) in shapes
    assert result.model.graph(torch.randn(3, 3, 32, 32)).shape == (3, 4)
    assert result.model.graph.get_submodule("proj").in_features == 8
    assert next(layer for layer in result.record.layers if layer["layer"] == "qkv")["kind"] == "heads"


def test_nothing_to_remove_is_refused_with_the_reason(tmp_path: Path) -> None:
    model = imported(networks.Closed())
    with pytest.raises(UnsupportedModelError, match=r"network .*stem: a norm over channels depends on its width"):
        PruneChannels()(model, bare(model, tmp_path))


def test_the_record_tells_what_stays_and_why(tmp_path: Path) -> None:
    model = imported(CifarResNet(8, classes=4))
    record = PruneChannels(ratio=0.3, multiple=1)(model, bare(model, tmp_path)).record
    assert record.summary["locked"] == 1
    assert record.notes == ("stays as wide as it is, the graph holds a fixed channel count (such as pad): conv1",)
    locked = next(layer for layer in record.layers if layer["locked"])
    assert (locked["layer"], locked["before"], locked["after"]) == ("conv1", 16, 16)


@pytest.mark.parametrize(
    "step",
    [
        PruneChannels(),
        PruneChannels(layers={"m_0_0": 0.25, "m_2_0": 0.5}, multiple=4, criterion="l1", steps=2),
        PruneChannels(macs=0.5, scope="local", weigh="macs", smallest=0.25, images=3),
    ],
)
def test_the_configuration_comes_back(step: PruneChannels, tmp_path: Path) -> None:
    assert pass_from_json(json.loads(json.dumps(pass_to_json(step)))) == step
    chain = Chain(step, name="narrow", description="fewer channels")
    assert from_toml(to_toml(chain)).passes == (step,)
    assert from_toml(to_toml(chain)) == chain


def test_the_recorded_configuration_makes_the_pass_again(tmp_path: Path) -> None:
    model = imported(networks.Chain())
    step = PruneChannels(layers={"m_0_0": 0.25}, multiple=1)
    config = json.loads(json.dumps(step(model, bare(model, tmp_path)).record.config))
    assert pass_from_json({"use": "PruneChannels", **config}) == step


REAL = {
    "timm:mobilenetv3_small_050": 64,
    "timm:regnetx_002": 64,
    "timm:convnext_atto": 64,
    "timm:vit_tiny_patch16_224": 224,
    "torchvision:densenet121": 64,
    "timm:ghostnet_050": 32,
    "efficientnet_lite0": 64,
}
"""Architectures and the size of the pictures that they are tried with: convolutions take any."""


@pytest.mark.parametrize("name", sorted(REAL))
def test_real_architectures(name: str, tmp_path: Path) -> None:
    model = sources.load(name, weights=Path("random") if ":" in name else None)
    model = replace(model, spec=replace(model.spec, input_shape=(3, REAL[name], REAL[name])))
    pruned = PruneChannels(ratio=0.3, multiple=1)(model, bare(model, tmp_path)).model
    x = torch.randn(2, *model.spec.input_shape)
    with torch.inference_mode():
        answers = pruned.graph(x)
    assert answers.shape == (2, 1000)
    assert torch.isfinite(answers).all()
    assert count_macs(pruned) < 0.95 * count_macs(model)
    assert count_parameters(pruned) < count_parameters(model)
