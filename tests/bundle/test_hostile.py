"""Bundles that a stranger made: refused in one line, before they cost memory."""

import contextlib
import io
import itertools
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard
from tests.bundle.conftest import contents, edit_manifest, repack

from pocketlens.bundle.archive import MAX_MANIFEST_BYTES, Bundle, open_bundle
from pocketlens.bundle.coding import decode
from pocketlens.bundle.manifest import Manifest, Member
from pocketlens.bundle.whitening import Whitening
from pocketlens.bundle.zip_rules import naming
from pocketlens.errors import BundleError

Pack = Callable[..., int]


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


@pytest.fixture(params=["lens", "every_kind_lens"])
def either(request: pytest.FixtureRequest) -> Path:
    """The small bundle in both codecs, with every kind of record."""
    return request.getfixturevalue(request.param)


def read(path: Path, content: bytes) -> tuple[Manifest, dict[str, bytes]]:
    """As `contents`, of a file that never is on disk, where thousands of them take minutes."""
    with naming(path):
        archive = zipfile.ZipFile(io.BytesIO(content))
    with Bundle(path, archive) as bundle:
        return bundle.manifest, {name: bundle.read(name) for name in bundle.manifest.members}


def test_every_truncation_is_refused(either: Path) -> None:
    whole, cut = either.read_bytes(), Path("cut.lens")
    for length in range(len(whole)):
        with pytest.raises(BundleError, match=r"cut\.lens: "):
            read(cut, whole[:length])


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_is_refused_or_harmless(either: Path, mask: int) -> None:
    whole, flipped = either.read_bytes(), Path("flipped.lens")
    expected = contents(either)
    refusals: list[str] = []
    for place in range(len(whole)):
        try:
            got = read(flipped, whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
        except BundleError as error:
            refusals.append(str(error))
        else:
            assert got == expected, place
    # The rest are dates, attributes and the local copies of sizes, which nothing reads.
    assert len(refusals) > len(whole) * 0.8
    assert all(line.startswith(f"{flipped}: ") and "\n" not in line for line in refusals)


@pytest.fixture
def coded(every_kind_lens: Path) -> tuple[bytes, Member]:
    """Weights in records of every kind, and what the manifest says of them."""
    with open_bundle(every_kind_lens) as bundle, zipfile.ZipFile(every_kind_lens) as archive:
        return archive.read("weights.bin.plt"), bundle.manifest.members["weights.bin"]


def test_every_bit_of_coded_weights_counts(coded: tuple[bytes, Member]) -> None:
    # Without the zip around them, whose checksum would notice first.
    stream, member = coded
    expected = decode(io.BytesIO(stream), member)
    for place, bit in itertools.product(range(len(stream)), range(8)):
        flipped = bytearray(stream)
        flipped[place] ^= 1 << bit
        with contextlib.suppress(BundleError, zstandard.ZstdError):
            assert decode(io.BytesIO(flipped), member) == expected, (place, bit)


def test_every_truncation_of_coded_weights_is_refused(coded: tuple[bytes, Member]) -> None:
    stream, member = coded
    for length in range(len(stream)):
        with pytest.raises((BundleError, zstandard.ZstdError)):
            decode(io.BytesIO(stream[:length]), member)


def test_weights_of_a_later_format_say_so(every_kind_lens: Path, tmp_path: Path) -> None:
    def edit(members: dict[str, bytes]) -> None:
        members["weights.bin.plt"] = b"PLT2" + members["weights.bin.plt"][4:]

    with (
        open_bundle(repack(every_kind_lens, tmp_path / "later.lens", edit)) as bundle,
        pytest.raises(BundleError, match=r"weights are in the format PLT2, of a newer pocketlens; upgrade"),
    ):
        bundle.verify()


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
