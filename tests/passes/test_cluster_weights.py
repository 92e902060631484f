from dataclasses import replace
from typing import Any

import pytest
import torch

from pocketlens.errors import ConfigError, DataError, ModelError
from pocketlens.models.integer_layers import quantized_layers
from pocketlens.passes.cluster_weights import ClusterWeights
from pocketlens.types import Context, Data, Model


def distinct(model: Model) -> dict[str, int]:
    return {name: len(torch.unique(layer.codes)) for name, layer in quantized_layers(model.graph).items()}


def test_a_codebook_by_hand(pair: tuple[Model, Model], repairing: Context) -> None:
    layer = quantized_layers(pair[1].graph)["classifier"]
    row = torch.tensor([0, 0, 10, 12, -100, -102, 100, 0], dtype=torch.int8)
    layer.codes = row.expand(layer.codes.shape).clone()
    clustered = ClusterWeights(clusters=4, weighted=False)(pair[1], repairing).model
    assert torch.unique(quantized_layers(clustered.graph)["classifier"].codes).tolist() == [-101, 0, 11, 100]


def test_each_layer_has_few_values(pair: tuple[Model, Model], repairing: Context) -> None:
    found = ClusterWeights(clusters=8)(pair[1], repairing)
    assert max(distinct(found.model).values()) <= 8
    assert found.record.summary["weights_bytes"] < 0.55 * found.record.summary["weights_bytes_before"]
    assert {row["layer"] for row in found.record.layers} == set(distinct(pair[1]))
    assert "clustered" in found.model.facts


def test_the_network_shares_one_codebook(pair: tuple[Model, Model], repairing: Context) -> None:
    model = ClusterWeights(clusters=16, share="network")(pair[1], repairing).model
    values = torch.cat([layer.codes.flatten() for layer in quantized_layers(model.graph).values()])
    assert len(torch.unique(values)) <= 16


def test_groups_of_channels_have_codebooks_of_their_own(pair: tuple[Model, Model], repairing: Context) -> None:
    grouped = ClusterWeights(clusters=4, share="channels", channels=2)(pair[1], repairing).model
    for layer in quantized_layers(grouped.graph).values():
        assert all(len(torch.unique(rows)) <= 4 for rows in layer.codes.split(2))
    assert max(distinct(grouped).values()) > 4


def test_pairs_share_entries(pair: tuple[Model, Model], repairing: Context) -> None:
    found = ClusterWeights(clusters=16, vector=2)(pair[1], repairing)
    layers = quantized_layers(found.model.graph)
    for name, layer in layers.items():
        even = layer.codes[0].numel() % 2 == 0
        assert len(torch.unique(layer.codes.reshape(-1, 2 if even else 1), dim=0)) <= 16, name
    odd = [name for name, layer in layers.items() if layer.codes[0].numel() % 2]
    assert odd
    assert found.record.notes == (f"single numbers, as rows are odd: {', '.join(odd)}",)


def test_weighing_lowers_the_error_at_the_output(pair: tuple[Model, Model], repairing: Context) -> None:
    images = repairing.data.calibration
    assert images is not None
    x = torch.cat([torch.from_numpy(b.images) for b in images.batches(pair[1].spec.preprocessing, 24)])
    wanted = pair[1].graph(x)
    noise = {
        weighted: float(
            (ClusterWeights(clusters=6, weighted=weighted)(pair[1], repairing).model.graph(x) - wanted).square().sum()
        )
        for weighted in (True, False)
    }
    assert noise[True] < noise[False]


def test_zeros_stay(pair: tuple[Model, Model], repairing: Context) -> None:
    before = quantized_layers(pair[1].graph)
    for layer in before.values():
        layer.codes[layer.codes.abs() < 20] = 0
    after = quantized_layers(ClusterWeights(clusters=4)(pair[1], repairing).model.graph)
    assert all((after[name].codes[layer.codes == 0] == 0).all() for name, layer in before.items())


def test_a_model_in_float_says_what_to_do(pair: tuple[Model, Model], repairing: Context) -> None:
    with pytest.raises(ModelError, match="put QuantizeStatic before this"):
        ClusterWeights(weighted=False)(pair[0], repairing)


def test_weighing_without_images_says_what_to_do(pair: tuple[Model, Model], repairing: Context) -> None:
    with pytest.raises(DataError, match="--calibration DIR"):
        ClusterWeights()(pair[1], replace(repairing, data=Data()))
    ClusterWeights(weighted=False)(pair[1], replace(repairing, data=Data()))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clusters": 1}, "`clusters` must lie in 2..256"),
        ({"clusters": 257}, "`clusters` must lie in 2..256"),
        ({"vector": 3}, "`vector` must be one of 1, 2, 4"),
        ({"share": "row"}, "`share` must be one of layer, channels, network"),
        ({"initialisation": "random"}, "`initialisation` must be one of linear, density, kmeans"),
        ({"channels": 0}, "`channels` must be at least 1"),
        ({"images": 0}, "`images` must be at least 1"),
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ClusterWeights(**fields)
