from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pocketlens.errors import ConfigError, DataError, ModelError
from pocketlens.models import store
from pocketlens.models.clusterings import Clusterings, Sharing, code_importance
from pocketlens.models.integer_layers import quantized_layers
from pocketlens.passes.cluster_weights import ClusterWeights
from pocketlens.types import Context, Data, Model


def packed(model: Model) -> int:
    """Codes and scales as a bundle packs them."""
    layers = quantized_layers(model.graph)
    importance = {name: code_importance(layer, None) for name, layer in layers.items()}
    sharing = Sharing(vector=1, share="layer", channels=1, initialisation="linear", seed=0)
    options = Clusterings(model=model, reference=model, sharing=sharing, importance=importance, choices=(256,))
    return options.packed_bytes(options.largest())


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


def test_clusters_by_sensitivity_within_a_bound(pair: tuple[Model, Model], repairing: Context) -> None:
    """The bound is on bytes as packed; the record promises nearly what is measured."""
    uniform = {k: packed(ClusterWeights(clusters=k)(pair[1], repairing).model) for k in (4, 8, 16, 32)}
    for k, size in uniform.items():
        found = ClusterWeights(max_size_mb=size / 1e6, choices=(4, 8, 16, 32))(pair[1], repairing)
        summary = found.record.summary
        assert packed(found.model) == summary["packed_bytes"] <= size
        chosen = {row["layer"]: row["clusters"] for row in found.record.layers}
        assert all(count <= chosen[name] for name, count in distinct(found.model).items())
        assert any("room for the most" in note for note in found.record.notes) == (k == 32)
        if k < 32:
            assert summary["measured_sqnr_db"] == pytest.approx(summary["predicted_sqnr_db"], abs=4)
        if 4 < k < 32:
            assert len(set(chosen.values())) > 1


def test_a_bound_that_nothing_meets_names_the_least(pair: tuple[Model, Model], repairing: Context) -> None:
    with pytest.raises(ConfigError, match=r"`max_size_mb` must be at least [\d.]+ for tiny, which is 4 clusters") as e:
        ClusterWeights(max_size_mb=1e-5)(pair[1], repairing)
    least = float(str(e.value).split("at least ")[1].split(" ")[0])
    found = ClusterWeights(max_size_mb=least)(pair[1], repairing)
    assert found.record.summary["packed_bytes"] <= least * 1e6


def test_a_bound_needs_the_float_model_and_images(pair: tuple[Model, Model], repairing: Context) -> None:
    bounded = ClusterWeights(max_size_mb=1.0, weighted=False)
    with pytest.raises(ConfigError, match="in one Chain"):
        bounded(pair[1], replace(repairing, unquantized=None))
    with pytest.raises(DataError, match="--calibration DIR"):
        bounded(pair[1], replace(repairing, data=Data()))


@pytest.mark.parametrize(
    ("fields", "rows"),
    [({"vector": 2}, 8), ({"share": "network"}, 0), ({"share": "channels", "channels": 2}, 2)],
    ids=["vector", "network", "channels"],
)
def test_layers_say_who_shares_and_the_store_keeps_it(
    fields: dict[str, Any], rows: int, pair: tuple[Model, Model], repairing: Context, tmp_path: Path
) -> None:
    model = ClusterWeights(**fields)(pair[1], repairing).model
    store.save(model, tmp_path / "m.graph")
    loaded = quantized_layers(store.load(tmp_path / "m.graph").graph)
    said = {name: layer.codebook for name, layer in quantized_layers(model.graph).items()}
    assert said["project_0"] == (fields.get("vector", 1), rows)
    assert {name: layer.codebook for name, layer in loaded.items()} == said
    store.save(pair[1], tmp_path / "plain.graph")
    assert "codebook" not in (tmp_path / "plain.graph" / "graph.json").read_text()


def test_vectors_would_fill_what_was_pruned(pair: tuple[Model, Model], repairing: Context) -> None:
    masked = replace(pair[1], facts=pair[1].facts | {"masked"})
    for layer in quantized_layers(masked.graph).values():
        layer.codes[layer.codes.abs() < 20] = 0
    with pytest.raises(ConfigError, match=r"`vector` = 4 would fill single weights .*, in .*`vector` = 1"):
        ClusterWeights(vector=4)(masked, repairing)
    for layer in quantized_layers(masked.graph).values():
        layer.codes[: len(layer.codes) // 2] = 0
        layer.codes[len(layer.codes) // 2 :].clamp_(min=1)
    pruned = ClusterWeights(vector=4)(masked, repairing).model
    assert not any(layer.codes[: len(layer.codes) // 2].any() for layer in quantized_layers(pruned.graph).values())


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
        ({"max_size_mb": -1.0}, "`max_size_mb` must be above 0"),
        ({"choices": ()}, "`choices` must be whole numbers from 2 to 256"),
        ({"choices": (1, 4)}, "`choices` must be whole numbers from 2 to 256"),
        ({"max_size_mb": 1.0, "share": "network"}, "gives all layers one codebook"),
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ClusterWeights(**fields)
