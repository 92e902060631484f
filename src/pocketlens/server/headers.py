"""The headers that isolate and confine the app, and how long browsers may keep what; one source for every host."""

import json
from importlib.resources import files

HEADERS: dict[str, str] = json.loads(files("pocketlens.server").joinpath("headers.json").read_text("utf-8"))
"""For every response. The service worker sets the same ones, from the same file, where a host cannot."""

IMMUTABLE = ("assets", "bundles", "galleries")
"""Folders of a site whose files carry a hash of their content in their names."""

KEEP = "public, max-age=31536000, immutable"

ASK = "no-cache"
"""Kept, but the host is asked each time whether it changed."""


def cache_control(path: str) -> str:
    """What browsers may do with the file at `path`, relative to the site's root."""
    folder, _, name = path.partition("/")
    return KEEP if name and folder in IMMUTABLE else ASK


def headers_file() -> str:
    """The same for hosts that read a file `_headers` (Netlify, Cloudflare Pages and others)."""
    lines = ["/*", *(f"  {name}: {value}" for name, value in HEADERS.items())]
    # Where two rules fit, Cloudflare joins their values: so each path gets one Cache-Control.
    lines += [line for folder in IMMUTABLE for line in (f"/{folder}/*", f"  Cache-Control: {KEEP}")]
    lines += [
        line
        for path in ("", "index.html", "sw.js", "catalog.json", "runtime/*")
        for line in (f"/{path}", f"  Cache-Control: {ASK}")
    ]
    return "\n".join(lines) + "\n"
