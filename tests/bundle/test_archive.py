import json
import resource
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.bundle.conftest import edit_manifest, repack

from pocketlens.bundle.archive import open_bundle
from pocketlens.bundle.confidence import Confidence
from pocketlens.bundle.manifest import GraphEntry
from pocketlens.errors import BundleError, OutputError

Pack = Callable[..., int]

WEIGHTS = bytes(range(256)) + bytes(300)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- what a good bundle is


def test_the_zip_is_what_the_document_says(lens: Path) -> None:
    with zipfile.ZipFile(lens) as archive:
        methods = {info.filename: info.compress_type for info in archive.infolist()}
        assert methods == {
            "manifest.json": zipfile.ZIP_DEFLATED,
            "graphs/int8.onnx": zipfile.ZIP_DEFLATED,
            "graphs/float.onnx": zipfile.ZIP_DEFLATED,
            "weights.bin.zst": zipfile.ZIP_STORED,
            "embedding/whitening.bin.plt": zipfile.ZIP_STORED,
        }
        assert zstandard.decompress(archive.read("weights.bin.zst")) == WEIGHTS
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["schema_version"] == 2
    assert manifest["confidence"] == {"temperature": 0.5, "unknown_below": 3.25}
    assert manifest["embedding"] == {"features": 3, "dimensions": 2, "whitening": "embedding/whitening.bin"}
    assert manifest["members"]["embedding/whitening.bin"]["size"] == 4 * 3 + 4 * 2 + 3 * 2
    assert manifest["created"] == "2026-01-02T03:04:05+00:00"
    assert manifest["members"]["weights.bin"]["size"] == 556
    assert manifest["members"]["weights.bin"]["codec"] == "zstd"


def test_graphs_share_one_blob(lens: Path) -> None:
    with open_bundle(lens) as bundle:
        bundle.verify()
        preferred, int8 = bundle.graph(), bundle.graph("int8")
    assert (preferred.entry.name, preferred.graph) == ("float", b"a float graph")
    assert preferred.session == {"session.disable_quant_qdq": "1"}
    assert (int8.graph, int8.session, int8.entry.macs) == (b"an int8 graph " * 4, {}, 11)
    assert preferred.weights == int8.weights == WEIGHTS


def test_the_manifest_comes_back_as_it_went_in(lens: Path) -> None:
    with open_bundle(lens) as bundle:
        manifest = bundle.manifest
    assert manifest.spec.labels == ("cat", "Käse, dog")
    assert manifest.recipe == {"name": "int8"}
    assert manifest.baseline == {"top1": 0.75}
    assert manifest.target == {"device": "this"}
    assert manifest.graphs[0].measurement == {"n": 3}


def test_the_whitening_comes_back_as_it_went_in(lens: Path, tmp_path: Path, pack: Pack) -> None:
    with open_bundle(lens) as bundle:
        whitening = bundle.whitening()
    assert whitening is not None
    assert whitening.mean.tolist() == [1.0, 2.0, 3.0]
    assert whitening.scale.tolist() == [0.5, 0.25]
    assert whitening.codes.tolist() == [[1, 0, -1], [0, 127, 0]]
    pack(tmp_path / "plain.lens", confidence=None, whitening=None)
    with open_bundle(tmp_path / "plain.lens") as bundle:
        bundle.verify()
        assert bundle.whitening() is None
        assert bundle.manifest.embedding is None
        assert bundle.manifest.confidence == Confidence(temperature=1.0, unknown_below=None)


def test_a_bundle_of_schema_1_is_still_read(tmp_path: Path, pack: Pack) -> None:
    def age(manifest: Any) -> None:
        manifest["schema_version"] = 1
        del manifest["confidence"], manifest["embedding"]

    pack(tmp_path / "new.lens", confidence=None, whitening=None)
    old = repack(tmp_path / "new.lens", tmp_path / "old.lens", edit_manifest(age))
    with open_bundle(old) as bundle:
        bundle.verify()
        assert bundle.graph("int8").weights == WEIGHTS
        assert bundle.manifest.confidence == Confidence()
        assert bundle.whitening() is None
        assert "confidence" not in bundle.manifest.to_json()


def test_equal_arguments_give_equal_bytes(lens: Path, tmp_path: Path, pack: Pack) -> None:
    size = pack(tmp_path / "again.lens")
    assert (tmp_path / "again.lens").read_bytes() == lens.read_bytes()
    assert size == lens.stat().st_size


def test_members_may_be_files_and_need_no_graph(tmp_path: Path, pack: Pack) -> None:
    (tmp_path / "w").write_bytes(b"from a file")
    graph = GraphEntry(name="fp32", graph="graphs/fp32.onnx")
    members = {"graphs/fp32.onnx": tmp_path / "w", "galleries/shop.bin": b"later"}
    pack(tmp_path / "new.lens", graphs=(graph,), preferred="fp32", members=members)
    with open_bundle(tmp_path / "new.lens") as bundle:
        assert bundle.graph().graph == b"from a file"
        assert bundle.graph().weights is None
        assert bundle.read("galleries/shop.bin") == b"later"
        with pytest.raises(BundleError, match=r"new\.lens: there is no member 'nothing'; it has graphs/fp32\.onnx"):
            bundle.read("nothing")
        with pytest.raises(BundleError, match=r"new\.lens: there is no graph 'int8'; this bundle has fp32"):
            bundle.graph("int8")


# --- writing: whole or not at all


def test_an_existing_file_needs_force(lens: Path, pack: Pack) -> None:
    before = lens.read_bytes()
    with pytest.raises(OutputError, match=r"tiny\.lens exists; pass --force"):
        pack(lens, preferred="int8")
    assert lens.read_bytes() == before
    pack(lens, preferred="int8", force=True)
    with open_bundle(lens) as bundle:
        assert bundle.manifest.preferred == "int8"
    assert names(lens.parent) == ["tiny.lens"]


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_is_never_written_over(tmp_path: Path, pack: Pack, force: bool) -> None:
    (tmp_path / "out.lens").mkdir()
    with pytest.raises(OutputError, match=r"out\.lens (exists|is a folder)"):
        pack(tmp_path / "out.lens", force=force)
    assert names(tmp_path) == ["out.lens"]


@pytest.mark.parametrize("place", ["none/out.lens", "file/out.lens"])
def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path, pack: Pack, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"cannot write .*out\.lens: (No such file|Not a directory)"):
        pack(tmp_path / place)


@contextmanager
def full_disk(after_bytes: int) -> Iterator[None]:
    """Writing past `after_bytes` of any file fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("after_bytes", [0, 100, 900])
def test_a_full_disk_leaves_the_old_file(lens: Path, pack: Pack, after_bytes: int) -> None:
    before = lens.read_bytes()
    with full_disk(after_bytes), pytest.raises(OutputError, match=r"cannot write .*tiny\.lens: .*free some space"):
        pack(lens, force=True)
    assert names(lens.parent) == ["tiny.lens"]
    assert lens.read_bytes() == before


def test_a_missing_source_is_named(tmp_path: Path, pack: Pack) -> None:
    members = {"graphs/int8.onnx": tmp_path / "gone", "graphs/float.onnx": b"", "weights.bin": b""}
    with pytest.raises(OutputError, match=r"cannot read .*gone for the bundle: No such file"):
        pack(tmp_path / "out.lens", members=members)
    assert names(tmp_path) == []


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    # A real signal, while a real process writes a member far too large for it to be done.
    code = f"""
import os, signal, sys, threading
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from conftest import pack
folder = Path({str(tmp_path)!r})
def interrupt():
    while not any(p.suffix == ".part" for p in folder.iterdir()):
        pass
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
pack(folder / "out.lens", members={{
    "graphs/int8.onnx": os.urandom(30_000_000), "graphs/float.onnx": b"", "weights.bin": b""
}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "KeyboardInterrupt" in done.stderr
    assert done.returncode in (130, -signal.SIGINT)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": {"top1": float("nan")}}, r"cannot write .*out\.lens: is no valid JSON \(NaN"),
        ({"preferred": "half"}, "preferred: expected one of int8, float"),
        ({"members": {"weights.bin": b""}}, "needs 'graphs/int8.onnx', which is not a member"),
    ],
)
def test_what_no_reader_would_take_is_not_written(
    tmp_path: Path, pack: Pack, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        pack(tmp_path / "out.lens", **changes)
    assert names(tmp_path) == []


def test_labels_that_steer_a_terminal_are_not_written(lens: Path, tmp_path: Path, pack: Pack) -> None:
    with open_bundle(lens) as bundle:
        spec = replace(bundle.manifest.spec, labels=("cat", "\x1b[2J"))
    with pytest.raises(BundleError, match=r"spec\.labels: expected a text without control characters"):
        pack(tmp_path / "out.lens", spec=spec)
