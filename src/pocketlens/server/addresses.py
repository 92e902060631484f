"""The names under which other devices in the house find this one."""

import socket
from ipaddress import ip_address, ip_network

from pocketlens.errors import ServeError

NETWORKS = tuple(
    ip_network(network)
    for network in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",  # link-local
        "100.64.0.0/10",  # carriers, and overlay networks such as Tailscale
        "192.0.2.0/24",  # for documentation, and inside virtual machines
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
    )
)
"""Addresses that the internet does not route, so nobody's public site has one."""


def lan_addresses() -> list[str]:
    """IPv4 addresses of this machine in NETWORKS, the one that leads outside first.

    Raises: ServeError when there is none.
    """
    import psutil

    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    found = [
        address.address
        for name, addresses in psutil.net_if_addrs().items()
        for address in addresses
        if name in up and address.family == socket.AF_INET and is_lan(address.address)
    ]
    if not found:
        raise ServeError(
            "--lan needs an address in a private network (like 192.168.1.20) and this machine has none; "
            "connect it to the network that the phone is in"
        )
    first = _outward()
    return sorted(dict.fromkeys(found), key=lambda address: address != first)


def is_lan(address: str) -> bool:
    """Whether that is an address of a private network."""
    return any(ip_address(address) in network for network in NETWORKS)


def local_name() -> str:
    """This machine's name in multicast DNS, where it answers to one."""
    return f"{socket.gethostname().partition('.')[0].lower()}.local"


def _outward() -> str | None:
    """The address that the default route leaves from; connecting a UDP socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return probe.getsockname()[0]
