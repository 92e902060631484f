"""Where a bundle's bytes are, on a blob whose records are counted by hand."""

from pathlib import Path

import numpy as np
import pytest
from tests.bundle.conftest import MEMBERS, pack

from pocketlens.bundle.archive import open_bundle
from pocketlens.bundle.contents import Part, parts
from pocketlens.bundle.tensor_coding import Span

NOISE = np.random.default_rng(0).bytes(600)
BLOB = NOISE + bytes(40) + NOISE[:40][::-1] + bytes(120)
"""Noise is stored as it is, zeros cost nothing."""


def found(path: Path, tensors: dict[str, dict[Span, str]]) -> dict[str, Part]:
    with open_bundle(path) as bundle:
        rows = parts(path, bundle, tensors)
    assert sum(row.stored_bytes for row in rows) == path.stat().st_size
    assert [row.stored_bytes for row in rows] == sorted((row.stored_bytes for row in rows), reverse=True)
    return {row.name: row for row in rows}


@pytest.fixture
def lens(tmp_path: Path) -> Path:
    path = tmp_path / "counted.lens"
    spans = [Span(0, 600), Span(640, 40, 4), Span(680, 120, 4)]
    pack(path, members=MEMBERS | {"weights.bin": BLOB}, tensors={"weights.bin": spans})
    return path


def test_a_record_of_two_tensors_is_divided_by_their_lengths(lens: Path) -> None:
    """640 bytes of one record, kind 1, two numbers of 2 bytes; then 160 of another, 40 of noise before zeros."""
    tensors = {Span(0, 150): "a", Span(150, 450): "b", Span(640, 40, 4): "c", Span(680, 120, 4): "zeros"}
    rows = found(lens, {"weights.bin": tensors})
    assert {name: rows[name].size_bytes for name in ("a", "b", "c", "zeros", "padding")} == {
        "a": 150, "b": 450, "c": 40, "zeros": 120, "padding": 40,
    }  # fmt: skip
    first = rows["a"].stored_bytes / 150
    assert rows["b"].stored_bytes == pytest.approx(450 * first, abs=1)
    assert 600 < rows["a"].stored_bytes + rows["b"].stored_bytes + rows["padding"].stored_bytes < 650
    assert rows["zeros"].stored_bytes == pytest.approx(3 * rows["c"].stored_bytes, abs=2)
    assert 40 < rows["c"].stored_bytes + rows["zeros"].stored_bytes < 80


def test_tensors_alike_are_one_part(lens: Path) -> None:
    rows = found(lens, {"weights.bin": {Span(0, 600): "codes", Span(640, 160): "codes"}})
    assert rows["codes"].size_bytes == 760


def test_unknown_tensors_leave_the_blob_whole(lens: Path) -> None:
    rows = found(lens, {})
    assert rows["weights.bin"].size_bytes == len(BLOB)
    assert {"graphs/int8.onnx", "graphs/float.onnx", "embedding/whitening.bin", "manifest.json"} <= set(rows)


def test_tensors_that_overlap_or_leave_the_blob_are_left_out(lens: Path) -> None:
    """A stranger's graph may say anything."""
    odd = {Span(0, 600): "a", Span(500, 200): "over a", Span(700, 200): "beyond", Span(650, 0): "none"}
    rows = found(lens, {"weights.bin": odd | {Span(-8, 4): "before"}})
    assert rows["a"].size_bytes == 600
    assert rows["padding"].size_bytes == 200
    assert not {"over a", "beyond", "none", "before"} & set(rows)
