import subprocess
import sys
import time
from importlib import import_module

import pytest
from tests.cli.conftest import Cli
from typer import Typer

from pocketlens.cli import VERBS


def test_help_names_every_verb_and_is_quick(cli: Cli) -> None:
    cli("--help")  # warms the disk cache
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = cli("--help")
        times.append(time.perf_counter() - start)
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)
    assert min(times) < 0.6  # 0.3 s on a quiet machine; tests share it with others


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom pocketlens.cli import _application\n_application()\n"
        "print([m for m in ('torch', 'numpy', 'onnxruntime', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def commands() -> list[tuple[str, ...]]:
    """Every command with its verb before it, where a verb has several."""
    found: list[tuple[str, ...]] = []
    for verb in VERBS:
        own = getattr(import_module(f"pocketlens.cli.{verb}"), verb)
        names = [c.name or c.callback.__name__ for c in own.registered_commands] if isinstance(own, Typer) else []
        found += [(verb, name) for name in names] or [(verb,)]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_has_help(cli: Cli, command: tuple[str, ...]) -> None:
    done = cli(*command, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout


def test_wrong_use_exits_2(cli: Cli) -> None:
    assert cli("squeeze").returncode == 2
    assert cli("fly").returncode == 2
    assert cli("squeeze", "x", "--nope").returncode == 2


def test_version(cli: Cli) -> None:
    assert cli("--version").stdout.startswith("pocketlens ")
