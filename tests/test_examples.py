import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.name)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "same answer on" in done.stdout


def test_products_from_photos_to_a_bundle(tmp_path: Path) -> None:
    """The smartphone example in small, on products made from the packaged photos."""
    command = [sys.executable, str(FOLDER / "products" / "products.py"), "--small", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 products, validation top-1" in done.stdout
    assert "smaller" in done.stdout
    assert "same answer on" in done.stdout
    assert (tmp_path / "products.lens").is_file()
    assert (tmp_path / "products.graph" / "graph.json").is_file()
