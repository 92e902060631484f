import pytest
import torch
from tests.models.test_widths import SCHEME

from pocketlens.models.clusterings import Clusterings, Sharing, code_importance
from pocketlens.models.integer_layers import quantized_layers
from pocketlens.ops.quantized import QuantizedLinear
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.types import Context, ImageSet, Model, Silent

SHARING = Sharing(vector=1, share="layer", channels=64, initialisation="kmeans++", seed=0)


@pytest.fixture
def options(tiny: Model, context: Context) -> Clusterings:
    folded = FoldBatchNorm()(tiny, context).model
    model = QuantizeStatic(scheme=SCHEME)(folded, context).model
    importance = {name: code_importance(leaf, None) for name, leaf in quantized_layers(model.graph).items()}
    return Clusterings(
        model=model, reference=folded, sharing=SHARING, importance=importance, choices=(2, 4, 16, 64, 256)
    )


def test_a_layer_gets_no_more_clusters_than_it_has_codes(options: Clusterings) -> None:
    leaves = quantized_layers(options.model.graph)
    for name, choices in options.allowed().items():
        distinct = len(torch.unique(leaves[name].codes))
        assert choices[:2] == (2, 4)
        assert all(k < distinct for k in choices[:-1])
        assert choices[-1] >= distinct or choices[-1] == 256
    largest = options.leaves(options.largest())
    assert all(torch.equal(leaf.codes, leaves[name].codes) for name, leaf in largest.items())


def test_each_option_is_clustered_and_says_so(options: Clusterings) -> None:
    for k in (2, 4):
        for leaf in options.leaves(dict.fromkeys(options.allowed(), k)).values():
            assert len(torch.unique(leaf.codes)) <= k
            assert leaf.codebook == (1, len(leaf.codes))
    assert all(leaf.codebook is None for leaf in quantized_layers(options.model.graph).values())


def test_more_clusters_weigh_more_and_harm_less(options: Clusterings, images: ImageSet) -> None:
    rows = options.costs(images, count=8, cache=None, progress=Silent())
    for name, choices in options.allowed().items():
        own = [row for row in rows if row["layer"] == name]
        assert tuple(row["clusters"] for row in own) == choices
        assert own[0]["bytes"] < own[-1]["bytes"]
        assert own[0]["sqnr_db"] < own[-1]["sqnr_db"]


def test_the_best_fits_and_adds_up(options: Clusterings, images: ImageSet) -> None:
    least, most = (options.packed_bytes(chosen) for chosen in (options.smallest(), options.largest()))
    choice = options.best((least + most) / 2, images, count=8, cache=None, progress=Silent())
    chosen = {row["layer"]: row["clusters"] for row in choice.rows}
    assert choice.packed_bytes == options.packed_bytes(chosen) <= (least + most) / 2
    assert set(choice.figures) == {"predicted_sqnr_db", "measured_sqnr_db"}
    assert len(set(chosen.values())) > 1
    everything = options.best(most, images, count=8, cache=None, progress=Silent())
    assert everything.figures == {}
    assert {row["layer"]: row["clusters"] for row in everything.rows} == options.largest()


def test_importance_by_hand() -> None:
    """Energy 4 and 1 in two channels with the scales 1 and 2: 4 * 1 and 1 * 4 weigh alike."""
    layer = QuantizedLinear(torch.ones(2, 1), torch.tensor([1.0, 2.0]), None, "int8")
    assert code_importance(layer, torch.tensor([[4.0], [1.0]])).tolist() == [[1.0], [1.0]]
    assert code_importance(layer, torch.tensor([[6.0], [0.5]])).tolist() == [[1.5], [0.5]]
    assert code_importance(layer, None).tolist() == [[1.0], [1.0]]
