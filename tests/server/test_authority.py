import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509

from pocketlens.errors import ServeError
from pocketlens.server.authority import Authority, authority


def test_one_authority_is_made_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "pocketlens"
    first = authority(folder)
    assert authority(folder).fingerprint == first.fingerprint
    assert stat.S_IMODE((folder / "ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert b"PRIVATE" not in first.download


def test_a_key_that_others_could_read_is_closed(tmp_path: Path) -> None:
    authority(tmp_path)
    (tmp_path / "ca.key").chmod(0o644)
    authority(tmp_path)
    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600


def test_a_damaged_authority_says_what_to_do(tmp_path: Path) -> None:
    authority(tmp_path)
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(ServeError, match=r"remove ca\.pem"):
        authority(tmp_path)


def test_its_certificates_are_short_enough_for_ios(tmp_path: Path) -> None:
    leaf = authority(tmp_path).issue("192.168.1.20", "desk.local")
    certificate = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days <= 825


def handshake(own: Authority, *names: str, asked: str) -> None:
    """TLS between two ends of a socket pair; raises when the client does not trust the server."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.issue(*names).configure_cert(server)
    client = ssl.create_default_context(cadata=own.certificate.decode())
    here, there = socket.socketpair()

    def answer() -> None:
        try:
            server.wrap_socket(there, server_side=True).close()
        except OSError:
            there.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        client.wrap_socket(here, server_hostname=asked).close()
    finally:
        here.close()
        thread.join()


@pytest.mark.parametrize("asked", ["192.168.1.20", "10.0.0.7", "desk.local", "localhost"])
def test_it_vouches_for_addresses_in_the_house(asked: str, tmp_path: Path) -> None:
    handshake(authority(tmp_path), asked, asked=asked)


@pytest.mark.parametrize("asked", ["8.8.8.8", "bank.example", "local.example"])
def test_it_cannot_vouch_for_anything_else(asked: str, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        handshake(authority(tmp_path), asked, asked=asked)
