"""`app` and `serve` on the command line: what they refuse, and what a right call says."""

import json
import socket
from pathlib import Path

import pytest
from tests.bundle.conftest import pack
from tests.cli.conftest import Cli, one_line
from tests.server.conftest import write_gallery_of

from pocketlens.cli.app import demo_place
from pocketlens.server.built_app import FOLDER

built = pytest.mark.skipif(not (FOLDER / "sw.js").is_file(), reason="the app is not built (npm run build in app/)")


@built
def test_a_site_from_a_bundle_and_a_gallery(cli: Cli, tmp_path: Path) -> None:
    pack(tmp_path / "tiny.lens")
    write_gallery_of(tmp_path / "tiny.lens", tmp_path / "shelf.gallery")
    done = cli("app", "tiny.lens", "--gallery", "shelf.gallery", "--out", "site", "--title", "Mine", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    catalog = json.loads((tmp_path / "site" / "catalog.json").read_text("utf-8"))
    assert catalog["version"] == said["version"]
    assert catalog["title"] == "Mine"
    assert [entry["name"] for entry in said["galleries"]] == ["Shelf"]
    # The runtime and the shell: issue 4 allows 9 MB with a bundle of 4.9 MB.
    assert said["first_visit_bytes"] - (tmp_path / "tiny.lens").stat().st_size < 4_100_000
    assert "pocketlens serve" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("app", "--out", "site"), 2, "--demo"),
        (("app", "broken.lens", "--out", "no/site"), 1, "no"),
        (("app", "broken.lens", "--out", "photos", "--force"), 1, "left alone"),
        (("serve", "photos"), 1, "is no site"),
        (("serve", "nowhere"), 1, "is no folder"),
        (("serve", "photos", "--port", "70000"), 2, "--port"),
    ],
)
def test_wrong_input_gets_one_line(arguments: tuple[str, ...], code: int, word: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "broken.lens").write_bytes(b"PK\x03\x04 not a bundle")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    done = cli(*arguments)
    assert done.returncode == code, done.stderr
    assert word in done.stderr
    if "70000" not in arguments:
        one_line(done.stderr)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.lens", "photos"]


@built
def test_the_demo_is_squeezed_once(cli: Cli, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLENS_CACHE", str(cache))
    place = demo_place()
    place.parent.mkdir(parents=True)
    pack(place)
    said = json.loads(cli("app", "--demo", "--out", "site", "--json").stdout)
    assert [model["name"] for model in said["models"]] == ["tiny"]


@built
def test_a_damaged_bundle_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "broken.lens").write_bytes(b"PK\x03\x04 not a bundle")
    done = cli("app", "broken.lens", "--out", "site")
    assert done.returncode == 1
    assert "broken.lens" in one_line(done.stderr)
    assert not (tmp_path / "site").exists()


@built
def test_a_taken_port_is_one_line(cli: Cli, tmp_path: Path) -> None:
    pack(tmp_path / "tiny.lens")
    assert cli("app", "tiny.lens", "--out", "site").returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli("serve", "site", "--port", str(port))
    assert done.returncode == 1
    assert str(port) in one_line(done.stderr)
