"""Serve a site from this machine: http for this machine alone, https for the phones in the house."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from pocketlens.errors import ServeError
from pocketlens.server.addresses import lan_addresses, local_name
from pocketlens.server.site import is_site
from pocketlens.server.static import site_app


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What a phone needs to trust this machine's https.

    Args:
        url: a page, over http, that explains it and offers the certificate of the authority.
        fingerprint: of that certificate, SHA-256, to compare.
        folder: where the authority is kept.
    """

    url: str
    fingerprint: str
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A site that is being served.

    Args:
        folder: the site.
        urls: where it can be opened, the best first.
        trust: None where no certificate is needed.
    """

    folder: Path
    urls: tuple[str, ...]
    trust: Trust | None


def serve(folder: Path, *, port: int = 8000, lan: bool = False, ready: Callable[[Serving], None]) -> None:
    """Serve a site until SIGINT or SIGTERM.

    Args:
        folder: of the site.
        port: to listen on; 0 takes any that is free. The page about trust is on the next one, or on any that is free.
        lan: listen for other devices too, over https.
        ready: called once both ports are open.
    Raises: ServeError when it is no site, a port is taken, or this machine is in no private network.
    """
    if not is_site(folder):
        what = "is no site" if folder.is_dir() else "is no folder"
        raise ServeError(f"{folder} {what}; make one with `pocketlens app BUNDLE --out {folder}`")
    app = site_app(folder)
    if not lan:
        with _listen("127.0.0.1", port) as listener:
            ready(Serving(folder=folder, urls=(f"http://localhost:{_port(listener)}/",), trust=None))
            _server(app).run(sockets=[listener])
        return
    from pocketlens.server.authority import authority
    from pocketlens.server.trust import trust_app

    hosts = [*lan_addresses(), local_name()]
    own = authority()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.issue(*hosts, "localhost", "127.0.0.1").configure_cert(context)
    with _listen("0.0.0.0", port) as listener, _listen_near(_port(listener) + 1) as helper:
        urls = tuple(f"https://{host}:{_port(listener)}/" for host in hosts)
        trust = Trust(url=f"http://{hosts[0]}:{_port(helper)}/trust", fingerprint=own.fingerprint, folder=own.folder)
        with _beside(_server(trust_app(own, urls[0])), helper):
            ready(Serving(folder=folder, urls=urls, trust=trust))
            _server(app, context).run(sockets=[listener])


def _server(app: ASGIApp, context: ssl.SSLContext | None = None) -> uvicorn.Server:
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=2
    )
    config.load()
    config.ssl = context  # uvicorn takes files only; the certificate's key needs none
    return uvicorn.Server(config)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ServeError(f"cannot listen on port {port} ({reason}); choose another with --port, 0 takes any") from error
    return listener


def _listen_near(port: int) -> socket.socket:
    try:
        return _listen("0.0.0.0", port)
    except ServeError:
        return _listen("0.0.0.0", 0)


def _port(listener: socket.socket) -> int:
    return listener.getsockname()[1]


@contextmanager
def _beside(server: uvicorn.Server, listener: socket.socket) -> Iterator[None]:
    """Run another server in a thread, as long as the body runs."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
