"""The zip that our files are: how its entries are written, and what a reader refuses before it trusts any of them."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import zstandard

from pocketlens.bundle.manifest import is_safe_path
from pocketlens.errors import BundleError

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


def zip_entry(name: str, method: int) -> zipfile.ZipInfo:
    """The header of a member that is the same on every system and at every time."""
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = method
    info.create_system = 3  # Unix, on every system: equal contents give equal files
    info.external_attr = 0o644 << 16
    return info


@contextmanager
def naming(what: object, mend: str = "") -> Iterator[None]:
    """Put what is being read before what is wrong with it, the way out after; all becomes BundleError."""
    end = f"; {mend}" if mend else ""
    try:
        yield
    except BundleError as error:
        raise BundleError(f"{what}: {error}{end}") from error
    except _DAMAGED as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise BundleError(f"{what}: is damaged ({reason}){end}") from error


def check_directory(archive: zipfile.ZipFile, head: str, max_bytes: int, what: str) -> None:
    """The checks of a zip's directory that need nothing of its content.

    Args:
        archive: open.
        head: the member that says what the others are.
        max_bytes: that `head` may unpack to.
        what: was expected, for the message: "a .lens bundle".
    Raises: BundleError.
    """
    infos = archive.infolist()
    names = {info.filename for info in infos}
    if len(infos) > MAX_MEMBERS:
        raise BundleError(f"holds {len(infos)} members, at most {MAX_MEMBERS} are allowed; was another file meant?")
    if head not in names:
        raise BundleError(f"expected {what}, but this zip has no {head}; was another file meant?")
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
    size = archive.getinfo(head).file_size
    if size > max_bytes:
        raise BundleError(f"{head} unpacks to {size} bytes, at most {max_bytes} are allowed")
