import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import SPEC
from torch import nn

from pocketlens.errors import ModelError, OutputError
from pocketlens.models import sources, store, vocabulary
from pocketlens.ops.half import Cast
from pocketlens.ops.quantized import (
    QuantizedConv2d,
    QuantizedConvTranspose2d,
    QuantizeDequantize,
    QuantizedLinear,
)
from pocketlens.types import Model


@pytest.fixture
def stored(tiny: Model, tmp_path: Path) -> Path:
    store.save(tiny, tmp_path / "m.graph")
    return tmp_path / "m.graph"


def test_round_trip_is_exact(tiny: Model, stored: Path) -> None:
    loaded = store.load(stored)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded.graph(x), tiny.graph(x))
    assert (loaded.spec, loaded.facts) == (tiny.spec, tiny.facts)
    assert store.digest(loaded) == store.digest(tiny)
    assert sorted(p.name for p in stored.iterdir()) == ["graph.json", "weights.safetensors"]


CODES = torch.randint(-127, 128, (4, 4, 3, 3), generator=torch.Generator().manual_seed(0), dtype=torch.int8)
SCALE = torch.tensor([0.1, 0.2, 0.3, 0.4])

# Every leaf with arguments that are not its defaults, and an input for it.
LEAVES: tuple[tuple[nn.Module, tuple[int, ...]], ...] = (
    (nn.Conv1d(4, 6, 3, 2, 1, 2, 2, bias=False), (2, 4, 16)),
    (nn.Conv2d(4, 6, (3, 5), (2, 1), (1, 2), (1, 2), 2, bias=False), (2, 4, 16, 16)),
    (nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2, bias=False, dilation=2), (2, 4, 8, 8)),
    (nn.Linear(4, 3, bias=False), (2, 4)),
    (nn.BatchNorm1d(4, eps=0.1, affine=False), (2, 4, 8)),
    (nn.BatchNorm2d(4, eps=0.1, momentum=0.3), (2, 4, 8, 8)),
    (nn.LayerNorm((4, 8), eps=0.1, bias=False), (2, 3, 4, 8)),
    (nn.GroupNorm(2, 4, eps=0.1, affine=False), (2, 4, 8, 8)),
    (nn.ReLU(), (2, 4)),
    (nn.ReLU6(), (2, 4)),
    (nn.SiLU(), (2, 4)),
    (nn.Hardswish(), (2, 4)),
    (nn.Hardsigmoid(), (2, 4)),
    (nn.Sigmoid(), (2, 4)),
    (nn.Tanh(), (2, 4)),
    (nn.GELU(approximate="tanh"), (2, 4)),
    (nn.Mish(), (2, 4)),
    (nn.ELU(0.3), (2, 4)),
    (nn.LeakyReLU(0.3), (2, 4)),
    (nn.PReLU(4, init=0.7), (2, 4, 8)),
    (nn.Softmax(1), (2, 4, 8)),
    (nn.MaxPool2d(3, 2, 1, 2, ceil_mode=True), (2, 4, 9, 9)),
    (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False, divisor_override=5), (2, 4, 8, 8)),
    (nn.AdaptiveAvgPool2d((2, 3)), (2, 4, 8, 8)),
    (nn.AdaptiveMaxPool2d((None, 3)), (2, 4, 8, 8)),
    (nn.Flatten(2, 3), (2, 4, 8, 8)),
    (nn.ZeroPad2d((0, 1, 2, 3)), (2, 4, 8, 8)),
    (nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=True), (2, 4, 8, 8)),
    (QuantizeDequantize(torch.tensor(0.03), torch.tensor(7), 1, 200, "uint8"), (2, 4)),
    (QuantizedConv2d(CODES, SCALE, SCALE, "uint8", (2, 1), (1, 2), (1, 2)), (2, 4, 16, 16)),
    (QuantizedConvTranspose2d(CODES, SCALE[0], None, "int8", (2, 2), (1, 1), (1, 1)), (2, 4, 8, 8)),
    (QuantizedLinear(CODES[:, :, 0, 0], SCALE, SCALE, "int8"), (2, 4)),
    (Cast("float16"), (2, 4)),
)


@pytest.mark.parametrize(("leaf", "shape"), LEAVES, ids=lambda v: type(v).__name__)
def test_every_leaf_comes_back_as_it_was(leaf: nn.Module, shape: tuple[int, ...], tmp_path: Path) -> None:
    root = nn.Module()
    root.add_module("leaf", leaf)
    graph = torch.fx.Graph()
    graph.output(graph.call_module("leaf", (graph.placeholder("x"),)))
    model = Model(graph=torch.fx.GraphModule(root, graph).eval(), spec=SPEC)
    store.save(model, tmp_path / "m.graph")
    loaded = store.load(tmp_path / "m.graph")
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.graph(x), model.graph(x))
    assert store.digest(loaded) == store.digest(model)


def test_every_leaf_is_tried_above() -> None:
    # Embedding takes indices, so no image reaches it first; its fields are two numbers.
    assert {type(leaf) for leaf, _ in LEAVES} == set(vocabulary.LEAVES) - {nn.Embedding}


def test_half_precision_weights_stay_half(tiny: Model, tmp_path: Path) -> None:
    model = replace(tiny, graph=tiny.graph.half())
    store.save(model, tmp_path / "m.graph")
    loaded = store.load(tmp_path / "m.graph")
    assert {p.dtype for p in loaded.graph.parameters()} == {torch.float16}
    assert all(p.requires_grad for p in loaded.graph.parameters())


def test_a_large_network_computes_the_same_bits(tmp_path: Path) -> None:
    """Tensors of odd sizes lie at odd places in the file; unaligned, convolutions sum in another order."""
    model = sources.load("timm:lcnet_050", weights=Path("random"))
    store.save(model, tmp_path / "m.graph")
    loaded = store.load(tmp_path / "m.graph")
    x = torch.randn(1, 3, 224, 224)
    expected = model.graph(x)
    assert torch.equal(loaded.graph(x), expected)
    weights = tmp_path / "m.graph" / "weights.safetensors"
    weights.write_bytes(b"\0" * weights.stat().st_size)
    assert torch.equal(loaded.graph(x), expected)


def test_the_digest_follows_every_weight(tiny: Model) -> None:
    before = store.digest(tiny)
    with torch.no_grad():
        list(tiny.graph.parameters())[-1][0] += 1e-6
    assert store.digest(tiny) != before


def test_saving_again_replaces(tiny: Model, stored: Path) -> None:
    store.save(tiny, stored)
    assert [p.name for p in stored.parent.iterdir()] == ["m.graph"]


def test_a_failed_save_leaves_the_old_model(tiny: Model, stored: Path) -> None:
    before = (stored / "graph.json").read_bytes()
    next(n for n in tiny.graph.graph.nodes if n.op == "call_function").args = (object(),)
    with pytest.raises(ModelError, match="cannot be stored"):
        store.save(tiny, stored)
    assert (stored / "graph.json").read_bytes() == before
    assert [p.name for p in stored.parent.iterdir()] == ["m.graph"]


def test_a_disk_that_fills_at_the_last_step_leaves_the_old_model(
    tiny: Model, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rename = store.digest(tiny), Path.replace

    def fails_once(self: Path, target: Path) -> Path:
        if target == stored and not self.name.endswith("-replaced"):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fails_once)
    tiny.graph.get_submodule("classifier").bias.data.fill_(7)  # pyright: ignore
    with pytest.raises(OutputError, match="No space left"):
        store.save(tiny, stored)
    assert store.digest(store.load(stored)) == before
    assert [p.name for p in stored.parent.iterdir()] == ["m.graph"]


def test_something_else_is_not_written_over(tiny: Model, tmp_path: Path) -> None:
    (tmp_path / "m.graph").mkdir()
    (tmp_path / "m.graph" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="no stored model"):
        store.save(tiny, tmp_path / "m.graph")


def _function(data: dict[str, Any]) -> None:
    node = next(n for n in data["nodes"] if n["op"] == "call_function")
    node["target"] = "posix.system"


def _method(data: dict[str, Any]) -> None:
    node = next(n for n in data["nodes"] if n["op"] == "call_module")
    node |= {"op": "call_method", "target": "__reduce__"}


def _leaf(data: dict[str, Any]) -> None:
    next(iter(data["leaves"].values()))["class"] = "Popen"


def _field(data: dict[str, Any]) -> None:
    next(iter(data["leaves"].values()))["fields"]["device"] = "cuda"


def _dunder(data: dict[str, Any]) -> None:
    data["nodes"][1]["target"] = "__class__"


def _code(data: dict[str, Any]) -> None:
    data["nodes"][1]["name"] = "x); import os; os.system('touch ran'"


def _version(data: dict[str, Any]) -> None:
    data["version"] = 99


def _dangling(data: dict[str, Any]) -> None:
    data["nodes"][1]["args"] = [{"node": "nowhere"}]


def _private(data: dict[str, Any]) -> None:
    data["nodes"][1] |= {"op": "get_attr", "target": "_modules", "args": []}


def _foreign(data: dict[str, Any]) -> None:
    data["nodes"][1]["target"] = "double"


def _keyword(data: dict[str, Any]) -> None:
    data["nodes"][1]["kwargs"] = {"class": 1}


def _fact(data: dict[str, Any]) -> None:
    data["facts"] = ["certified"]


def _no_output(data: dict[str, Any]) -> None:
    data["nodes"].pop()


def _two_inputs(data: dict[str, Any]) -> None:
    data["nodes"].insert(1, {"name": "y", "op": "placeholder", "target": "y", "args": [], "kwargs": {}})


def _no_groups(data: dict[str, Any]) -> None:
    data["leaves"]["stem_0"]["fields"]["groups"] = 0


HARMS = (
    *(_function, _method, _leaf, _field, _dunder, _code, _version, _dangling),
    *(_private, _foreign, _keyword, _fact, _no_output, _two_inputs, _no_groups),
)


@pytest.mark.parametrize("harm", HARMS)
def test_hostile_json_is_refused(harm: Any, stored: Path) -> None:
    place = stored / "graph.json"
    data = json.loads(place.read_text())
    harm(data)
    place.write_text(json.dumps(data))
    with pytest.raises(ModelError):
        store.load(stored)


def test_claimed_sizes_take_no_memory(stored: Path) -> None:
    place = stored / "graph.json"
    data = json.loads(place.read_text())
    data["leaves"]["stem_0"]["fields"]["out_channels"] = 10**12  # 108 TB of weights
    place.write_text(json.dumps(data))
    start = time.perf_counter()
    with pytest.raises(ModelError, match=r"stem_0\.weight"):
        store.load(stored)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]"])
def test_a_corrupt_graph_is_refused(content: bytes, stored: Path) -> None:
    (stored / "graph.json").write_bytes(content)
    with pytest.raises(ModelError):
        store.load(stored)


def test_truncated_or_missing_weights_are_refused(stored: Path) -> None:
    weights = stored / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ModelError):
        store.load(stored)
    weights.unlink()
    with pytest.raises(ModelError, match="cannot read"):
        store.load(stored)
