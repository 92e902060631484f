import pytest

from pocketlens.errors import ServeError
from pocketlens.server.addresses import is_lan, lan_addresses, local_name


@pytest.mark.parametrize(
    ("address", "expected"),
    [("192.168.1.2", True), ("10.1.2.3", True), ("172.20.0.1", True), ("127.0.0.1", False), ("8.8.8.8", False)],
)
def test_private_networks(address: str, expected: bool) -> None:
    assert is_lan(address) is expected


def test_this_machine() -> None:
    assert local_name().endswith(".local")
    try:
        addresses = lan_addresses()
    except ServeError as error:
        pytest.skip(str(error))
    assert all(is_lan(address) for address in addresses)
    assert len(set(addresses)) == len(addresses)
