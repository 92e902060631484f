import gzip
import hashlib
import json
from pathlib import Path

import pytest
from tests.bundle.conftest import pack
from tests.server.conftest import write_gallery_of

from pocketlens.errors import BundleError, OutputError, PocketlensError, UsageError
from pocketlens.server.built_app import built_app
from pocketlens.server.site import write_site


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_site_holds_the_app_the_files_and_a_catalog_of_them(app: Path, lens: Path, tmp_path: Path) -> None:
    gallery = write_gallery_of(lens, tmp_path / "shelf.gallery")
    made = write_site(tmp_path / "site", bundles=[lens], galleries=[gallery], title="Käse", app=app)
    catalog = json.loads((made.folder / "catalog.json").read_text("utf-8"))
    assert catalog == made.catalog
    assert catalog["title"] == "Käse"
    (model,) = catalog["models"]
    (shelf,) = catalog["galleries"]
    for entry, source in ((model, lens), (shelf, gallery)):
        content = (made.folder / entry["path"]).read_bytes()
        assert content == source.read_bytes()
        assert entry["size"] == len(content)
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["sha256"][:8] in entry["path"]
    assert model["path"].startswith("bundles/tiny-model-")
    assert (model["name"], model["classes"], model["input"]) == ("tiny", 2, [8, 8])
    assert shelf["fingerprint"] == model["fingerprint"]
    assert (shelf["name"], shelf["kind"], shelf["entries"]) == ("Shelf", "products", 2)
    for runtime in catalog["runtimes"]:
        packed = (made.folder / runtime["path"]).read_bytes()
        assert runtime["sha256"] == hashlib.sha256(packed).hexdigest()
        assert gzip.decompress(packed)
        assert (made.folder / runtime["glue"]).is_file()
    assert names(app) < names(made.folder)


def test_the_service_worker_changes_with_the_site(app: Path, lens: Path, tmp_path: Path) -> None:
    def version(out: str, title: str = "a") -> str:
        made = write_site(tmp_path / out, bundles=[lens], title=title, app=app)
        assert made.catalog["version"] in (made.folder / "sw.js").read_text()
        return made.catalog["version"]

    first = version("first")
    assert version("again") == first
    assert version("titled", title="b") != first
    (app / "assets" / "index-abc12345.js").write_text("other")
    assert version("changed") != first


def test_a_first_visit_counts_what_is_fetched_before_the_app_starts(app: Path, lens: Path, tmp_path: Path) -> None:
    made = write_site(tmp_path / "site", bundles=[lens], app=app)
    webgpu = next(runtime for runtime in made.catalog["runtimes"] if runtime["provider"] == "webgpu")
    assert lens.stat().st_size < made.first_visit_bytes < made.size_bytes - webgpu["size"]


def test_a_site_is_replaced_only_on_request(app: Path, lens: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    write_site(out, bundles=[lens], app=app)
    with pytest.raises(OutputError, match="--force"):
        write_site(out, bundles=[lens], app=app)
    write_site(out, bundles=[lens], title="second", app=app, force=True)
    assert json.loads((out / "catalog.json").read_text())["title"] == "second"


def test_an_empty_folder_and_one_under_a_link_will_do(
    app: Path, lens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    write_site(tmp_path / "empty", bundles=[lens], app=app)
    monkeypatch.chdir(tmp_path / "empty")
    write_site(Path(), bundles=[lens], app=app, force=True)
    assert (tmp_path / "empty" / "catalog.json").is_file()


def test_what_is_no_site_is_left_alone(app: Path, lens: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "mine.jpg").write_bytes(b"x")
    with pytest.raises(OutputError, match="left alone"):
        write_site(folder, bundles=[lens], app=app, force=True)
    with pytest.raises(OutputError, match="is a file"):
        write_site(folder / "mine.jpg", bundles=[lens], app=app, force=True)
    with pytest.raises(OutputError, match="does not exist"):
        write_site(tmp_path / "no" / "site", bundles=[lens], app=app)
    assert names(folder) == {"mine.jpg"}


def truncated(lens: Path) -> None:
    lens.write_bytes(lens.read_bytes()[:-40])


def flipped(lens: Path) -> None:
    content = bytearray(lens.read_bytes())
    content[len(content) // 3] ^= 255
    lens.write_bytes(content)


def empty(lens: Path) -> None:
    lens.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncated, flipped, empty])
def test_a_damaged_bundle_leaves_the_old_site(damage, app: Path, lens: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    write_site(out, bundles=[lens], app=app)
    before = names(out)
    damage(lens)
    with pytest.raises(BundleError, match=r"Tiny Model\.lens"):
        write_site(out, bundles=[lens], app=app, force=True)
    assert names(out) == before
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_gallery_of_another_bundle_is_refused(app: Path, lens: Path, tmp_path: Path) -> None:
    gallery = write_gallery_of(lens, tmp_path / "foreign.gallery", fingerprint="0" * 64)
    with pytest.raises(UsageError, match=r"foreign\.gallery.*another bundle"):
        write_site(tmp_path / "site", bundles=[lens], galleries=[gallery], app=app)
    gallery.write_bytes(b"PK no zip")
    with pytest.raises(BundleError, match=r"foreign\.gallery"):
        write_site(tmp_path / "site", bundles=[lens], galleries=[gallery], app=app)
    assert not (tmp_path / "site").exists()


def test_what_does_not_fit_together_is_refused(app: Path, lens: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    twin = tmp_path / "twin.lens"
    twin.write_bytes(lens.read_bytes())
    with pytest.raises(UsageError, match="hold the same"):
        write_site(out, bundles=[lens, twin], app=app)
    with pytest.raises(UsageError, match="at least one"):
        write_site(out, bundles=[], app=app)
    with pytest.raises(UsageError, match="--title"):
        write_site(out, bundles=[lens], title="two\nlines", app=app)
    assert not out.exists()


def test_two_bundles_of_one_name_lie_side_by_side(app: Path, lens: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    second = tmp_path / "other" / lens.name
    pack(second, members={"graphs/int8.onnx": b"1", "graphs/float.onnx": b"2", "weights.bin": b"3"})
    models = write_site(tmp_path / "site", bundles=[lens, second], app=app).catalog["models"]
    assert len({model["id"] for model in models}) == 2


def test_an_app_that_is_not_built_says_how(app: Path, lens: Path, tmp_path: Path) -> None:
    (app / "sw.js").unlink()
    with pytest.raises(OutputError, match="npm run build"):
        built_app(app)
    with pytest.raises(PocketlensError, match="npm run build"):
        write_site(tmp_path / "site", bundles=[lens], app=app)


def test_a_failure_halfway_leaves_nothing(app: Path, lens: Path, tmp_path: Path) -> None:
    (app / "sw.js").write_text("no placeholder")
    with pytest.raises(OutputError, match="build the app again"):
        write_site(tmp_path / "site", bundles=[lens], app=app)
    assert {path.name for path in tmp_path.iterdir()} == {"app", lens.name}
