import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pocketlens.errors import ModelError, OutputError
from pocketlens.models import store
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


def test_the_digest_follows_every_weight(tiny: Model) -> None:
    before = store.digest(tiny)
    with torch.no_grad():
        list(tiny.graph.parameters())[-1][0] += 1e-6
    assert store.digest(tiny) != before


def test_saving_again_replaces(tiny: Model, stored: Path) -> None:
    store.save(tiny, stored)
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


@pytest.mark.parametrize("harm", [_function, _method, _leaf, _field, _dunder, _code, _version, _dangling])
def test_hostile_json_is_refused(harm: Any, stored: Path) -> None:
    place = stored / "graph.json"
    data = json.loads(place.read_text())
    harm(data)
    place.write_text(json.dumps(data))
    with pytest.raises(ModelError):
        store.load(stored)


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
