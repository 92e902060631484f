"""The app's logic, run in Node on what Python wrote, so that the two can be compared."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.app.jobs import Json, RunJobs

APP = Path(__file__).resolve().parents[2] / "app"


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """app/tests/vectors/run.ts as a script, and the folder of the app's own wasm, both made afresh."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("compares with the app, which needs Node 20 or newer: install it, then run scripts/setup")
    if not (APP / "node_modules").is_dir():
        pytest.skip("compares with the app, whose packages are not installed: run scripts/setup")
    folder = tmp_path_factory.mktemp("app")
    script = folder / "run.mjs"
    tools = APP / "node_modules" / ".bin"
    for name in ("resize", "search"):
        compiled = str(folder / f"{name}.wasm")
        command = [tools / "asc", f"assembly/{name}.ts", "--target", "release", "--outFile", compiled]
        subprocess.run(command, cwd=APP, check=True)
    subprocess.run(["node", "assembly/zstd.mjs", "src/bundle/zstd.wasm.js"], cwd=APP, check=True)
    options = ["--bundle", "--platform=node", "--format=esm", "--target=node20", "--log-level=warning"]
    subprocess.run([tools / "esbuild", "tests/vectors/run.ts", *options, f"--outfile={script}"], cwd=APP, check=True)
    return script, folder


@pytest.fixture
def run_jobs(runner: tuple[Path, Path]) -> RunJobs:
    """Does jobs in Node."""
    script, wasm = runner

    def run(folder: Path, jobs: Sequence[Json]) -> list[Json]:
        (folder / "jobs.json").write_text(json.dumps(jobs))
        subprocess.run(["node", script, folder, APP, wasm], check=True, timeout=120)
        return json.loads((folder / "results.json").read_text())

    return run
