import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.conftest import SHARED, SPEC, TinyNet
from torch import nn

from pocketlens.errors import ModelError, UnknownNameError, WeightsError
from pocketlens.models import checkpoint, sources, store, zoo
from pocketlens.types import Model

RANDOM = Path("random")

needs_weights = pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason="the shared weights are not here")


def tiny_network() -> nn.Module:
    """What a user's own factory looks like; `tests.models.test_sources:tiny_network` names it."""
    torch.manual_seed(0)
    module = TinyNet()
    module.preprocessing = SPEC.preprocessing  # pyright: ignore
    return module


def test_the_packaged_model_knows_imagenet() -> None:
    spec = sources.load("efficientnet_lite0").spec
    assert spec.class_ids[0] == "n01440764"
    assert spec.labels[0] == "tench"
    assert len(set(spec.labels)) == 1000
    assert spec.preprocessing.mean == (127.0, 127.0, 127.0)
    assert (spec.preprocessing.resize, spec.preprocessing.crop) == (256, (224, 224))


@pytest.mark.parametrize(("name", "size"), [("efficientnet_lite1", 240), ("efficientnet_lite2", 260)])
def test_the_larger_lites_have_their_sizes(name: str, size: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert sources.load(name).spec.input_shape == (3, size, size)
    assert capfd.readouterr().out == ""


def test_timm_and_torchvision_give_their_preprocessing() -> None:
    timm = sources.load("timm:mobilenetv3_small_050", weights=RANDOM).spec
    assert timm.preprocessing.interpolation == "bicubic"
    assert timm.preprocessing.mean == (123.675, 116.28, 103.53)
    vision = sources.load("torchvision:squeezenet1_1", weights=RANDOM).spec
    assert vision.preprocessing.interpolation == "bilinear"
    assert vision.preprocessing.resize == 256


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v3_small", "googlenet"])
def test_torchvision_networks_come_in(name: str) -> None:
    model = sources.load(f"torchvision:{name}", weights=RANDOM)
    assert sources.outputs_of(model) == 1000


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "squeezenet1_1", "densenet121", "convnext_tiny", "maxvit_t"])
def test_the_classifier_of_torchvision_networks_is_found(name: str) -> None:
    """Their paths differ, and the hidden linear layers of alexnet and vgg are called alike."""
    from torchvision import models

    with torch.device("meta"):
        module = models.get_model(name)
    assert checkpoint.head_outputs(module.state_dict(), (zoo._last_layer(module),)) == 1000


def test_a_torchvision_checkpoint_brings_its_number_of_classes(tmp_path: Path) -> None:
    from torchvision import models

    torch.save(models.get_model("squeezenet1_1", num_classes=7).state_dict(), tmp_path / "w.pth")
    model = sources.load("torchvision:squeezenet1_1", weights=tmp_path / "w.pth")
    assert sources.outputs_of(model) == 7
    assert model.spec.class_ids == ()


def test_a_factory_of_ones_own() -> None:
    model = sources.load("tests.models.test_sources:tiny_network")
    assert model.spec.input_shape == (3, 32, 32)
    assert sources.load("tests.models.test_sources:tiny_network", classes=["a", "b", "c", "d"]).spec.label(2) == "c"


def test_a_stored_graph(tiny: Model, tmp_path: Path) -> None:
    store.save(tiny, tmp_path / "t.graph")
    assert store.digest(sources.load(str(tmp_path / "t.graph"))) == store.digest(tiny)
    with pytest.raises(WeightsError, match="of its own"):
        sources.load(str(tmp_path / "t.graph"), weights=RANDOM)


def test_wrapped_and_prefixed_checkpoints_fit(tmp_path: Path) -> None:
    state = {f"module.{k}": v for k, v in TinyNet().state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "c.pth")
    module = TinyNet()
    checkpoint.fit(module, checkpoint.read(tmp_path / "c.pth"), tmp_path / "c.pth")
    assert torch.equal(module.classifier.weight, state["module.classifier.weight"])


def test_misfits_are_named(tmp_path: Path) -> None:
    state = dict(TinyNet().state_dict())
    state["classifier.weight"] = torch.zeros(9, 8)
    state["extra"] = state.pop("classifier.bias")
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(
        WeightsError, match=r"missing: classifier\.bias; not in the model: extra; .*\(9, 8\) instead of \(4, 8\)"
    ):
        checkpoint.fit(TinyNet(), checkpoint.read(tmp_path / "w.safetensors"), tmp_path / "w.safetensors")


class _Evil:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def test_a_pickle_with_code_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"a": _Evil(f"touch {tmp_path}/ran")}, protocol=2))
    with pytest.raises(WeightsError, match="refused"):
        checkpoint.read(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_a_factory_in_a_broken_module_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_module.py").write_text("def factory(:\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="cannot import factory from broken_module: SyntaxError"):
        sources.load("broken_module:factory")


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04broken"])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_corrupt_weights_are_refused(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError):
        checkpoint.read(tmp_path / name)


def test_nan_in_a_checkpoint_is_named(tmp_path: Path) -> None:
    state = dict(TinyNet().state_dict())
    state["classifier.bias"] = torch.full((4,), float("nan"))
    with pytest.raises(WeightsError, match=r"classifier\.bias .*NaN"):
        checkpoint.fit(TinyNet(), state, tmp_path / "w")


@pytest.mark.parametrize(
    ("name", "error", "word"),
    [
        ("efficientnet_lite9", UnknownNameError, "Did you mean 'efficientnet_lite"),
        ("timm:mobilenetv9", UnknownNameError, "mobilenet"),
        ("torchvision:nope", UnknownNameError, "mobilenet_v2"),
        ("model.onnx", ModelError, "no model at model.onnx"),
        ("model.pt2", ModelError, "no model at model.pt2"),
        ("a.lens", ModelError, "bundle"),
        ("no.such.module:f", ModelError, "cannot import"),
        ("os:getcwd", ModelError, "must return"),
        ("resnet20_cifar", WeightsError, "--weights"),
    ],
)
def test_unknown_sources_are_told(name: str, error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        sources.load(name)


@needs_weights
def test_shared_checkpoints_bring_their_number_of_classes() -> None:
    grocery = sources.load("efficientnet_lite0", weights=SHARED / "weights" / "grocery_lite0.safetensors")
    assert sources.outputs_of(grocery) == 81
    assert grocery.spec.class_ids == ()
    resnet = sources.load("resnet20_cifar", weights=SHARED / "weights" / "resnet20.safetensors")
    assert sources.outputs_of(resnet) == 10
