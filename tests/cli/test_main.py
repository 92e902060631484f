import subprocess
import sys
import time

import pytest
from tests.cli.conftest import Cli

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


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(cli: Cli, verb: str) -> None:
    done = cli(verb, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout


def test_wrong_use_exits_2(cli: Cli) -> None:
    assert cli("squeeze").returncode == 2
    assert cli("fly").returncode == 2
    assert cli("squeeze", "x", "--nope").returncode == 2


def test_version(cli: Cli) -> None:
    assert cli("--version").stdout.startswith("pocketlens ")
