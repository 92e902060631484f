"""Write a file whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pocketlens.errors import OutputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`: becomes `path` when all went well, goes away when anything did not.

    Raises: OutputError when it cannot be written (no space, no permission).
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; free some space, or choose another folder"
        ) from error
    finally:
        with suppress(OSError):  # it never came to be, or became `path`
            part.unlink()
