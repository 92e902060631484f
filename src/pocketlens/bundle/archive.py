"""The .lens file: written whole or not at all, read as if a stranger had made it."""

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, BinaryIO

from pocketlens.bundle.bounded import read_bounded
from pocketlens.bundle.coding import decode, decode_to, encode
from pocketlens.bundle.confidence import Confidence
from pocketlens.bundle.embedding import Embedding
from pocketlens.bundle.manifest import MANIFEST, GraphEntry, Manifest, Member
from pocketlens.bundle.parse import parse
from pocketlens.bundle.tensor_coding import Span
from pocketlens.bundle.whitening import WHITENING, Whitening
from pocketlens.bundle.zip_rules import check_directory, naming, zip_entry
from pocketlens.errors import BundleError, OutputError
from pocketlens.types import Json, ModelSpec
from pocketlens.whole_file import whole_file

MAX_MANIFEST_BYTES = 16 * 1024**2

_AGAIN = "copy or download the bundle again"


@dataclass(frozen=True, kw_only=True)
class GraphFiles:
    """One graph, decoded and checked.

    Args:
        graph: an ONNX file.
        weights: the file that it calls `weights.bin` as external data, or None.
        session: options that the runtime must be opened with.
        entry: what the manifest says about it.
    """

    graph: bytes
    weights: bytes | None
    session: Mapping[str, str]
    entry: GraphEntry


class Bundle:
    """An open bundle: its manifest is checked, its members are checked as they are read.

    Args:
        path: for errors.
        archive: open; the bundle closes it.
    Raises: BundleError when the zip, its manifest and its list of members do not fit together.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive
        with naming(path):
            check_directory(archive, MANIFEST, MAX_MANIFEST_BYTES, "a .lens bundle")
            with naming(MANIFEST, _AGAIN), archive.open(MANIFEST) as source:
                self.manifest = Manifest.from_json(parse(read_bounded(source, MAX_MANIFEST_BYTES)))
            _check_members(archive, self.manifest.members)

    def __enter__(self) -> "Bundle":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def read(self, path: str) -> bytes:
        """The decoded content of a member.

        Raises: BundleError when there is no such member, or it is damaged, or unpacks to more than it says.
        """
        with self._member(path) as (source, member):
            return decode(source, member)

    def extract(self, path: str, place: BinaryIO) -> None:
        """Decode a member into a file, piece by piece, in a few megabytes of memory however large it is.

        Args:
            path: of the member.
            place: an empty file, opened "w+b" as records may refer to earlier ones. It is right once this returns.
        Raises: as `read`; OutputError on a full disk.
        """
        with self._member(path) as (source, member):
            decode_to(source, member, place)

    @contextmanager
    def _member(self, path: str) -> Iterator[tuple[IO[bytes], Member]]:
        with naming(self._path):
            member = self.manifest.members.get(path)
            if member is None:
                raise BundleError(f"there is no member {path!r}; it has {', '.join(self.manifest.members)}")
            with naming(f"member {path!r}", _AGAIN), self._archive.open(member.stored_name(path)) as source:
                yield source, member

    def entry(self, graph: str | None = None) -> GraphEntry:
        """What the manifest says of a graph, by name, or of the one that won where the bundle was measured.

        Raises: BundleError when there is no such graph (it lists those there are).
        """
        with naming(self._path):
            return self.manifest.graph(graph)

    def graph(self, name: str | None = None) -> GraphFiles:
        """A graph with its weights, by name, or the one that won where the bundle was measured.

        Raises: BundleError when there is no such graph (it lists those there are) or a member is damaged.
        """
        entry = self.entry(name)
        return GraphFiles(
            graph=self.read(entry.graph),
            weights=None if entry.weights is None else self.read(entry.weights),
            session=entry.session,
            entry=entry,
        )

    def whitening(self) -> Whitening | None:
        """How embeddings become vectors, or None when the graphs give none. Raises BundleError when it is damaged."""
        embedding = self.manifest.embedding
        if embedding is None:
            return None
        content = self.read(embedding.whitening)
        with naming(self._path), naming(f"member {embedding.whitening!r}", _AGAIN):
            return Whitening.from_bytes(content, features=embedding.features, dimensions=embedding.dimensions)

    def verify(self) -> None:
        """Decode and check every member. Raises BundleError at the first that is damaged."""
        for path in self.manifest.members:
            self.read(path)
        self.whitening()


def open_bundle(path: Path) -> Bundle:
    """Open a .lens file and check all but the content of its members; use it in a `with`.

    Raises: BundleError naming the file, the member and what is wrong.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise BundleError(f"{path}: expected a .lens bundle, but it {what}; check the path")
    with naming(path, _AGAIN):
        if path.stat().st_size == 0:
            raise BundleError("expected a .lens bundle, but it is empty")
        archive = zipfile.ZipFile(path)
    try:
        return Bundle(path, archive)
    except BaseException:
        archive.close()
        raise


def write_bundle(
    path: Path,
    *,
    spec: ModelSpec,
    graphs: Sequence[GraphEntry],
    preferred: str,
    recipe: Json,
    baseline: Json,
    target: Json,
    members: Mapping[str, Path | bytes],
    tensors: Mapping[str, Sequence[Span]] | None = None,
    confidence: Confidence | None = None,
    whitening: Whitening | None = None,
    created: datetime | None = None,
    force: bool = False,
) -> int:
    """Write a bundle under a temporary name beside `path`, then rename it: `path` is whole or untouched.

    Args:
        path: where to; its folder must exist.
        spec: see Manifest, as for the next five.
        graphs: at least one.
        preferred: the name of the one that won.
        recipe: that made the model.
        baseline: the original's measurement.
        target: the device's profile.
        members: path -> its content, or the file that holds it. See `coding.encode` for how each is coded.
        tensors: path of a blob of weights -> the tensors in it, which are then coded one by one.
        confidence: how logits become confidences; None takes them as they are.
        whitening: of the graphs' output `embedding`, which becomes a member; None when they have none.
        created: now, unless given. Equal arguments with equal dates give equal bytes.
        force: write over an existing file.
    Returns: bytes of the file.
    Raises: OutputError when it exists and `force` is not set, or cannot be written; BundleError when its
        parts do not fit together, or hold what a reader would refuse.
    """
    if path.exists() and not force:
        raise OutputError(f"{path} exists; pass --force to write over it, or choose another name")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; choose the name of a file in it")
    contents = {name: _content(source) for name, source in members.items()}
    spans = dict(tensors or {})
    embedding = None
    if whitening is not None:
        contents[WHITENING] = whitening.to_bytes()
        spans[WHITENING] = whitening.spans()
        embedding = Embedding(features=whitening.features, dimensions=whitening.dimensions, whitening=WHITENING)
    coded = {name: encode(name, content, spans.get(name, ())) for name, content in contents.items()}
    manifest = Manifest(
        created_with=f"pocketlens {version('pocketlens')}",
        created=(created or datetime.now(UTC)).isoformat(timespec="seconds"),
        spec=spec,
        graphs=tuple(graphs),
        preferred=preferred,
        recipe=recipe,
        baseline=baseline,
        target=target,
        members={name: member for name, (member, _) in coded.items()},
        confidence=confidence or Confidence(),
        embedding=embedding,
    )
    payload = json.dumps(manifest.to_json(), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    # What a reader would refuse (NaN in a measurement, a control character in a label) never becomes a file.
    with naming(f"cannot write {path}"):
        Manifest.from_json(parse(payload))
    with whole_file(path) as part, zipfile.ZipFile(part, "w") as archive:
        archive.writestr(zip_entry(MANIFEST, zipfile.ZIP_DEFLATED), payload, compresslevel=9)
        for name, (member, content) in coded.items():
            method = zipfile.ZIP_DEFLATED if member.codec == "none" else zipfile.ZIP_STORED
            archive.writestr(zip_entry(member.stored_name(name), method), content, compresslevel=9)
    return path.stat().st_size


def _content(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise OutputError(f"cannot read {source} for the bundle: {error.strerror or error}") from error


def _check_members(archive: zipfile.ZipFile, members: Mapping[str, Member]) -> None:
    """The zip holds exactly what the manifest names, at the sizes it names."""
    stored = {member.stored_name(path): (path, member) for path, member in members.items()}
    infos = {info.filename: info for info in archive.infolist() if info.filename != MANIFEST}
    if extra := sorted(set(infos) - set(stored)):
        raise BundleError(f"holds {extra[0]!r}, which its manifest does not name; {_AGAIN}")
    for name, (path, member) in stored.items():
        if name not in infos:
            raise BundleError(f"member {path!r} is missing; {_AGAIN}")
        if infos[name].file_size != member.stored_size:
            raise BundleError(
                f"member {path!r} is {infos[name].file_size} bytes in the zip, "
                f"its manifest says {member.stored_size}; {_AGAIN}"
            )
