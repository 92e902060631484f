import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pocketlens.bundle.confidence import Confidence
from pocketlens.bundle.embedding import Embedding
from pocketlens.bundle.manifest import GraphEntry, Manifest, Member, is_safe_path
from pocketlens.errors import BundleError, ConfigError
from pocketlens.types import Json, ModelSpec, Preprocessing

A, B, C = "a" * 64, "b" * 64, "c" * 64

MANIFEST = Manifest(
    created_with="pocketlens 0.1.0",
    created="2026-01-02T03:04:05+00:00",
    spec=ModelSpec(name="tiny", input_shape=(3, 8, 8), preprocessing=Preprocessing(resize=None, crop=(8, 8))),
    graphs=(
        GraphEntry(
            name="int8",
            graph="graphs/int8.onnx",
            weights="weights.bin",
            session={"session.disable_quant_qdq": "1"},
            parameters=12,
            macs=34,
            measurement={"agreement": 0.98},
        ),
    ),
    preferred="int8",
    recipe={"passes": [{"name": "QuantizeStatic"}]},
    baseline={},
    target={"cpu": "one"},
    members={
        "weights.bin": Member(size=9, sha256=B, codec="zstd", stored_size=5),
        "graphs/int8.onnx": Member(size=3, sha256=A, codec="none", stored_size=3),
        "embedding/whitening.bin": Member(size=26, sha256=C, codec="zstd", stored_size=20),
    },
    confidence=Confidence(temperature=0.75, unknown_below=-1.5),
    embedding=Embedding(features=3, dimensions=2, whitening="embedding/whitening.bin"),
)


def test_round_trip_through_text() -> None:
    assert Manifest.from_json(json.loads(json.dumps(MANIFEST.to_json()))) == MANIFEST


def test_the_fingerprint_is_the_hash_of_a_sha256sum_listing() -> None:
    listing = f"{C}  embedding/whitening.bin\n{A}  graphs/int8.onnx\n{B}  weights.bin\n"
    assert MANIFEST.fingerprint == hashlib.sha256(listing.encode()).hexdigest()
    assert replace(MANIFEST, created="2027-01-01", recipe={}).fingerprint == MANIFEST.fingerprint


def test_a_graph_by_name_or_the_preferred_one() -> None:
    assert MANIFEST.graph().name == MANIFEST.graph("int8").name == "int8"
    with pytest.raises(BundleError, match="there is no graph 'half'; this bundle has int8"):
        MANIFEST.graph("half")


def change(path: tuple[str | int, ...], value: Any) -> Callable[[Json], None]:
    def apply(data: Json) -> None:
        place: Any = data
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return apply


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            change(("schema_version",), 3),
            r"written by a newer pocketlens \(schema 3, this one reads 2\): upgrade$",
        ),
        (change(("schema_version",), 0), "schema_version: expected a whole number in"),
        (change(("schema_version",), "1"), "schema_version: expected a whole number, got a text"),
        (change(("schema_version",), True), "schema_version: expected a whole number, got a boolean"),
        (change(("created",), "yesterday"), "created: expected a date in ISO 8601"),
        (change(("galleries",), {}), "the whole: holds fields this pocketlens does not know: galleries"),
        (change(("fingerprint",), A), "fingerprint: the members give"),
        (change(("fingerprint",), "A" * 64), "fingerprint: expected 64 lower-case hexadecimal digits"),
        (change(("preferred",), "half"), "preferred: expected one of int8, got 'half'"),
        (change(("recipe",), []), "recipe: expected an object, got a list"),
        (change(("graphs",), []), "graphs: expected at least one"),
        (change(("graphs",), {}), "graphs: expected a list of objects, got an object"),
        (change(("graphs", 0), 5), r"graphs\[0\]: expected an object, got the number 5"),
        (change(("graphs", 0, "macs"), 1.5), r"graphs\[0\].macs: expected a whole number, got the number 1.5"),
        (change(("graphs", 0, "macs"), -1), r"graphs\[0\].macs: expected a whole number in 0\.\."),
        (change(("graphs", 0, "name"), "../int8"), r"graphs\[0\]: name: a graph's name has"),
        (change(("graphs", 0, "weights"), "w.bin"), "graph 'int8' needs 'w.bin', which is not a member"),
        (
            change(("graphs", 0, "session", "session.disable_quant_qdq"), 1),
            r"graphs\[0\].session.session.disable_quant_qdq: expected a text",
        ),
        (
            change(("graphs", 0, "session", "session.model_external_initializers_file_folder_path"), "/"),
            r"graphs\[0\]: session: options must be among",
        ),
        (change(("members", "weights.bin", "codec"), "lzma"), "members.weights.bin: codec: expected none or zstd"),
        (change(("members", "weights.bin", "size"), 2**31 + 1), "members.weights.bin.size: expected a whole number in"),
        (change(("members", "weights.bin", "sha256"), "00"), "members.weights.bin.sha256: expected 64"),
        (
            change(("members", "graphs/int8.onnx", "stored_size"), 4),
            "members.graphs/int8.onnx: stored_size: without a codec it is `size`, 3, got 4",
        ),
        (change(("spec", "task"), None), "spec.task: expected a text, got null"),
        (
            change(("schema_version",), 1),
            "the whole: holds fields this pocketlens does not know: confidence, embedding",
        ),
        (change(("confidence",), None), "confidence: expected an object, got null"),
        (change(("confidence", "temperature"), 0), "confidence: temperature: must be a finite number above 0, got 0"),
        (change(("confidence", "temperature"), -1.5), "confidence: temperature: must be a finite number above 0"),
        (change(("confidence", "temperature"), True), "confidence.temperature: expected a finite number, got a bool"),
        (change(("confidence", "temperature"), 10**400), "confidence.temperature: expected a finite number, got the"),
        (change(("confidence", "temperature"), float("inf")), "confidence.temperature: expected a finite number"),
        (change(("confidence", "unknown_below"), "low"), "confidence.unknown_below: expected a finite number, got a t"),
        (change(("confidence", "unknown_below"), float("nan")), "confidence.unknown_below: expected a finite number"),
        (
            change(("confidence",), {"temperature": 1}),
            "confidence.unknown_below: expected a finite number, but the fie",
        ),
        (change(("confidence", "beta"), 1), "confidence: holds fields this pocketlens does not know: beta"),
        (change(("embedding",), []), "embedding: expected an object, got a list"),
        (change(("embedding", "features"), 0), r"embedding.features: expected a whole number in 1\.\.65536, got 0"),
        (change(("embedding", "dimensions"), 257), r"embedding.dimensions: expected a whole number in 1\.\.3, got 257"),
        (change(("embedding", "dimensions"), 1), "embedding: a whitening of 3 features to 1 dimensions takes 19 bytes"),
        (change(("embedding", "whitening"), "w.bin"), "embedding needs 'w.bin', which is not a member"),
        (
            change(("embedding", "whitening"), "graphs/int8.onnx"),
            "embedding: a whitening of 3 .* takes 26 bytes, .* 3$",
        ),
    ],
)
def test_wrong_fields_are_named(edit: Callable[[Json], None], message: str) -> None:
    data = json.loads(json.dumps(MANIFEST.to_json()))
    edit(data)
    with pytest.raises(BundleError, match=f"^{message}"):
        Manifest.from_json(data)


@pytest.mark.parametrize("name", sorted(MANIFEST.to_json()))
def test_missing_fields_are_named(name: str) -> None:
    data = MANIFEST.to_json()
    del data[name]
    with pytest.raises(BundleError, match=f"^{name}: expected .*, but the field is missing"):
        Manifest.from_json(data)


def test_schema_1_has_neither_confidence_nor_embedding() -> None:
    old = replace(MANIFEST, schema_version=1, confidence=Confidence(), embedding=None)
    data = json.loads(json.dumps(old.to_json()))
    assert not {"confidence", "embedding"} & set(data)
    assert Manifest.from_json(data) == old


def test_a_bundle_without_embedding_says_null() -> None:
    plain = replace(MANIFEST, embedding=None)
    data = json.loads(json.dumps(plain.to_json()))
    assert data["embedding"] is None
    assert Manifest.from_json(data) == plain


def test_whole_numbers_are_numbers_too() -> None:
    data = json.loads(json.dumps(MANIFEST.to_json()))
    data["confidence"] = {"temperature": 2, "unknown_below": None}
    assert Manifest.from_json(data).confidence == Confidence(temperature=2.0, unknown_below=None)


def test_a_newer_schema_is_named_before_anything_it_changed() -> None:
    with pytest.raises(BundleError, match="schema 7, this one reads 2"):
        Manifest.from_json({"schema_version": 7, "something": "else"})


@pytest.mark.parametrize("path", ["weights.bin", "graphs/int8.onnx", "galleries/my shop_1+2.bin", "1 Step.onnx"])
def test_safe_paths(path: str) -> None:
    assert is_safe_path(path)


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "..", "../a", "a/../b", "a/..", "/etc/passwd", "//a", "a//b", "a/", "./a"),
        *("a\\b", "..\\a", "C:a", "C:\\a", "C:/a", "a\0b", "a\nb", "a\n", ".hidden", "a./b", "a ", "~/a", "é"),
        "a" * 201,
    ],
)
def test_unsafe_paths(path: str) -> None:
    assert not is_safe_path(path)
    with pytest.raises(BundleError, match="not a plain relative path"):
        replace(MANIFEST, members={**MANIFEST.members, path: Member(size=0, sha256=A, codec="none", stored_size=0)})


@pytest.mark.parametrize("path", ["manifest.json", "Manifest.JSON", "WEIGHTS.bin.zst", "graphs/INT8.onnx"])
def test_members_that_would_be_one_file_are_refused(path: str) -> None:
    member = Member(size=0, sha256=A, codec="none", stored_size=0)
    with pytest.raises(BundleError, match="share a name"):
        replace(MANIFEST, members={**MANIFEST.members, path: member})


def test_graphs_of_one_name_are_refused() -> None:
    with pytest.raises(BundleError, match="names that differ"):
        replace(MANIFEST, graphs=MANIFEST.graphs * 2)


def test_a_member_larger_than_the_limit_is_refused() -> None:
    with pytest.raises(ConfigError, match="size: must lie in"):
        Member(size=2 * 1024**3 + 1, sha256=A, codec="zstd", stored_size=5)
