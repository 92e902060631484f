"""pocketlens serve: a site from this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pocketlens.cli.console import Console
    from pocketlens.server.serve import Serving


def serve(
    site: Annotated[Path, typer.Argument(help="A folder that `pocketlens app` wrote.")],
    port: Annotated[int, typer.Option(help="To listen on; 0 takes any that is free.", min=0, max=65535)] = 8000,
    lan: Annotated[bool, typer.Option("--lan", help="Over https, for phones in the same network.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout once it serves, all else on stderr.")
    ] = False,
) -> None:
    """Serve a site: http for this machine, or with --lan https and a QR code for phones. Ctrl-C ends it, with 0."""
    import sys

    from pocketlens.cli.console import Console
    from pocketlens.errors import ServeError

    try:
        from pocketlens.server.serve import serve as run
    except ImportError as error:
        raise ServeError(
            f"serving needs a package that is not installed ({error}); try: pip install 'pocketlens[serve]'"
        ) from error
    console = Console(as_json)

    def ready(serving: "Serving") -> None:
        _show(console, serving)
        trust = serving.trust
        console.finish(
            {
                "site": str(serving.folder),
                "urls": list(serving.urls),
                "trust_url": trust.url if trust else None,
                "authority": str(trust.folder) if trust else None,
                "authority_sha256": trust.fingerprint if trust else None,
            }
        )
        sys.stdout.flush()

    try:
        run(site, port=port, lan=lan, ready=ready)
    except KeyboardInterrupt:  # that is how a server ends
        console.say("stopped")


def _show(console: "Console", serving: "Serving") -> None:
    """One screen that says what to do."""
    first, *others = serving.urls
    console.say(f"{serving.folder} is served at [bold]{first}[/]" + "".join(f"\n  or {url}" for url in others))
    if trust := serving.trust:
        console.say(f"\nOn the phone, in the same network, scan this: {trust.url}\n{_qr(trust.url)}")
        console.say(
            "That page explains how to trust this machine's certificate authority, once. Without that no browser\n"
            "registers a service worker, and the app does not work offline. The authority vouches for private\n"
            f"addresses and .local names only; its key is in {trust.folder}. To compare, its SHA-256 is\n"
            f"{trust.fingerprint}"
        )
    console.say("Ctrl-C ends it.")


def _qr(text: str) -> str:
    """A QR code of half blocks, light on dark, which readers take as well."""
    import segno

    rows = [[not dark for dark in row] for row in segno.make(text, error="l").matrix_iter(border=2)]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    blocks = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return "\n".join("".join(blocks[pair] for pair in zip(upper, lower, strict=True)) for upper, lower in pairs)
