"""`pocketlens export` and `bench` across runtimes: real files, read by the runtimes and by the code that goes along."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cli.conftest import Cli, one_line
from tests.conftest import SPEC

from pocketlens.bundle.archive import open_bundle, write_bundle
from pocketlens.datasets.images import open_image, preprocess
from pocketlens.models import store
from pocketlens.squeeze.export import FORMATS
from pocketlens.squeeze.snippets.write import SUFFIXES

RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino", "tflite": "ai_edge_litert"}


def needs(format: str) -> None:
    pytest.importorskip(RUNTIMES[format], reason=f"pocketlens[{FORMATS[format][0]}] is not installed")


@pytest.fixture(scope="module")
def squeezed(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """A folder with tiny.lens and the cache that its model is kept in."""
    from tests.conftest import TinyNet, randomised

    from pocketlens.models.canonical import canonicalise

    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(0)
    store.save(canonicalise(randomised(TinyNet()), SPEC), folder / "tiny.graph")
    done = pocketlens(
        folder, "squeeze", "tiny.graph", "--calibration", photos, "--test", photos, "--threads", "1", "--json"
    )
    assert done.returncode == 0, done.stderr
    return folder


def pocketlens(folder: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pocketlens", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "POCKETLENS_CACHE": str(folder / "cache"), "COLUMNS": "200"},
    )


@pytest.fixture(scope="module", params=[(f, g) for f in sorted(FORMATS) for g in ("int8", "float")], ids="-".join)
def exported(request: pytest.FixtureRequest, squeezed: Path, photos: Path) -> tuple[str, str, Path]:
    """(format, graph, the model file)."""
    format, graph = request.param
    needs(format)
    out = squeezed / format / f"{graph}{FORMATS[format][1]}"
    out.parent.mkdir(exist_ok=True)
    done = pocketlens(
        squeezed,
        *("export", "tiny.lens", "--format", format, "--graph", graph, "--out", out),
        *("--calibration", photos, "--json"),
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["size_bytes"] == sum(Path(path).stat().st_size for path in told["files"])
    assert set(told["snippets"]) == set(SUFFIXES)
    return format, graph, out


def test_the_python_snippet_answers_as_the_bundle_does(
    exported: tuple[str, str, Path], squeezed: Path, photos: Path
) -> None:
    _, graph, out = exported
    for photo in [next((photos / name).iterdir()) for name in ("cat", "dog", "owl")]:
        done = subprocess.run(
            [sys.executable, out.with_suffix(".py").name, photo],
            capture_output=True,
            text=True,
            check=False,
            cwd=out.parent,
        )
        assert done.returncode == 0, done.stderr
        rows = [line.split() for line in done.stdout.splitlines()]
        assert {label for label, _ in rows} == set(SPEC.labels)
        recognised = pocketlens(squeezed, "recognize", "tiny.lens", photo, "--graph", graph, "--top-k", "4", "--json")
        answers = json.loads(recognised.stdout)["images"][0]["answers"]
        assert rows[0][0] == answers[0]["label"]
        logits = np.array([float(value) for _, value in rows])
        probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert probabilities[0] == pytest.approx(answers[0]["probability"], abs=0.05)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run JavaScript")
def test_the_javascript_snippet_makes_the_same_input(exported: tuple[str, str, Path], photos: Path) -> None:
    format, graph, out = exported
    script = (
        "import { readFileSync, writeFileSync } from 'node:fs';"
        f"const m = await import({json.dumps(out.with_suffix('.mjs').as_uri())});"
        "const input = m.preprocess(readFileSync('pixels'), 48, 40);"
        "writeFileSync('input', input); console.log(input.constructor.name, m.LABELS.join());"
    )
    photo = open_image(next((photos / "fish").iterdir()))
    (out.parent / "pixels").write_bytes(photo.convert("RGBA").tobytes())
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=False, cwd=out.parent
    )
    assert done.returncode == 0, done.stderr
    kind, labels = done.stdout.split()
    assert labels == ",".join(SPEC.labels)
    wanted = preprocess(photo, SPEC.preprocessing)
    if format == "tflite":
        wanted = wanted.transpose(1, 2, 0)
    integers = format == "tflite" and graph == "int8"
    assert kind == ("Int8Array" if integers else "Float32Array")
    got = np.frombuffer((out.parent / "input").read_bytes(), np.int8 if integers else np.float32).reshape(wanted.shape)
    if integers:
        from pocketlens.targets.litert.session import open_session

        grid = open_session(out, None, {}, 1).input_grid
        assert grid is not None
        got = (got.astype(np.float32) - grid[1]) * grid[0]
        assert np.abs(got - wanted).max() <= 0.51 * grid[0]
    else:
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("language", ["kotlin", "swift"])
def test_the_other_snippets_are_whole(language: str, exported: tuple[str, str, Path]) -> None:
    text = exported[2].with_suffix(SUFFIXES[language]).read_text("utf-8")
    assert text.count("{") == text.count("}")
    assert text.count("(") == text.count(")")
    assert exported[2].name in text
    assert '"owl"' in text
    assert "127.0" in text
    assert "$$" not in text
    assert "${" not in text


def test_a_batch_of_files_is_never_overwritten_unasked(exported: tuple[str, str, Path], squeezed: Path) -> None:
    format, graph, out = exported
    before = out.read_bytes()
    done = pocketlens(squeezed, "export", "tiny.lens", "--format", format, "--graph", graph, "--out", out)
    assert done.returncode == 1
    assert "--force" in one_line(done.stderr)
    assert out.read_bytes() == before


@pytest.mark.parametrize("format", ["openvino", "tflite"])
def test_a_bundle_whose_model_is_not_kept_here_says_how_to_make_it_again(
    format: str, squeezed: Path, cli: Cli, tmp_path: Path
) -> None:
    needs(format)
    done = cli("export", squeezed / "tiny.lens", "--format", format, "--out", f"t{FORMATS[format][1]}")
    assert done.returncode == 1
    line = one_line(done.stderr)
    assert "run the same `pocketlens squeeze` here again (recipe int8, seed 0)" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "source", [None, "odd", {"passes": "0"}, {"passes": 0, "shape_model": "../../etc"}, {"passes": -1}, {"passes": 99}]
)
def test_a_bundle_that_names_its_model_badly_is_refused(
    source: object, squeezed: Path, cli: Cli, tmp_path: Path
) -> None:
    needs("openvino")
    with open_bundle(squeezed / "tiny.lens") as bundle:
        m = bundle.manifest
        recipe = {k: v for k, v in m.recipe.items() if k != "source"} | ({} if source is None else {"source": source})
        write_bundle(
            tmp_path / "odd.lens",
            spec=m.spec, graphs=m.graphs, preferred=m.preferred, recipe=recipe, baseline=m.baseline, target=m.target,
            members={path: bundle.read(path) for path in m.members},
        )  # fmt: skip
    done = cli("export", "odd.lens", "--format", "openvino")
    assert done.returncode == 1
    assert "squeeze" in one_line(done.stderr)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--format", "coreml"), 2, "onnx, openvino, tflite"),
        (("--format", "onnx", "--out", "a.tflite"), 1, "a.onnx"),
        (("--graph", "int4"), 1, "int8"),
        (("--out", "nowhere/a.onnx"), 1, "nowhere"),
    ],
)
def test_wrong_use_gets_one_line(
    arguments: tuple[str, ...], code: int, word: str, squeezed: Path, cli: Cli, tmp_path: Path
) -> None:
    done = cli("export", squeezed / "tiny.lens", *arguments)
    assert done.returncode == code, done.stderr
    assert word in one_line(done.stderr)


def test_one_model_is_raced_on_every_runtime(squeezed: Path, photos: Path) -> None:
    needs("openvino")
    needs("tflite")
    arguments = ("--test", photos, "--calibration", photos, "--threads", "1", "--rounds", "3", "--json")
    done = pocketlens(squeezed, "bench", "tiny.lens:int8", "--target", "onnxruntime,openvino,litert", *arguments)
    assert done.returncode == 0, done.stderr
    models = json.loads(done.stdout)["models"]
    assert list(models) == [f"tiny.lens:int8 on {name}" for name in ("onnxruntime", "openvino", "litert")]
    runtimes = [m["conditions"]["runtime"].split()[0] for m in models.values()]
    assert runtimes == ["onnxruntime", "openvino", "litert"]
    assert all(m["agreement"] >= 0.9 for m in models.values())


def test_squeeze_sends_other_runtimes_to_export(squeezed: Path, photos: Path, tmp_path: Path) -> None:
    needs("openvino")
    done = pocketlens(squeezed, "squeeze", "tiny.graph", "--target", "openvino", "--test", photos, "--out", "o.lens")
    assert done.returncode == 2
    assert "export --format" in one_line(done.stderr)


def test_bench_of_a_file_on_the_wrong_runtime(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"")
    done = cli("bench", "a.tflite", "b.tflite")
    assert done.returncode == 2
    assert "litert" in one_line(done.stderr)
    done = cli("bench", "a.lens", "--target", "onnxruntime,onnxruntime")
    assert done.returncode == 2
    assert "twice" in one_line(done.stderr)
