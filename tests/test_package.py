import subprocess
import sys
from pathlib import Path

import pocketlens


def test_every_public_name_resolves() -> None:
    for name in pocketlens.__all__:
        assert getattr(pocketlens, name).__name__ == name


def test_the_runtime_reports_nothing_home(tmp_path: Path) -> None:
    """ONNX Runtime 1.32 leaves a session file for its telemetry in the temporary folder when it is on."""
    code = "import pocketlens.runtime.recognizer, onnxruntime"
    subprocess.run([sys.executable, "-c", code], check=True, env={"TMPDIR": str(tmp_path), "PATH": ""})
    assert not list(tmp_path.iterdir())
