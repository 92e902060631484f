"""The other verbs on wrong input, and `devices` and `inspect` on right one."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Cli, one_line

from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.squeeze import output
from pocketlens.squeeze.graphs import lower_graphs
from pocketlens.targets import load_target
from pocketlens.targets.onnxruntime.schemes import SCHEMES
from pocketlens.types import Context, Model


def test_devices_names_the_scheme_that_the_probe_chose(cli: Cli) -> None:
    profile = json.loads(cli("devices", "--json").stdout)
    assert profile["cores"] >= 1
    assert profile["scheme"]["name"] in profile["probe"]
    assert sum(figures["chosen"] for figures in profile["probe"].values()) == 1
    assert profile["peak"]["fp32_gmacs"] > 0.1


def test_inspect_counts_what_is_in_a_model(cli: Cli, stored: Path) -> None:
    found = json.loads(cli("inspect", stored, "--json").stdout)
    assert found["kinds"]["conv"] == 4
    # 3*8*9 + 8*16 + 16*9 + 16*8 weights, 2 * (8 + 16 + 16 + 8) of batch norms, 8*4 + 4 of the classifier
    assert found["parameters"] == 216 + 128 + 144 + 128 + 96 + 36
    assert "classifier" in cli("inspect", stored, "--layers").stdout


def test_inspect_says_where_the_bytes_of_a_bundle_are(cli: Cli, tiny: Model, context: Context, tmp_path: Path) -> None:
    step = QuantizeStatic(scheme=SCHEMES["u8u8"], activations="minmax")
    model = step(FoldBatchNorm()(tiny, context).model, context).model
    graphs = lower_graphs(model, load_target("onnxruntime"), tmp_path / "graphs")
    size = output.write(
        tmp_path / "tiny.lens", graphs, measurements=[{}, {}], preferred="int8", recipe={}, baseline={}, profile={},
        force=False,
    )  # fmt: skip
    told = json.loads(cli("inspect", "tiny.lens", "--json").stdout)
    stored = {part["name"]: part["stored_bytes"] for part in told["parts"]}
    assert sum(stored.values()) == told["size_bytes"] == size
    assert {"weight codes", "graphs/int8.onnx", "graphs/float.onnx", "manifest.json"} <= set(stored)
    assert "weight codes" in cli("inspect", "tiny.lens").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("recognize", "missing.lens", "a.jpg"), 1, "missing.lens"),
        (("recognize", "broken.lens", "a.jpg"), 1, "broken.lens"),
        (("recognize", "broken.lens"), 2, "--camera"),
        (("inspect", "broken.lens"), 1, "broken.lens"),
        (("bench", "broken.lens"), 2, "two models"),
        (("bench", "a.onnx", "b.onnx"), 2, "preprocessing"),
        (("export", "broken.lens", "--format", "coreml"), 2, "onnx"),
        (("export", "broken.lens"), 1, "broken.lens"),
        (("devices", "--target", "npu"), 2, "onnxruntime"),
    ],
)
def test_wrong_input_gets_one_line(arguments: tuple[str, ...], code: int, word: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "broken.lens").write_bytes(b"PK\x03\x04 not a bundle")
    done = cli(*arguments)
    assert done.returncode == code, done.stderr
    assert word in one_line(done.stderr)
    assert [p.name for p in tmp_path.iterdir()] == ["broken.lens"]
