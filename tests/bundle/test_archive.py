import json
import resource
import shutil
import signal
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from pocketlens.bundle.archive import MAX_MANIFEST_BYTES, open_bundle
from pocketlens.bundle.confidence import Confidence
from pocketlens.bundle.manifest import GraphEntry
from pocketlens.bundle.whitening import Whitening
from pocketlens.errors import BundleError, OutputError

Pack = Callable[..., int]

WEIGHTS = bytes(range(256)) + bytes(300)


def repack(source: Path, out: Path, edit: Callable[[dict[str, bytes]], None]) -> Path:
    """The same zip with its members' stored bytes changed by `edit`."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    edit(members)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out


def contents(path: Path) -> tuple[Any, dict[str, bytes]]:
    with open_bundle(path) as bundle:
        return bundle.manifest, {name: bundle.read(name) for name in bundle.manifest.members}


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
            "embedding/whitening.bin.zst": zipfile.ZIP_STORED,
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


# --- reading what a stranger made


def test_what_is_no_bundle(tmp_path: Path) -> None:
    cases = {"empty": b"", "junk": b"junk " * 100, "image": b"\x89PNG\r\n\x1a\n" + bytes(100)}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder").mkdir()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with zipfile.ZipFile(tmp_path / "hollow.zip", "w"):
        pass
    expected = {
        "empty": "it is empty",
        "junk": "is damaged",
        "image": "is damaged",
        "folder": "it is a folder",
        "gone": "it does not exist",
        "other.zip": "this zip has no manifest.json",
        "hollow.zip": "this zip has no manifest.json",
    }
    for name, reason in expected.items():
        with pytest.raises(BundleError, match=rf"{name}: .*{reason}") as caught:
            open_bundle(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_every_truncation_is_refused(lens: Path, tmp_path: Path) -> None:
    whole, cut = lens.read_bytes(), tmp_path / "cut.lens"
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        with pytest.raises(BundleError, match=r"cut\.lens: "):
            contents(cut)


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_is_refused_or_harmless(lens: Path, tmp_path: Path, mask: int) -> None:
    whole, flipped = lens.read_bytes(), tmp_path / "flipped.lens"
    expected = contents(lens)
    refusals: list[str] = []
    for place in range(len(whole)):
        flipped.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
        try:
            got = contents(flipped)
        except BundleError as error:
            refusals.append(str(error))
        else:
            assert got == expected, place
    # The rest are dates, attributes and the local copies of sizes, which nothing reads.
    assert len(refusals) > len(whole) * 0.8
    assert all(line.startswith(f"{flipped}: ") and "\n" not in line for line in refusals)


def edit_manifest(change: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    def edit(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        change(manifest)
        members["manifest.json"] = json.dumps(manifest).encode()

    return edit


def put(name: str, content: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda members: members.update({name: content})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (put("manifest.json", b"no json"), r"manifest\.json: is no valid JSON .*download the bundle again"),
        (put("manifest.json", b"[]"), r"manifest\.json: the whole: expected an object, got a list"),
        (put("manifest.json", b'{"a":' * 100_000), r"manifest\.json: is nested too deep"),
        (put("manifest.json", b" " * (MAX_MANIFEST_BYTES + 1)), r"manifest\.json unpacks to 16777217 bytes"),
        (edit_manifest(lambda m: m.update(schema_version=3)), "written by a newer pocketlens.*upgrade"),
        (edit_manifest(lambda m: m["embedding"].update(features=4)), "takes 32 bytes, member .* has 26"),
        (put("extra.txt", b"hello"), r"holds 'extra\.txt', which its manifest does not name"),
        (put("../escape", b"hello"), r"member '\.\./escape' is no plain relative path"),
        (put("/etc/cron.d/x", b"hello"), "member '/etc/cron.d/x' is no plain relative path"),
        (put("a\\b", b"hello"), "is no plain relative path"),
        (put("C:/x", b"hello"), "member 'C:/x' is no plain relative path"),
        (lambda members: members.pop("graphs/int8.onnx"), r"member 'graphs/int8\.onnx' is missing"),
        (lambda members: members.pop("manifest.json"), r"this zip has no manifest\.json"),
        (put("graphs/float.onnx", b"another graph, longer"), r"member 'graphs/float\.onnx' is 21 bytes in the zip"),
    ],
)
def test_at_once_refused(lens: Path, tmp_path: Path, edit: Callable[[dict[str, bytes]], None], message: str) -> None:
    with pytest.raises(BundleError, match=rf"bad\.lens: .*{message}"):
        open_bundle(repack(lens, tmp_path / "bad.lens", edit))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (put("graphs/float.onnx", b"b float graph"), r"member 'graphs/float\.onnx': its SHA-256 is not the one"),
        (
            edit_manifest(lambda m: m["members"]["weights.bin"].update(size=555)),
            r"member 'weights\.bin': unpacks to more than the 555 bytes it says",
        ),
        (
            edit_manifest(lambda m: m["members"]["weights.bin"].update(size=557)),
            r"member 'weights\.bin': unpacks to 556 bytes, its manifest says 557",
        ),
    ],
)
def test_refused_when_read(lens: Path, tmp_path: Path, edit: Callable[[dict[str, bytes]], None], message: str) -> None:
    with (
        open_bundle(repack(lens, tmp_path / "bad.lens", edit)) as bundle,
        pytest.raises(BundleError, match=rf"bad\.lens: {message}.*; copy or download the bundle again"),
    ):
        bundle.verify()


def test_a_whitening_of_no_numbers_is_refused(tmp_path: Path, pack: Pack) -> None:
    whitening = Whitening(mean=np.zeros(3, np.float32), scale=np.ones(2, np.float32), codes=np.ones((2, 3), np.int8))
    whitening.mean[1] = np.nan
    pack(tmp_path / "bad.lens", whitening=whitening)
    with (
        open_bundle(tmp_path / "bad.lens") as bundle,
        pytest.raises(BundleError, match=r"bad\.lens: member 'embedding/whitening\.bin': .*mean must be finite"),
    ):
        bundle.verify()


def test_a_member_that_occurs_twice_is_refused(lens: Path) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(lens, "a") as archive:
        warnings.simplefilter("ignore", UserWarning)  # zipfile's own "Duplicate name", which is the point
        archive.writestr("graphs/int8.onnx", b"another")
    with pytest.raises(BundleError, match=r"tiny\.lens: holds two members of one name"):
        open_bundle(lens)


def test_a_zip_bomb_by_deflate_is_refused_unread(lens: Path, tmp_path: Path) -> None:
    bomb = repack(lens, tmp_path / "bomb.lens", put("graphs/int8.onnx", bytes(200_000_000)))
    assert bomb.stat().st_size < 300_000
    with pytest.raises(BundleError, match=r"'graphs/int8\.onnx' is 200000000 bytes in the zip, its manifest says 56"):
        open_bundle(bomb)


def test_a_deflate_bomb_that_lies_about_its_size_is_refused(lens: Path, tmp_path: Path) -> None:
    # Both size fields of the zip say 56, as the manifest does; the stream goes on for 1 MB.
    bomb = repack(lens, tmp_path / "bomb.lens", put("graphs/int8.onnx", bytes(1_000_000)))
    lie = bomb.read_bytes().replace((1_000_000).to_bytes(4, "little"), (56).to_bytes(4, "little"))
    bomb.write_bytes(lie)
    with open_bundle(bomb) as bundle, pytest.raises(BundleError, match=r"member 'graphs/int8\.onnx': is damaged"):
        bundle.read("graphs/int8.onnx")


def test_a_zstd_bomb_is_refused_while_it_decodes(lens: Path, tmp_path: Path) -> None:
    coded = zstandard.compress(bytes(300_000_000))

    def edit(members: dict[str, bytes]) -> None:
        members["weights.bin.zst"] = coded
        edit_manifest(lambda m: m["members"]["weights.bin"].update(stored_size=len(coded)))(members)

    with (
        open_bundle(repack(lens, tmp_path / "bomb.lens", edit)) as bundle,
        pytest.raises(BundleError, match="more than the 556 bytes it says; it is refused as unsafe"),
    ):
        bundle.graph()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_methods_are_refused(lens: Path, tmp_path: Path, method: int) -> None:
    shutil.copy(lens, tmp_path / "bad.lens")
    with zipfile.ZipFile(tmp_path / "bad.lens", "a", method) as archive:
        archive.writestr("extra", b"hello")
    with pytest.raises(BundleError, match=rf"compressed by method {method}; expected stored or deflated"):
        open_bundle(tmp_path / "bad.lens")


def test_too_many_members_are_refused(lens: Path) -> None:
    with zipfile.ZipFile(lens, "a") as archive:
        for index in range(1000):
            archive.writestr(f"m{index}", b"")
    with pytest.raises(BundleError, match="holds 1005 members, at most 1000 are allowed"):
        open_bundle(lens)
