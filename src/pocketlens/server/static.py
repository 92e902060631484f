"""The files of a site over HTTP, with the headers that the app needs."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import brotli
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import NotModifiedResponse, PathLike, StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pocketlens.server.headers import HEADERS, cache_control

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""Not the system's table: it may lack some, and a wrong type stops a script under `nosniff`."""

COMPRESSED = (".css", ".html", ".js", ".json", ".mjs", ".svg", ".wasm", ".webmanifest")
"""Endings that are worth it; bundles, galleries, pictures and the packed runtimes are compressed already."""

ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "br": lambda content: brotli.compress(content, quality=11),
    "gzip": lambda content: gzip.compress(content, 9, mtime=0),
}
"""Content-Encoding -> how; the first that the browser takes."""


def site_app(folder: Path) -> ASGIApp:
    """An ASGI application that serves a site with all its headers, also on errors."""
    return _WithHeaders(Starlette(routes=[Mount("/", _SiteFiles(directory=folder, html=True))]))


class _WithHeaders:
    """Adds HEADERS to every response of another application."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class _SiteFiles(StaticFiles):
    """Static files with compressed twins, made once, and no hidden files."""

    def __init__(self, *, directory: Path, html: bool) -> None:
        super().__init__(directory=directory, html=html)
        self.root = Path(os.path.realpath(directory))
        self.twins: dict[tuple[str, str, float], bytes] = {}

    async def get_response(self, path: str, scope: Scope) -> Response:
        if path != "." and any(part.startswith(".") for part in Path(path).parts):
            raise HTTPException(status_code=404)
        return await super().get_response(path, scope)

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        path = Path(full_path)
        ending = path.suffix.lower()
        request = Headers(scope=scope)
        plain = FileResponse(
            path,
            status_code=status_code,
            stat_result=stat_result,
            media_type=TYPES.get(ending, "application/octet-stream"),
            headers={"Cache-Control": cache_control(path.relative_to(self.root).as_posix())},
        )
        response: Response = plain
        if ending in COMPRESSED:
            plain.headers["Vary"] = "Accept-Encoding"
            encoding = None if "Range" in request else _preferred(request.get("Accept-Encoding", ""))
            if encoding:
                response = self._twin(plain, path, stat_result, encoding)
        if self.is_not_modified(response.headers, request):
            return NotModifiedResponse(response.headers)
        return response

    def _twin(self, plain: FileResponse, path: Path, stat_result: os.stat_result, encoding: str) -> Response:
        key = (str(path), encoding, stat_result.st_mtime)
        if key not in self.twins:
            self.twins[key] = ENCODERS[encoding](path.read_bytes())
        response = Response(self.twins[key], media_type=plain.media_type)
        for name in ("Cache-Control", "Vary", "Last-Modified"):
            response.headers[name] = plain.headers[name]
        response.headers["Content-Encoding"] = encoding
        response.headers["ETag"] = f'{plain.headers["ETag"][:-1]}-{encoding}"'
        return response


def _preferred(accepted: str) -> str | None:
    """The encoding for an Accept-Encoding, or None for the file as it is."""
    weights: dict[str, float] = {}
    for item in accepted.lower().split(","):
        name, _, quality = item.partition(";")
        try:
            weights[name.strip()] = float(quality.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
    return next((name for name in ENCODERS if weights.get(name, weights.get("*", 0)) > 0), None)
