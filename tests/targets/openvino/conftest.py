import pytest

pytest.importorskip("openvino", reason="openvino is not installed: pip install 'pocketlens[openvino]'")
