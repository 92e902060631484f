from pathlib import Path

import pytest
from tests.bundle.conftest import MEMBERS, repack

from pocketlens.bundle.archive import open_bundle
from pocketlens.bundle.unpack import unpack
from pocketlens.errors import BundleError


@pytest.mark.parametrize("name", ["lens", "coded_lens", "every_kind_lens"])
def test_files_are_the_members(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with open_bundle(request.getfixturevalue(name)) as bundle:
        artifact = unpack(bundle, tmp_path, "int8")
        assert artifact.graph.read_bytes() == MEMBERS["graphs/int8.onnx"]
        assert artifact.weights is not None
        assert artifact.weights.read_bytes() == bundle.read("weights.bin")
    assert (artifact.name, artifact.parameters, artifact.macs) == ("int8", 7, 11)


def test_of_a_damaged_member_nothing_is_left(every_kind_lens: Path, tmp_path: Path) -> None:
    def edit(members: dict[str, bytes]) -> None:
        members["weights.bin.plt"] = members["weights.bin.plt"][:-1] + b"\x3e"

    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"of an earlier graph")
    with (
        open_bundle(repack(every_kind_lens, tmp_path / "bad.lens", edit)) as bundle,
        pytest.raises(BundleError, match=r"bad\.lens: member 'weights\.bin': its SHA-256 .* bundle again"),
    ):
        unpack(bundle, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["float.onnx", "weights.bin"]
    assert (folder / "weights.bin").read_bytes() == b"of an earlier graph"
