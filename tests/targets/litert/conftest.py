from importlib.util import find_spec

import pytest

if find_spec("litert_torch") is None:
    pytest.skip("litert-torch is not installed: pip install 'pocketlens[litert]'", allow_module_level=True)
