import pytest

pytest.importorskip("litert_torch", reason="litert-torch is not installed: pip install 'pocketlens[litert]'")
