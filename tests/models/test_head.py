from pathlib import Path

import pytest
import torch

from pocketlens.errors import ModelError
from pocketlens.models import sources
from pocketlens.models.head import features_of, head_of, with_classes
from pocketlens.types import Model


def test_new_classes_take_the_place_of_the_old(tiny: Model) -> None:
    model = with_classes(tiny, ("tea", "milk"))
    assert model.graph(torch.randn(3, 3, 32, 32)).shape == (3, 2)
    assert model.spec.class_ids == ("tea", "milk")
    assert torch.equal(model.graph.get_submodule("stem_0").weight, tiny.graph.get_submodule("stem_0").weight)
    assert tiny.graph(torch.randn(3, 3, 32, 32)).shape == (3, 4)


def test_the_seed_decides_the_new_weights(tiny: Model) -> None:
    one, same, other = (with_classes(tiny, ("a", "b"), seed=s).graph.get_submodule("classifier") for s in (0, 0, 1))
    assert torch.equal(one.weight, same.weight)
    assert not torch.equal(one.weight, other.weight)


def test_features_are_what_the_head_reads(tiny: Model) -> None:
    x = torch.randn(2, 3, 32, 32)
    head = tiny.graph.get_submodule(str(head_of(tiny).target))
    assert torch.allclose(head(features_of(tiny)(x)), tiny.graph(x), atol=1e-6)


def test_a_network_without_a_linear_head_is_named() -> None:
    model = sources.load("torchvision:squeezenet1_1", weights=Path("random"))
    with pytest.raises(ModelError, match="must end in one linear layer"):
        head_of(model)
