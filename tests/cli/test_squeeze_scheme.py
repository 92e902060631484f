"""`pocketlens squeeze --scheme`: files for a device that is not here."""

import json
from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest
from tests.cli.conftest import Cli, one_line

from pocketlens.bundle.archive import open_bundle
from pocketlens.bundle.unpack import unpack
from pocketlens.scheme_json import scheme_to_json
from pocketlens.targets.presets.check import check_preset
from pocketlens.targets.presets.table import PRESETS

TOLD = "speed was not measured on that device"


def test_qnn_htp_from_the_command_to_a_file_that_obeys(cli: Cli, stored: Path, photos: Path, tmp_path: Path) -> None:
    done = cli(
        *("squeeze", stored, "--recipe", "int8", "--scheme", "qnn-htp", "--calibration", photos, "--test", photos),
        *("--out", "x.lens", "--json"),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["made_for"]["preset"] == "qnn-htp"
    assert result["made_for"]["speed"] == TOLD
    assert result["made_for"]["checked"] is True
    assert TOLD in done.stderr
    assert "pocketlens export x.lens --format onnx --graph int8" in done.stderr
    assert result["preferred"] == "int8"
    assert result["result"]["agreement"] >= 0.9
    for part in (result["baseline"], *result["graphs"].values()):
        assert part["latency_ms"] is None
        assert part["speedup"] == {}
    assert "latency not measured" in result["verdict"]["sentence"]
    assert not {"faster", "slower"} & set(result["verdict"]["sentence"].split())
    text = (tmp_path / "x.html").read_text("utf-8")
    assert "Speed was not measured on that device" in text
    assert "Qualcomm Hexagon" in text
    assert "On this machine the" not in text
    with open_bundle(tmp_path / "x.lens") as bundle:
        bundle.verify()
        manifest = bundle.manifest
        (tmp_path / "there").mkdir()
        artifact = unpack(bundle, tmp_path / "there", "int8")
    assert manifest.target["made_for"] == "qnn-htp"
    rounded = next(table for table in manifest.recipe["pass"] if table["use"] == "QuantizeStatic")
    scheme = PRESETS["qnn-htp"].scheme
    assert scheme is not None
    assert rounded["scheme"] == scheme_to_json(scheme)
    assert not artifact.session  # the device's own runtime must see the integers
    assert check_preset(artifact.graph, PRESETS["qnn-htp"]) == ()
    done = cli("export", "x.lens", "--format", "onnx", "--graph", "int8", "--out", "device.onnx")
    assert done.returncode == 0, done.stderr
    assert check_preset(tmp_path / "device.onnx", PRESETS["qnn-htp"]) == ()
    assert onnx.load(tmp_path / "device.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_apple_gets_halves(cli: Cli, stored: Path, photos: Path, tmp_path: Path) -> None:
    done = cli(
        "squeeze", stored, "--recipe", "half", "--scheme", "apple", "--test", photos, "--out", "x.lens", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["made_for"]["graph"] == "half"
    cli("export", "x.lens", "--format", "onnx", "--out", "device.onnx")
    assert check_preset(tmp_path / "device.onnx", PRESETS["apple"]) == ()


def test_int8_best_for_tensorrt(cli: Cli, stored: Path, photos: Path) -> None:
    done = cli(
        *("squeeze", stored, "--recipe", "int8-best", "--min-agreement", "0.5", "--min-sqnr", "5"),
        *("--scheme", "tensorrt", "--calibration", photos, "--out", "x.lens", "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["target"]["scheme"] == "tensorrt"


@pytest.mark.skipif(find_spec("litert_torch") is None, reason="litert-torch is not installed")
def test_the_edge_tpu_reads_a_tflite_file(cli: Cli, stored: Path, photos: Path, tmp_path: Path) -> None:
    done = cli(
        *("squeeze", stored, "--scheme", "edgetpu", "--calibration", photos, "--out", "x.lens", "--json"),
    )
    assert done.returncode == 0, done.stderr
    made_for = json.loads(done.stdout)["made_for"]
    assert made_for["file"] == "tflite"
    assert made_for["checked"] is True
    assert "a .tflite made of it obeys every rule of edgetpu" in done.stderr
    done = cli("export", "x.lens", "--format", "tflite", "--graph", "int8", "--calibration", photos)
    assert done.returncode == 0, done.stderr
    assert check_preset(tmp_path / "x.tflite", PRESETS["edgetpu"]) == ()


BAD: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no such scheme": (("--scheme", "nonsense"), 2, "apple, arm-dotprod, arm-i8mm, edgetpu, qnn-htp, tensorrt"),
    "halves for integers": (("--scheme", "qnn-htp", "--recipe", "half"), 2, "half has no pass that takes a scheme"),
    "integers for halves": (("--scheme", "apple"), 2, "use --recipe half"),
    "a runtime besides": (("--scheme", "edgetpu", "--target", "litert"), 2, "give one of them"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_leaves_nothing(case: str, cli: Cli, stored: Path, tmp_path: Path) -> None:
    arguments, code, word = BAD[case]
    before = sorted(tmp_path.iterdir())
    done = cli("squeeze", stored, *arguments)
    assert done.returncode == code, done.stderr
    assert word in one_line(done.stderr)
    assert sorted(tmp_path.iterdir()) == before


def test_an_operator_that_a_device_lacks_is_named(cli: Cli, photos: Path, tmp_path: Path) -> None:
    from tests.conftest import SPEC
    from tests.networks import Classifier
    from torch import nn

    from pocketlens.models import store
    from pocketlens.models.canonical import canonicalise

    module = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.Hardsigmoid(), nn.Conv2d(8, 8, 1), Classifier(8)).eval()
    store.save(canonicalise(module, SPEC), tmp_path / "hard.graph")
    done = cli("squeeze", "hard.graph", "--scheme", "qnn-htp", "--calibration", photos)
    assert done.returncode == 1
    line = [text for text in done.stderr.splitlines() if text.startswith("pocketlens: ")][-1]
    assert "does not suit Qualcomm Hexagon" in line
    assert "HardSigmoid breaks the rule on operator" in line
    assert not (tmp_path / "hard.lens").exists()


def test_devices_lists_the_schemes_with_their_pages(cli: Cli) -> None:
    done = cli("devices", "--schemes")
    assert done.returncode == 0, done.stderr
    for preset in PRESETS.values():
        assert preset.name in done.stdout
        assert preset.sources[0].url in done.stdout
    listed = json.loads(cli("devices", "--schemes", "--json").stdout)
    assert set(listed) == set(PRESETS)
    assert listed["apple"]["recipe"] == "half"
    assert listed["tensorrt"]["scheme"]["activation"]["zero_point"] == 0
