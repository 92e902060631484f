"""The real command line in a real process, and a stored tiny model for it to work on."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketlens.models import store
from pocketlens.types import Model

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all command lines of a test session, so that the probe runs once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cli(cache: Path, tmp_path: Path) -> Cli:
    """Run `pocketlens ARGUMENTS` in `tmp_path`."""

    def run(*arguments: str | Path, timeout: float = 240) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "pocketlens", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            timeout=timeout,
            env={**os.environ, "POCKETLENS_CACHE": str(cache), "COLUMNS": "200"},
        )

    return run


@pytest.fixture
def stored(tiny: Model, tmp_path: Path) -> Path:
    """A tiny model as a stored graph."""
    path = tmp_path / "tiny.graph"
    store.save(tiny, path)
    return path


def one_line(stderr: str) -> str:
    """The error line; there must be exactly one, and no traceback."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    assert "Traceback" not in stderr
    assert len(lines) == 1, stderr
    assert lines[0].startswith("pocketlens: ")
    return lines[0]
