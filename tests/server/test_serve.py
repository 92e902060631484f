"""`pocketlens serve` in a process of its own, over real http and https."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pocketlens.errors import ServeError
from pocketlens.server.addresses import lan_addresses

Serve = Callable[..., tuple["subprocess.Popen[str]", dict[str, Any]]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start `pocketlens serve`; the process and its JSON object."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path) -> "tuple[subprocess.Popen[str], dict[str, Any]]":
        process = subprocess.Popen(
            [sys.executable, "-m", "pocketlens", "serve", *map(str, arguments), "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "POCKETLENS_CONFIG": str(tmp_path / "config")},
        )
        started.append(process)
        assert process.stdout
        lines = iter(process.stdout.readline, "")
        text = ""
        for line in lines:
            text += line
            if line == "}\n":
                break
        return process, json.loads(text)

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_it_serves_this_machine_and_ends_well(serve: Serve, site: Path) -> None:
    process, said = serve(site)
    assert said["trust_url"] is None
    (url,) = said["urls"]
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert answer.status == 200
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "stopped" in stderr
    assert "Traceback" not in stderr


def test_an_open_connection_does_not_hold_it_up(serve: Serve, site: Path) -> None:
    process, said = serve(site)
    port = int(said["urls"][0].rsplit(":", 1)[1].strip("/"))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(10)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143


def test_the_other_machines_get_https_once_they_trust_it(serve: Serve, site: Path) -> None:
    try:
        address = lan_addresses()[0]
    except ServeError as error:
        pytest.skip(str(error))
    process, said = serve(site, "--lan")
    url = next(url for url in said["urls"] if address in url)
    with pytest.raises(urllib.error.URLError, match="certificate verify failed"):
        urllib.request.urlopen(url, timeout=20)
    page = urllib.request.urlopen(said["trust_url"], timeout=20)
    text = page.read().decode()
    assert said["authority_sha256"] in text
    assert url in text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    certificate = urllib.request.urlopen(said["trust_url"].replace("/trust", "/pocketlens-ca.crt"), timeout=20)
    assert certificate.headers["Content-Type"] == "application/x-x509-ca-cert"
    pem = x509.load_der_x509_certificate(certificate.read()).public_bytes(Encoding.PEM).decode()
    trusting = ssl.create_default_context(cadata=pem)
    with urllib.request.urlopen(url, timeout=20, context=trusting) as answer:
        assert answer.status == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert Path(said["authority"], "ca.key").stat().st_mode & 0o077 == 0
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "█" in stderr  # the QR code, beside what it leads to
    assert said["trust_url"] in stderr
