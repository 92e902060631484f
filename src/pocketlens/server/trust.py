"""The page, over plain http, that explains to a phone's owner how to trust this machine, and what that means."""

from html import escape
from importlib.resources import files
from string import Template

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from pocketlens.server.authority import Authority

DOWNLOAD = "/pocketlens-ca.crt"

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def trust_app(authority: Authority, site: str) -> Starlette:
    """An ASGI application with the page at `/trust` and the authority's certificate.

    Args:
        authority: that signed the certificate of `site`.
        site: the https address to go on to.
    """
    template = Template(files("pocketlens.server").joinpath("trust.html").read_text("utf-8"))
    page = template.substitute(
        name=escape(authority.name), fingerprint=authority.fingerprint, download=DOWNLOAD, site=escape(site)
    )

    async def trust(request: Request) -> Response:
        return HTMLResponse(page, headers=HEADERS)

    async def certificate(request: Request) -> Response:
        return Response(authority.download, media_type="application/x-x509-ca-cert", headers=HEADERS)

    async def start(request: Request) -> Response:
        return RedirectResponse("/trust", headers=HEADERS)

    return Starlette(routes=[Route("/", start), Route("/trust", trust), Route(DOWNLOAD, certificate)])
