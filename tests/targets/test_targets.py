import subprocess
import sys

import pytest

from pocketlens.errors import UnknownNameError
from pocketlens.targets import TARGETS, load_target
from pocketlens.types import Target


def test_a_target_bears_its_name(target: Target) -> None:
    assert TARGETS[target.name].startswith(f"pocketlens.targets.{target.name}.")


def test_a_session_opens_without_torch(target: Target) -> None:
    code = (
        f"import sys; from pocketlens.targets import load_session; load_session({target.name!r}); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("half", ["load_target", "load_session"])
def test_a_runtime_that_is_not_installed_names_its_extra(half: str) -> None:
    code = (
        "import sys; sys.modules['openvino'] = None; import pocketlens.targets as t\n"
        f"try: t.{half}('openvino')\n"
        "except t.TargetError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "the target openvino needs the package openvino: pip install 'pocketlens[openvino]'\n"


def test_an_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"'onnxruntme'.*mean 'onnxruntime'"):
        load_target("onnxruntme")
