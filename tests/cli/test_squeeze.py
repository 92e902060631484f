"""`pocketlens squeeze` as a user runs it: real process, real files, real runtime."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.cli.conftest import Cli, one_line
from tests.conftest import SPEC

from pocketlens.bundle.archive import open_bundle, write_bundle
from pocketlens.bundle.confidence import Confidence
from pocketlens.models import store
from pocketlens.types import Model

KEYS = {
    "baseline",
    "result",
    "verdict",
    "target",
    "bundle",
    "report",
    "seconds",
    "graphs",
    "preferred",
    "confidence",
    "contents",
    "embedding",
}
FIGURES = {"size_bytes", "disk_bytes", "top1", "top5", "latency_ms", "peak_memory_bytes", "agreement", "sqnr_db", "kl"}


@pytest.fixture(scope="module")
def squeezed(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> tuple[Path, dict, str]:
    """One run on a tiny stored model: its folder, its JSON and what it said to people."""
    from tests.conftest import TinyNet, randomised

    from pocketlens.models.canonical import canonicalise

    folder = tmp_path_factory.mktemp("squeezed")
    torch.manual_seed(0)
    store.save(canonicalise(randomised(TinyNet()), SPEC), folder / "tiny.graph")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pocketlens", "squeeze", "tiny.graph", "--calibration", str(photos)),
            *("--test", str(photos), "--threads", "1", "--out", "tiny.lens", "--json"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "POCKETLENS_CACHE": str(folder / "cache")},
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout), done.stderr


def test_json_holds_every_promised_figure(squeezed: tuple[Path, dict, str]) -> None:
    folder, result, _ = squeezed
    assert set(result) >= KEYS
    for part in ("baseline", "result"):
        assert set(result[part]) >= FIGURES
        assert set(result[part]["latency_ms"]) >= {"median", "p10", "p90"}
        assert result[part]["peak_memory_bytes"] > 10e6
    low, high = result["result"]["top1_change_interval"]
    assert low <= result["result"]["top1_change"] <= high
    assert result["result"]["size_bytes"] == (folder / "tiny.lens").stat().st_size
    assert result["result"]["agreement"] >= 0.9
    assert sum(result["contents"].values()) == result["result"]["size_bytes"]
    assert result["contents"]["graphs"] > 0
    assert result["verdict"]["outcome"] in ("paid", "did not pay", "no difference")


def test_the_bundle_shares_one_blob_between_two_graphs(squeezed: tuple[Path, dict, str]) -> None:
    with open_bundle(squeezed[0] / "tiny.lens") as bundle:
        bundle.verify()
        names = [graph.name for graph in bundle.manifest.graphs]
        assert names == ["int8", "float"]
        assert {graph.weights for graph in bundle.manifest.graphs} == {"weights.bin"}
        assert bundle.manifest.recipe["pass"][1]["scheme"]["name"]
        assert bundle.manifest.spec == SPEC


def test_the_report_is_one_offline_file(squeezed: tuple[Path, dict, str]) -> None:
    text = (squeezed[0] / "tiny.html").read_text("utf-8")
    assert "MatchMoments" in text
    assert 'src="http' not in text


def test_people_read_stderr_when_json_takes_stdout(squeezed: tuple[Path, dict, str]) -> None:
    assert "QuantizeStatic" in squeezed[2]
    assert "bundle tiny.lens" in squeezed[2]
    heads = " ".join(squeezed[2].split())
    assert "on in vs same" in heads  # columns have heads of two lines
    assert "after download disk memory MACs fp32 answer top-1" in heads
    assert "download: weights " in squeezed[2]


def test_confidence_and_embedding_are_told_and_shipped(squeezed: tuple[Path, dict, str]) -> None:
    folder, result, said = squeezed
    with open_bundle(folder / "tiny.lens") as bundle:
        manifest = bundle.manifest
    assert result["confidence"] == manifest.confidence.to_json()
    assert result["confidence"]["temperature"] == 1.0  # 24 images are too few to tell
    assert isinstance(result["confidence"]["unknown_below"], float)
    assert result["embedding"] == {"features": 8, "dimensions": 8}
    assert manifest.embedding is not None
    assert "confidence at temperature 1.00, unknown where no logit reaches " in said
    assert "embedding 8 -> 8" in said


def test_what_is_unknown_is_said_before_the_best_guess(
    squeezed: tuple[Path, dict, str], photos: Path, cli: Cli, tmp_path: Path
) -> None:
    with open_bundle(squeezed[0] / "tiny.lens") as bundle:
        m = bundle.manifest
        write_bundle(
            tmp_path / "strict.lens",
            spec=m.spec, graphs=m.graphs, preferred=m.preferred, recipe=m.recipe, baseline=m.baseline, target=m.target,
            members={path: bundle.read(path) for path in m.members},
            confidence=Confidence(unknown_below=1e6),
        )  # fmt: skip
    photo = next((photos / "cat").iterdir())
    assert f"{photo.name}: unknown, perhaps " in cli("recognize", "strict.lens", photo).stdout
    assert json.loads(cli("recognize", "strict.lens", photo, "--json").stdout)["images"][0]["unknown"] is True


def test_the_bundle_is_recognised_inspected_benched_and_exported(
    squeezed: tuple[Path, dict, str], photos: Path, cli: Cli, tmp_path: Path
) -> None:
    bundle = squeezed[0] / "tiny.lens"
    photo = next((photos / "cat").iterdir())
    answer = json.loads(cli("recognize", bundle, photo, "--json").stdout)
    assert answer["images"][0]["answers"][0]["label"] in SPEC.labels
    inspected = cli("inspect", bundle, "--json")
    assert json.loads(inspected.stdout)["spec"]["name"] == "tiny"
    assert inspected.stderr.count("on disk ") == inspected.stderr.count(", in memory ") + 1 == 3  # and a column
    assert "tiny  download 0.0" in inspected.stderr
    raced = cli(
        "bench", f"{bundle}:int8", f"{bundle}:float", "--test", photos, "--threads", "1", "--rounds", "3", "--json"
    )
    models = json.loads(raced.stdout)["models"]
    assert set(models) == {f"{bundle}:int8", f"{bundle}:float"}
    for model in models.values():
        assert model["size_bytes"] == bundle.stat().st_size  # the first one, too
        assert model["disk_bytes"] != model["size_bytes"]
    assert (
        raced.stderr.count(" download ") == raced.stderr.count(", on disk ") == raced.stderr.count(", in memory ") == 2
    )
    done = cli("export", bundle, "--format", "onnx", "--graph", "int8", "--out", "tiny.onnx", "--json")
    assert json.loads(done.stdout)["size_bytes"] == (tmp_path / "tiny.onnx").stat().st_size
    snippet = subprocess.run(
        [sys.executable, "tiny.py", str(photo)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    ours = json.loads(cli("recognize", bundle, photo, "--graph", "int8", "--json").stdout)
    assert snippet.stdout.split()[0] == ours["images"][0]["answers"][0]["label"]


def test_a_second_run_reuses_stages_and_needs_force(stored: Path, photos: Path, cli: Cli, tmp_path: Path) -> None:
    arguments = ("squeeze", stored, "--recipe", "half", "--test", photos, "--threads", "1", "--out", "t.lens")
    assert cli(*arguments).returncode == 0
    before = (tmp_path / "t.lens").read_bytes()
    refused = cli(*arguments)
    assert refused.returncode == 1
    assert "--force" in one_line(refused.stderr)
    assert (tmp_path / "t.lens").read_bytes() == before
    assert cli(*arguments, "--force").returncode == 0


BAD: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no such model": (("nonet",), 2, "efficientnet_lite0"),
    "no such recipe": (("{stored}", "--recipe", "int9"), 2, "int8"),
    "no such target": (("{stored}", "--target", "npu"), 2, "onnxruntime"),
    "missing calibration": (("{stored}", "--calibration", "nowhere"), 1, "nowhere"),
    "empty calibration": (("{stored}", "--calibration", "{empty}"), 1, "empty"),
    "missing weights": (("timm:resnet18", "--weights", "none.safetensors"), 1, "none.safetensors"),
    "no weights at all": (("resnet20_cifar",), 1, "--weights"),
    "an onnx model that is not there": (("model.onnx",), 1, "no model at model.onnx"),
    "threads of nothing": (("{stored}", "--threads", "0"), 2, "--threads"),
    "out in no folder": (("{stored}", "--out", "no/where/t.lens"), 1, "no/where"),
    "no image model": (("os:getcwd",), 1, "Module"),
    "classes too few": (("{stored}", "--classes", "{classes}"), 1, "4 outputs"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_leaves_nothing(case: str, stored: Path, cli: Cli, tmp_path: Path) -> None:
    arguments, code, word = BAD[case]
    (tmp_path / "empty").mkdir()
    (tmp_path / "two.txt").write_text("a\nb\n")
    known = {"stored": stored, "empty": tmp_path / "empty", "classes": tmp_path / "two.txt"}
    before = sorted(tmp_path.iterdir())
    done = cli("squeeze", *(a.format(**known) for a in arguments))
    assert done.returncode == code, done.stderr
    assert word in one_line(done.stderr)
    assert sorted(tmp_path.iterdir()) == before


def test_a_pickle_with_code_is_refused(cli: Cli, tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple:
            return (os.system, ("touch ran",))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Evil()}))
    done = cli("squeeze", "timm:resnet18", "--weights", "evil.pth")
    assert done.returncode == 1
    assert "refused" in one_line(done.stderr)
    assert not (tmp_path / "ran").exists()


def test_nan_in_weights_is_named(tiny: Model, cli: Cli, tmp_path: Path) -> None:
    next(tiny.graph.parameters()).data[0] = float("nan")
    store.save(tiny, tmp_path / "nan.graph")
    done = cli("squeeze", "nan.graph", "--threads", "1")
    assert done.returncode == 1
    assert "NaN" in one_line(done.stderr)


def test_truncated_images_among_good_ones_are_counted(stored: Path, photos: Path, cli: Cli, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(photos, tmp_path / "set")
    (tmp_path / "set" / "cat" / "zero.jpg").write_bytes(b"")
    whole = (tmp_path / "set" / "cat" / "0.png").read_bytes()
    (tmp_path / "set" / "cat" / "0.png").write_bytes(whole[: len(whole) // 2])
    done = cli("squeeze", stored, "--recipe", "half", "--test", "set", "--threads", "1", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["result"]["n"] == 23
    assert result["result"]["skipped"] == 2
    assert "zero.jpg" in (tmp_path / "tiny.html").read_text("utf-8")
    assert "2 images could not be read" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_leaves_no_partial_bundle(
    number: signal.Signals, stored: Path, photos: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "pocketlens", "squeeze", str(stored), "--calibration", str(photos)),
            *("--threads", "1", "--fresh", "--out", "t.lens"),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "scratch"), "POCKETLENS_CACHE": str(tmp_path / "cache")},
    )
    (tmp_path / "scratch").mkdir(exist_ok=True)
    assert process.stdout is not None
    assert "FoldBatchNorm" in process.stdout.readline()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else 143)
    assert "Traceback" not in errors
    deadline = time.monotonic() + 5
    while any((tmp_path / "scratch").glob("pocketlens-*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not list((tmp_path / "scratch").glob("pocketlens-*"))
    assert not list(tmp_path.glob("*t.lens*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_in_one_line(squeezed: tuple[Path, dict, str], tmp_path: Path) -> None:
    """The same code path as a real full disk: every write fails with ENOSPC."""
    code = (
        "import os, sys, errno\n"
        "real = os.fsync\n"
        "def full(fd): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "os.fsync = full\n"
        "from pocketlens.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "squeeze", str(squeezed[0] / "tiny.graph"), "--recipe", "half", "--threads", "1"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "POCKETLENS_CACHE": str(squeezed[0] / "cache")},
    )
    assert done.returncode == 1
    assert "No space left" in [line for line in done.stderr.splitlines() if line.startswith("pocketlens: ")][-1]
    assert not list(tmp_path.glob("*"))


LESSON = """
name = "lesson"

[[pass]]
use = "PruneChannels"
ratio = 0.3
multiple = 1

[[pass]]
use = "Distil"
epochs = 2
batch_size = 8
augment = "none"
"""


def test_a_recipe_that_trains_and_its_teacher(cli: Cli, stored: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "lesson.toml").write_text(LESSON)
    arguments = ("squeeze", stored, "--recipe", "lesson.toml", "--data", photos, "--threads", "1")
    done = cli(*arguments, "--teacher", stored, "--out", "a.lens", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    pruned, taught = (stage["measurement"] for stage in result["stages"])
    assert pruned["macs"] < result["baseline"]["macs"]
    assert taught["macs"] == pruned["macs"]
    assert result["stages"][1]["record"]["summary"]["epochs"] == 2
    assert taught["size_bytes"] < result["baseline"]["size_bytes"]
    assert done.stderr.startswith("trying the export before training\n")
    assert "MACs" in done.stderr
    assert 'id="tuning"' in (tmp_path / "a.html").read_text("utf-8")


def test_a_teacher_of_other_classes_is_refused_before_training(
    cli: Cli, stored: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "lesson.toml").write_text(LESSON)
    done = cli(
        *("squeeze", stored, "--recipe", "lesson.toml", "--data", photos, "--out", "a.lens"),
        *("--teacher", "timm:mobilenetv3_small_050=random"),
    )
    assert done.returncode == 1
    assert "must know the student's 4 classes" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "a.lens").exists()


def test_the_smallest_download_without_labels(cli: Cli, stored: Path, photos: Path, tmp_path: Path) -> None:
    """The recipe `small` as it ships, but for a network whose layers are no wider than a vector and one epoch."""
    import shutil

    import pocketlens

    flat = tmp_path / "flat"
    flat.mkdir()
    for photo in sorted(photos.rglob("*.png")):
        shutil.copy(photo, flat / f"{photo.parent.name}{photo.name}")
    text = (Path(pocketlens.__file__).parent / "recipes" / "small.toml").read_text()
    text = text.replace("epochs = 20", "epochs = 1").replace("batch_size = 32", "batch_size = 8")
    (tmp_path / "small.toml").write_text(text.replace("steps = 2", "steps = 2\nmultiple = 1"))
    arguments = ("squeeze", stored, "--recipe", "small.toml", "--calibration", flat, "--test", flat)
    done = cli(*arguments, "--threads", "1", "--out", "s.lens", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert "top1_change" not in result["result"]
    stages = {stage["record"]["name"]: stage for stage in result["stages"]}
    before, after = (stages[name]["measurement"] for name in ("QuantizeStatic", "RoundForRate"))
    assert after["size_bytes"] < before["size_bytes"]
    assert after["disk_bytes"] == pytest.approx(before["disk_bytes"], rel=0.01)
    assert stages["PruneChannels"]["record"]["summary"]["parameters_after"] <= 0.6 * result["baseline"]["parameters"]
    page = (tmp_path / "s.html").read_text("utf-8")
    assert 'id="bytes"' in page
    assert "6. MatchMoments" in page
