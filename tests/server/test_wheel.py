"""The wheel carries the app."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pocketlens.server.built_app import FOLDER, PACKED, RUNTIMES

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not (FOLDER / "sw.js").is_file(), reason="the app is not built (npm run build in app/)")
def test_the_wheel_carries_the_built_app(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "-w",
        str(tmp_path),
    ]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name.removeprefix("pocketlens/server/") for name in archive.namelist()}
    wanted = {"app/index.html", "app/sw.js", "headers.json", "trust.html"}
    wanted |= {f"app/runtime/{name}{ending}" for name in RUNTIMES.values() for ending in (PACKED, ".mjs")}
    assert wanted <= names
    assert {f"app/{path.relative_to(FOLDER).as_posix()}" for path in FOLDER.rglob("*") if path.is_file()} <= names
