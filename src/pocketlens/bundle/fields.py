"""Reading JSON that nobody vouches for: every field is asked for by name and type."""

import math
import re
from datetime import datetime
from typing import Any

from pocketlens.errors import BundleError, ConfigError
from pocketlens.types import Json

_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}

_LARGEST_EXACT = 2**53
"""Up to here every whole number is a float too."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class _FieldError(ConfigError):
    """A ConfigError whose message already carries the full name of the field."""


class Fields:
    """The fields of one JSON object; each is taken once, and leaving `with` refuses what nobody took.

    Inside `with`, the ConfigError of a dataclass that checks itself gets the object's name too.

    Args:
        data: what the JSON held; anything but an object is refused.
        where: how to name it in errors, for example "graphs[0]"; "" at the top.
    Raises: every method raises ConfigError that names the field, what was expected and what came.
    """

    def __init__(self, data: object, where: str = "") -> None:
        if not isinstance(data, dict):
            raise _FieldError(f"{where or 'the whole'}: expected an object, got {_kind(data)}")
        self._rest: Json = dict(data)
        self._where = where

    def text(self, name: str) -> str:
        """A string without control characters (they would steer a terminal) and lone surrogates."""
        return self._printable(name, self._take(name, str, "a text"))

    def sha256(self, name: str) -> str:
        """A SHA-256 in hexadecimal, 64 lower-case digits."""
        value = self.text(name)
        if not re.fullmatch(r"[0-9a-f]{64}", value):
            raise self._wrong(name, "64 lower-case hexadecimal digits", repr(value[:80]))
        return value

    def date(self, name: str) -> str:
        """A date in ISO 8601, as it is written."""
        value = self.text(name)
        try:
            datetime.fromisoformat(value)
        except ValueError as error:
            raise self._wrong(name, "a date in ISO 8601", repr(value[:40])) from error
        return value

    def schema_version(self, newest: int) -> int:
        """`schema_version`, 1 to `newest`. Raises BundleError for a later one, whose other fields may be anything."""
        version = self.integer("schema_version", low=1, high=10**6)
        if version > newest:
            raise BundleError(f"written by a newer pocketlens (schema {version}, this one reads {newest}): upgrade")
        return version

    def optional_text(self, name: str) -> str | None:
        """A string or null."""
        return None if self._is_null(name) else self.text(name)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self._take(name, list, "a list of texts")
        for value in values:
            if not isinstance(value, str):
                raise self._wrong(name, "a list of texts", f"a list with {_kind(value)}")
        return tuple(self._printable(name, value) for value in values)

    def integer(self, name: str, *, low: int, high: int) -> int:
        """A whole number in low..high, both inclusive; true and false are none."""
        return self._within(name, self._take(name, int, "a whole number"), low, high)

    def optional_integer(self, name: str, *, low: int, high: int) -> int | None:
        """A whole number in low..high, or null."""
        return None if self._is_null(name) else self.integer(name, low=low, high=high)

    def integers(self, name: str, count: int, *, low: int, high: int) -> tuple[int, ...]:
        """`count` whole numbers, each in low..high."""
        values = self._take(name, list, f"a list of {count} whole numbers")
        if len(values) != count or any(type(v) is not int for v in values):
            raise self._wrong(name, f"a list of {count} whole numbers", repr(values[:8]))
        return tuple(self._within(name, value, low, high) for value in values)

    def number(self, name: str) -> float:
        """A finite number; true and false are none."""
        value = self._rest.get(name)
        if type(value) is int and abs(value) <= _LARGEST_EXACT:
            self._rest[name] = float(value)
        value = self._take(name, float, "a finite number")
        if not math.isfinite(value):
            raise self._wrong(name, "a finite number", repr(value))
        return value

    def optional_number(self, name: str) -> float | None:
        """A finite number or null."""
        return None if self._is_null(name) else self.number(name)

    def optional_child(self, name: str) -> "Fields | None":
        """An object whose fields are read in turn, or null."""
        return None if self._is_null(name) else self.child(name)

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        """`count` finite numbers."""
        values = self._take(name, list, f"a list of {count} numbers")
        if len(values) != count or any(type(v) not in (int, float) or not math.isfinite(v) for v in values):
            raise self._wrong(name, f"a list of {count} finite numbers", repr(values[:8]))
        return tuple(float(value) for value in values)

    def mapping(self, name: str) -> Json:
        """An object whose content is free."""
        return self._take(name, dict, "an object")

    def texts_by_name(self, name: str) -> dict[str, str]:
        """An object whose values are all strings."""
        values = self.mapping(name)
        for key, value in values.items():
            if not isinstance(value, str):
                raise _FieldError(f"{self._path(name)}.{key}: expected a text, got {_kind(value)}")
        return values

    def child(self, name: str) -> "Fields":
        """An object whose fields are read in turn."""
        return Fields(self.mapping(name), self._path(name))

    def children(self, name: str) -> "list[Fields]":
        """A list of objects whose fields are read in turn."""
        values = self._take(name, list, "a list of objects")
        return [Fields(value, f"{self._path(name)}[{i}]") for i, value in enumerate(values)]

    def children_by_name(self, name: str) -> "dict[str, Fields]":
        """An object of objects whose fields are read in turn."""
        return {key: Fields(value, f"{self._path(name)}.{key}") for key, value in self.mapping(name).items()}

    def __enter__(self) -> "Fields":
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, ConfigError) and not isinstance(error, _FieldError):
            raise _FieldError(f"{self._where}: {error}" if self._where else str(error)) from error
        if error is None and self._rest:
            # They mean something to whoever wrote them.
            names = ", ".join(sorted(self._rest))[:200]
            raise _FieldError(f"{self._where or 'the whole'}: holds fields this pocketlens does not know: {names}")

    def _path(self, name: str) -> str:
        return f"{self._where}.{name}" if self._where else name

    def _take(self, name: str, kind: type, expected: str) -> Any:
        if name not in self._rest:
            raise _FieldError(f"{self._path(name)}: expected {expected}, but the field is missing")
        value = self._rest.pop(name)
        if type(value) is not kind:
            raise self._wrong(name, expected, _kind(value))
        return value

    def _is_null(self, name: str) -> bool:
        if name in self._rest and self._rest[name] is None:
            del self._rest[name]
            return True
        return False

    def _printable(self, name: str, value: str) -> str:
        if _UNPRINTABLE.search(value):
            raise self._wrong(name, "a text without control characters", repr(value[:40]))
        return value

    def _within(self, name: str, value: int, low: int, high: int) -> int:
        if not low <= value <= high:
            raise self._wrong(name, f"a whole number in {low}..{high}", str(value)[:40])
        return value

    def _wrong(self, name: str, expected: str, got: str) -> _FieldError:
        return _FieldError(f"{self._path(name)}: expected {expected}, got {got}")


def _kind(value: object) -> str:
    return _KINDS.get(type(value), f"the number {value!r}"[:60])
