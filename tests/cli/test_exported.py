"""Models that come as files of other tools, through the command line."""

import json
from pathlib import Path

import pytest
import torch
from tests.cli.conftest import Cli, one_line
from tests.conftest import TinyNet, randomised
from tests.models.exports import as_onnx, as_program


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """TinyNet as tiny.onnx and tiny.pt2."""
    torch.manual_seed(0)
    module = randomised(TinyNet())
    as_onnx(module, tmp_path / "tiny.onnx", 32, "legacy", fixed=False)
    as_program(module, tmp_path / "tiny.pt2", 32, fixed=True)
    return tmp_path


def test_both_are_inspected_and_squeezed(files: Path, photos: Path, cli: Cli) -> None:
    (files / "classes.txt").write_text("cat\ndog\nfish\nowl\n")
    for name in ("tiny.onnx", "tiny.pt2"):
        told = json.loads(cli("inspect", name, "--json").stdout)
        assert (told["kinds"]["conv"], told["preprocessing_stated"]) == (4, False)
        options = ("--preprocessing", "unit", "--classes", "classes.txt", "--data", photos)
        done = cli("squeeze", name, *options, "--out", f"{name}.lens", "--threads", "1", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["result"]["agreement"] > 0.8


def test_what_is_missing_is_asked_for_in_one_line(files: Path, cli: Cli) -> None:
    done = cli("squeeze", "tiny.onnx")
    assert done.returncode == 2
    assert "give --preprocessing" in one_line(done.stderr)
    done = cli("squeeze", "tiny.onnx", "--preprocessing", "unit", "--weights", "w.pth")
    assert "its own weights" in one_line(done.stderr)
    done = cli("squeeze", "timm:resnet18", "--weights", "random", "--preprocessing", "unit")
    assert "knows its preprocessing" in one_line(done.stderr)
    (files / "two.txt").write_text("cat\ndog\n")
    done = cli("squeeze", "tiny.pt2", "--preprocessing", "unit", "--classes", "two.txt")
    assert "4 outputs, --classes names 2" in one_line(done.stderr)
