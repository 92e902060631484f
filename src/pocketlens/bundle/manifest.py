"""What a bundle says about itself: manifest.json as frozen data, and the checks a reader owes it."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from pocketlens.bundle.confidence import Confidence
from pocketlens.bundle.embedding import Embedding
from pocketlens.bundle.fields import Fields
from pocketlens.bundle.spec_json import spec_from_json, spec_to_json
from pocketlens.errors import BundleError, ConfigError
from pocketlens.types import Json, ModelSpec

SCHEMA_VERSION = 2
"""2 added `confidence` and `embedding`."""

MANIFEST = "manifest.json"

MAX_MEMBER_BYTES = 2 * 1024**3
"""No member may unpack to more."""

SESSION_OPTIONS = frozenset(
    {
        "session.disable_quant_qdq",
        "session.enable_quant_qdq_cleanup",
        "session.qdqisint8allowed",
        "session.set_denormal_as_zero",
        "session.x64quantprecision",
        "mlas.enable_gemm_fastmath_arm64_bfloat16",
    }
)
"""Runtime options a bundle may ask for; others could make a runtime touch files, so they are refused."""

Codec = Literal["none", "zstd", "tensors"]

SUFFIXES: Mapping[Codec, str] = {"none": "", "zstd": ".zst", "tensors": ".plt"}
"""Codec -> what it adds to a member's name inside the zip."""

_SEGMENT = r"[A-Za-z0-9_](?:[A-Za-z0-9_.+ -]*[A-Za-z0-9_+-])?"
_GRAPH_NAME = re.compile(rf"(?=.{{1,64}}\Z){_SEGMENT}")
_MEMBER_PATH = re.compile(rf"(?=.{{1,200}}\Z){_SEGMENT}(/{_SEGMENT})*")


def is_safe_path(path: str) -> bool:
    """Whether a member's path is relative, plain, and stays in its folder on every system.

    Segments neither start with a dot nor end with a dot or blank (Windows drops those), so ".." cannot occur;
    backslashes and colons (Windows drives) are not among the characters allowed.
    """
    return _MEMBER_PATH.fullmatch(path) is not None


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file in the bundle.

    Args:
        size: bytes once decoded.
        sha256: of the decoded content, hexadecimal.
        codec: how it is coded before it enters the zip; `SUFFIXES` says what that adds to its name there.
        stored_size: bytes once the zip is undone, still coded; equals `size` with codec "none".
    """

    size: int
    sha256: str
    codec: Codec
    stored_size: int

    def __post_init__(self) -> None:
        if self.codec not in SUFFIXES:
            raise ConfigError(
                f"codec: expected {' or '.join(SUFFIXES)}, got {self.codec!r}; a newer pocketlens may know it"
            )
        for name in ("size", "stored_size"):
            if not 0 <= getattr(self, name) <= MAX_MEMBER_BYTES:
                raise ConfigError(f"{name}: must lie in 0..{MAX_MEMBER_BYTES}, got {getattr(self, name)}")
        if self.codec == "none" and self.size != self.stored_size:
            raise ConfigError(f"stored_size: without a codec it is `size`, {self.size}, got {self.stored_size}")

    def stored_name(self, path: str) -> str:
        """The name in the zip of the member that is called `path`."""
        return path + SUFFIXES[self.codec]


@dataclass(frozen=True, kw_only=True)
class GraphEntry:
    """One way to compute with the bundle's weights.

    Args:
        name: "int8", "float", "half".
        graph: the member that holds the ONNX graph.
        weights: the member that the graph calls by its last path segment as external data; None when weights
            are inside.
        session: options that the runtime must be opened with; keys of SESSION_OPTIONS only.
        parameters: how many numbers the model has.
        macs: multiply-accumulates of one input.
        measurement: figures of this graph on the device of `Manifest.target`; {} when not measured.
    """

    name: str
    graph: str
    weights: str | None = None
    session: Mapping[str, str] = field(default_factory=dict)
    parameters: int = 0
    macs: int = 0
    measurement: Json = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The name becomes a file's name when the bundle is unpacked.
        if not _GRAPH_NAME.fullmatch(self.name):
            raise ConfigError(
                "name: a graph's name has at most 64 letters, digits, blanks and `_.+-`, "
                f"got {self.name[:80]!r}; rename the graph"
            )
        if unknown := sorted(set(self.session) - SESSION_OPTIONS):
            known = ", ".join(sorted(SESSION_OPTIONS))
            raise ConfigError(f"session: options must be among {known}; got {', '.join(unknown)[:200]}")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All of manifest.json.

    Args:
        created_with: name and version of the writer.
        created: when, ISO 8601.
        spec: what is needed to use the model: input, preprocessing, task, labels.
        graphs: in the writer's order; their names differ.
        preferred: the graph that won on `target`.
        recipe: the bound recipe that made the model; {} when unknown.
        baseline: the original's measurement; {} when not measured.
        target: the profile of the device it was measured on; {} when not measured.
        members: path -> what it holds. Members that nothing here names are allowed.
        confidence: how logits become confidences.
        embedding: of the graphs' second output; None when they have none.
        schema_version: of this layout; what schema 1 lacks has its defaults.
    Raises: BundleError when the parts do not fit together.
    """

    created_with: str
    created: str
    spec: ModelSpec
    graphs: tuple[GraphEntry, ...]
    preferred: str
    recipe: Json
    baseline: Json
    target: Json
    members: Mapping[str, Member]
    confidence: Confidence = field(default_factory=Confidence)
    embedding: Embedding | None = None
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        names = [graph.name for graph in self.graphs]
        if not names or len(set(names)) != len(names):
            raise BundleError(f"graphs: expected at least one, with names that differ, got {names}")
        if self.preferred not in names:
            raise BundleError(f"preferred: expected one of {', '.join(names)}, got {self.preferred!r}")
        for path in self.members:
            if not is_safe_path(path):
                raise BundleError(f"members: {path[:80]!r} is not a plain relative path; it is refused as unsafe")
        # Case folded: on many systems `A.bin` and `a.bin` are one file.
        stored = [MANIFEST, *(member.stored_name(path).casefold() for path, member in self.members.items())]
        if len(set(stored)) != len(stored):
            raise BundleError("members: two members, or one and the manifest, share a name in the zip")
        for graph in self.graphs:
            for path in (graph.graph, graph.weights):
                if path is not None and path not in self.members:
                    raise BundleError(f"graph {graph.name!r} needs {path[:80]!r}, which is not a member")
        if self.embedding is not None:
            self.embedding.check_member(self.members)

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of what the members hold: equal models have equal ones, whenever they were packed."""
        lines = (f"{member.sha256}  {path}\n" for path, member in sorted(self.members.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def graph(self, name: str | None = None) -> GraphEntry:
        """A graph by name, or the preferred one. Raises BundleError listing those there are."""
        wanted = self.preferred if name is None else name
        for entry in self.graphs:
            if entry.name == wanted:
                return entry
        raise BundleError(f"there is no graph {wanted!r}; this bundle has {', '.join(g.name for g in self.graphs)}")

    def to_json(self) -> Json:
        """As JSON-able data; docs/bundle.md says what each field means."""
        second = {
            "confidence": self.confidence.to_json(),
            "embedding": None if self.embedding is None else self.embedding.to_json(),
        }
        return {
            "schema_version": self.schema_version,
            "created_with": self.created_with,
            "created": self.created,
            "spec": spec_to_json(self.spec),
            "graphs": [
                {
                    "name": graph.name,
                    "graph": graph.graph,
                    "weights": graph.weights,
                    "session": dict(graph.session),
                    "parameters": graph.parameters,
                    "macs": graph.macs,
                    "measurement": graph.measurement,
                }
                for graph in self.graphs
            ],
            "preferred": self.preferred,
            **(second if self.schema_version > 1 else {}),
            "recipe": self.recipe,
            "baseline": self.baseline,
            "target": self.target,
            "members": {
                path: {
                    "size": member.size,
                    "sha256": member.sha256,
                    "codec": member.codec,
                    "stored_size": member.stored_size,
                }
                for path, member in self.members.items()
            },
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_json(cls, data: object) -> "Manifest":
        """The inverse of `to_json`, for JSON of unknown origin.

        Raises: BundleError naming the field that is missing, of a wrong type, out of range or unknown.
        """
        try:
            return _manifest(data)
        except ConfigError as error:
            raise BundleError(str(error)) from error


def _manifest(data: object) -> Manifest:
    with Fields(data) as fields:
        version = fields.schema_version(SCHEMA_VERSION)
        fingerprint = fields.sha256("fingerprint")
        # Schema 1 has neither field; there they are refused as any unknown one.
        confidence = Confidence() if version < 2 else Confidence.from_fields(fields.child("confidence"))
        embedding = None if version < 2 else fields.optional_child("embedding")
        manifest = Manifest(
            schema_version=version,
            created_with=fields.text("created_with"),
            created=fields.date("created"),
            spec=spec_from_json(fields.mapping("spec")),
            graphs=tuple(_graph(graph) for graph in fields.children("graphs")),
            preferred=fields.text("preferred"),
            recipe=fields.mapping("recipe"),
            baseline=fields.mapping("baseline"),
            target=fields.mapping("target"),
            members={path: _member(member) for path, member in fields.children_by_name("members").items()},
            confidence=confidence,
            embedding=embedding and Embedding.from_fields(embedding),
        )
    if fingerprint != manifest.fingerprint:
        raise BundleError(f"fingerprint: the members give {manifest.fingerprint}, got {fingerprint}")
    return manifest


def _graph(fields: Fields) -> GraphEntry:
    with fields:
        return GraphEntry(
            name=fields.text("name"),
            graph=fields.text("graph"),
            weights=fields.optional_text("weights"),
            session=fields.texts_by_name("session"),
            parameters=fields.integer("parameters", low=0, high=2**53),
            macs=fields.integer("macs", low=0, high=2**53),
            measurement=fields.mapping("measurement"),
        )


def _member(fields: Fields) -> Member:
    with fields:
        return Member(
            size=fields.integer("size", low=0, high=MAX_MEMBER_BYTES),
            sha256=fields.sha256("sha256"),
            # Member itself refuses any other name.
            codec=cast("Codec", fields.text("codec")),
            stored_size=fields.integer("stored_size", low=0, high=MAX_MEMBER_BYTES),
        )
