import pytest

from pocketlens.errors import UnknownNameError
from pocketlens.targets import TARGETS, load_target


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_target_bears_its_name(name: str) -> None:
    assert load_target(name).name == name


def test_an_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"'onnxruntme'.*mean 'onnxruntime'"):
        load_target("onnxruntme")
