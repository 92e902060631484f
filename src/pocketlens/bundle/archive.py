"""The .lens file: written whole or not at all, read as if a stranger had made it."""

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import zstandard

from pocketlens.bundle.coding import decode, encode, read_bounded
from pocketlens.bundle.manifest import MANIFEST, GraphEntry, Manifest, Member, is_safe_path
from pocketlens.bundle.parse import parse
from pocketlens.errors import BundleError, OutputError
from pocketlens.types import Json, ModelSpec
from pocketlens.whole_file import whole_file

MAX_MANIFEST_BYTES = 16 * 1024**2

MAX_MEMBERS = 1000

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest date a zip can hold: equal contents give equal files."""

_DAMAGED = (
    zipfile.BadZipFile,
    zstandard.ZstdError,
    zlib.error,
    EOFError,
    KeyError,
    OSError,
    # What zipfile raises on damaged headers: an unsupported version, a name in no encoding, a bad offset.
    RuntimeError,
    ValueError,
    OverflowError,
)

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
        with _naming(path):
            _check_directory(archive)
            with _naming(MANIFEST, _AGAIN), archive.open(MANIFEST) as source:
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
        with _naming(self._path):
            member = self.manifest.members.get(path)
            if member is None:
                raise BundleError(f"there is no member {path!r}; it has {', '.join(self.manifest.members)}")
            with _naming(f"member {path!r}", _AGAIN), self._archive.open(member.stored_name(path)) as source:
                return decode(source, member)

    def graph(self, name: str | None = None) -> GraphFiles:
        """A graph with its weights, by name, or the one that won where the bundle was measured.

        Raises: BundleError when there is no such graph (it lists those there are) or a member is damaged.
        """
        with _naming(self._path):
            entry = self.manifest.graph(name)
        return GraphFiles(
            graph=self.read(entry.graph),
            weights=None if entry.weights is None else self.read(entry.weights),
            session=entry.session,
            entry=entry,
        )

    def verify(self) -> None:
        """Decode and check every member. Raises BundleError at the first that is damaged."""
        for path in self.manifest.members:
            self.read(path)


def open_bundle(path: Path) -> Bundle:
    """Open a .lens file and check all but the content of its members; use it in a `with`.

    Raises: BundleError naming the file, the member and what is wrong.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise BundleError(f"{path}: expected a .lens bundle, but it {what}; check the path")
    with _naming(path, _AGAIN):
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
        members: path -> its content, or the file that holds it. Names that end in `.bin` are coded with zstd.
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
    coded = {name: encode(name, _content(source)) for name, source in members.items()}
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
    )
    payload = json.dumps(manifest.to_json(), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    # What a reader would refuse (NaN in a measurement, a control character in a label) never becomes a file.
    with _naming(f"cannot write {path}"):
        Manifest.from_json(parse(payload))
    with whole_file(path) as part, zipfile.ZipFile(part, "w") as archive:
        archive.writestr(_entry(MANIFEST, zipfile.ZIP_DEFLATED), payload, compresslevel=9)
        for name, (member, content) in coded.items():
            method = zipfile.ZIP_DEFLATED if member.codec == "none" else zipfile.ZIP_STORED
            archive.writestr(_entry(member.stored_name(name), method), content, compresslevel=9)
    return path.stat().st_size


def _content(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise OutputError(f"cannot read {source} for the bundle: {error.strerror or error}") from error


def _entry(name: str, method: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = method
    info.create_system = 3  # Unix, on every system: equal contents give equal files
    info.external_attr = 0o644 << 16
    return info


@contextmanager
def _naming(what: object, mend: str = "") -> Iterator[None]:
    """Put what is being read before what is wrong with it, the way out after; all becomes BundleError."""
    end = f"; {mend}" if mend else ""
    try:
        yield
    except BundleError as error:
        raise BundleError(f"{what}: {error}{end}") from error
    except _DAMAGED as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise BundleError(f"{what}: is damaged ({reason}){end}") from error


def _check_directory(archive: zipfile.ZipFile) -> None:
    """The checks of the zip's directory that need no manifest."""
    infos = archive.infolist()
    names = {info.filename for info in infos}
    if len(infos) > MAX_MEMBERS:
        raise BundleError(f"holds {len(infos)} members, at most {MAX_MEMBERS} are allowed; was another file meant?")
    if MANIFEST not in names:
        raise BundleError(f"expected a .lens bundle, but this zip has no {MANIFEST}; was another file meant?")
    if len(names) != len(infos):
        raise BundleError("holds two members of one name; it is refused as unsafe")
    for info in infos:
        # `orig_filename` still has what zipfile drops or rewrites: a NUL byte, a backslash on Windows.
        if not is_safe_path(info.orig_filename):
            raise BundleError(f"member {info.orig_filename[:80]!r} is no plain relative path; it is refused as unsafe")
        if info.flag_bits & 0x1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BundleError(
                f"member {info.filename!r} is encrypted or compressed by method {info.compress_type}; "
                "expected stored or deflated"
            )
    size = archive.getinfo(MANIFEST).file_size
    if size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{MANIFEST} unpacks to {size} bytes, at most {MAX_MANIFEST_BYTES} are allowed")


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
