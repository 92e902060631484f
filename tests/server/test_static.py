import gzip
import json
from pathlib import Path

import brotli
import pytest
from tests.server.conftest import SCRIPT, Get

from pocketlens.server.headers import HEADERS, headers_file

RUNTIME = "/runtime/ort-wasm-simd-threaded.wasm.gzip"

ASSET = "/assets/index-abc12345.js"


@pytest.mark.parametrize("path", ["/", "/index.html", "/sw.js", ASSET, RUNTIME, "/nothing.js", "/assets/"])
def test_every_answer_carries_the_headers(path: str, get: Get) -> None:
    for method in ("GET", "HEAD", "POST"):
        _, headers, _ = get(path, method)
        assert {name: headers.get(name.lower()) for name in HEADERS} == HEADERS


def test_the_policy_lets_nothing_out() -> None:
    policy = dict(part.split(" ", 1) for part in HEADERS["Content-Security-Policy"].split("; "))
    assert policy.pop("default-src") == "'none'"
    for sources in policy.values():
        assert set(sources.split()) <= {"'self'", "'none'", "'wasm-unsafe-eval'", "blob:", "data:"}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/sw.js", "text/javascript; charset=utf-8"),
        ("/runtime/ort-wasm-simd-threaded.mjs", "text/javascript; charset=utf-8"),
        ("/catalog.json", "application/json"),
        ("/pocketlens.webmanifest", "application/manifest+json"),
        (RUNTIME, "application/octet-stream"),
    ],
)
def test_types(path: str, kind: str, get: Get) -> None:
    assert get(path)[1]["content-type"] == kind


def test_hashed_names_are_kept_and_the_rest_is_asked_for(get: Get, site: Path) -> None:
    (model,) = json.loads((site / "catalog.json").read_text())["models"]
    for path in (ASSET, f"/{model['path']}"):
        assert "immutable" in get(path)[1]["cache-control"]
    for path in ("/", "/sw.js", "/catalog.json", RUNTIME):
        assert get(path)[1]["cache-control"] == "no-cache"


def test_parts_by_range(get: Get, site: Path) -> None:
    whole = (site / RUNTIME[1:]).read_bytes()
    status, headers, body = get(RUNTIME, Range="bytes=3-9", Accept_Encoding="gzip, br")
    assert (status, body) == (206, whole[3:10])
    assert headers["content-range"] == f"bytes 3-9/{len(whole)}"
    assert "content-encoding" not in headers
    assert get(RUNTIME, Range=f"bytes={len(whole)}-")[0] == 416
    # A text, too, comes as it lies on the disk when parts are asked for.
    assert get(ASSET, Range="bytes=0-5", Accept_Encoding="gzip")[2] == SCRIPT.encode()[:6]


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br", "br"),
        ("gzip", "gzip"),
        ("br;q=0, *", "gzip"),
        ("", None),
        ("identity", None),
        ("x;q=", None),
    ],
)
def test_text_is_compressed_as_the_browser_likes(accepted: str, encoding: str | None, get: Get) -> None:
    _, headers, body = get(ASSET, Accept_Encoding=accepted)
    assert headers.get("content-encoding") == encoding
    assert headers["vary"] == "Accept-Encoding"
    undo = {"br": brotli.decompress, "gzip": gzip.decompress, None: bytes}[encoding]
    assert undo(body) == SCRIPT.encode()
    assert int(headers["content-length"]) == len(body)


def test_what_is_compressed_already_is_left_alone(get: Get, site: Path) -> None:
    (model,) = json.loads((site / "catalog.json").read_text())["models"]
    for path in (f"/{model['path']}", RUNTIME):
        _, headers, body = get(path, Accept_Encoding="gzip, br")
        assert "content-encoding" not in headers
        assert body == (site / path[1:]).read_bytes()


@pytest.mark.parametrize("accepted", ["", "br"])
def test_what_the_browser_has_is_not_sent_again(accepted: str, get: Get) -> None:
    _, headers, _ = get(ASSET, Accept_Encoding=accepted)
    status, again, body = get(ASSET, Accept_Encoding=accepted, If_None_Match=headers["etag"])
    assert (status, body) == (304, b"")
    assert again["etag"] == headers["etag"]
    assert get(ASSET, Accept_Encoding="gzip", If_None_Match=headers["etag"])[0] == 200


def test_a_changed_file_is_compressed_anew(get: Get, site: Path) -> None:
    assert gzip.decompress(get("/sw.js", Accept_Encoding="gzip")[2])
    (site / "sw.js").write_text("changed")
    assert gzip.decompress(get("/sw.js", Accept_Encoding="gzip")[2]) == b"changed"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/assets/..%5c..%5csecret.txt",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/.hidden",
        "/.git/config",
        "/assets/.hidden",
        "/%00",
        "/link.txt",
        "/" + "x" * 5000,
    ],
)
def test_nothing_outside_the_site_and_nothing_hidden(path: str, get: Get, site: Path) -> None:
    (site.parent / "secret.txt").write_text("secret")
    (site / "link.txt").symlink_to(site.parent / "secret.txt")
    for name in (".hidden", ".git/config", "assets/.hidden"):
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text("secret")
    status, _, body = get(path)
    assert status == 404
    assert b"secret" not in body


def test_nothing_can_be_written(get: Get) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert get("/index.html", method)[0] == 405


def test_the_file_for_other_hosts_says_the_same(site: Path) -> None:
    text = (site / "_headers").read_text()
    assert text == headers_file()
    for name, value in HEADERS.items():
        assert f"\n  {name}: {value}\n" in text
